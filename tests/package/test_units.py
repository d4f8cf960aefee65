"""Our units beside those of a real engine's package, Debian 13's docker.io."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REAL = ROOT / ".cache/trixie/usr/lib/systemd/system"
OURS = ROOT / "packaging/deb/debian"

# Where ours has another value, and why.
OTHERWISE = {
    "After": "no containerd",
    "Wants": "no containerd",
    "Description": "says whose it is",
    "Documentation": "the package's own pages",
    "ExecStart": "another path, no containerd",
}


def settings(path: Path) -> dict[str, str]:
    """What a unit says, without the sections: systemd takes StartLimitInterval= in [Service], too."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    found = dict(pairs)
    if "StartLimitInterval" in found:
        found["StartLimitIntervalSec"] = found.pop("StartLimitInterval").removesuffix("s")
    return found


@pytest.mark.parametrize("unit", ["docker.service", "docker.socket"])
def test_all_that_the_real_unit_says(unit: str) -> None:
    if not REAL.exists():
        pytest.skip("Debian 13's docker.io could not be had")
    real, ours = settings(REAL / unit), settings(OURS / f"compatd.{unit}")
    assert {name: ours.get(name) for name in real if name not in OTHERWISE} == {
        name: value for name, value in real.items() if name not in OTHERWISE
    }
