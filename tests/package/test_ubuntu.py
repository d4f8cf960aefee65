"""Ubuntu 24.04, which no test can install: its names, and the package's libraries under its Python, 3.12."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, running_daemon
from tests.package.noble import PACKAGES

ROOT = Path(__file__).parents[2]
LIBRARY = "usr/lib/compatd"

IMPORTS = r"""
import importlib, pathlib, sys
home, found = pathlib.Path(sys.argv[1]), []
libraries = [home / "lib/cp312", home / "lib/common"]
sys.path[:0] = [str(home / "app"), *map(str, libraries)]

def name(path, base):
    parts = list(path.relative_to(base).parts)
    parts[-1] = parts[-1].split(".")[0]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

for base in libraries:
    found += [name(path, base) for path in base.rglob("*.so")]
    found += [name(path, base) for path in (*base.glob("*/__init__.py"), *base.glob("*.py"))]
for part in ("apispec", "compatd", "runtime"):
    found += [name(path, home / "app") for path in (home / "app" / part).rglob("*.py")]
for module in found:
    if module.endswith("__main__"):
        continue
    origin = importlib.import_module(module).__file__
    assert pathlib.Path(origin).is_relative_to(home), f"{module} is {origin}"
    print(module)
"""


def relations(deb: Path, field: str) -> list[str]:
    """The package's relations of a kind, one string each."""
    text = subprocess.run(["dpkg-deb", "-f", deb, field], capture_output=True, text=True, check=True).stdout
    return [part.strip() for part in text.split(",") if part.strip()]


def satisfied(relation: str) -> bool:
    """Whether a package of PACKAGES fulfils one `name (operator version)`."""
    match = re.fullmatch(r"([a-z0-9+.-]+)(?: \((<<|<=|=|>=|>>) (\S+)\))?", relation.strip())
    assert match, relation
    name, operator, version = match.groups()
    if name not in PACKAGES:
        return False
    if operator is None:
        return True
    compare = ["dpkg", "--compare-versions", PACKAGES[name], operator, version]
    return subprocess.run(compare, check=False).returncode == 0


def test_ubuntu_has_all_that_is_depended_on(deb: Path) -> None:
    wanted = relations(deb, "Depends") + relations(deb, "Pre-Depends")
    assert len(wanted) > 5
    assert [one for one in wanted if not any(map(satisfied, one.split("|")))] == []


@pytest.fixture(scope="session")
def python() -> str:
    """A Python 3.12. Where continuous integration has none, that is a failure."""
    done = subprocess.run([ROOT / "scripts/python312"], capture_output=True, text=True, check=False)
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def ubuntus_own(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python 3.12 with what Ubuntu brings itself: python3-yaml and python3-systemd, of its releases."""
    folder = tmp_path_factory.mktemp("ubuntu") / "venv"
    subprocess.run([python, "-m", "venv", folder], check=True)
    releases = {"pyyaml": PACKAGES["python3-yaml"], "systemd-python": PACKAGES["python3-systemd"]}
    pinned = [f"{name}=={version.split('-')[0]}" for name, version in releases.items()]
    subprocess.run([folder / "bin/pip", "install", "-q", "--disable-pip-version-check", *pinned], check=True)
    return folder / "bin/python"


def test_every_library_and_module_is_imported(ubuntus_own: Path, unpacked: Path) -> None:
    command = [ubuntus_own, "-sPB", "-c", IMPORTS, unpacked / LIBRARY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules = done.stdout.split()
    for library in ("sanic", "aiohttp", "orjson", "uvloop.loop", "zstandard.backend_c", "isal.isal_zlib"):
        assert library in modules
    assert {"compatd.app", "runtime.shim.zygote", "apispec.openapi"} <= set(modules)


def test_a_container_runs(ubuntus_own: Path, unpacked: Path) -> None:
    class Packaged(Daemon):
        """The package's daemon, at the package's place (seen by it alone), with the launcher's options."""

        def command(self, host: str) -> list[str]:
            mount = f'mount -t overlay -o "lowerdir={unpacked}/usr/lib:/usr/lib" none /usr/lib && exec "$@"'
            nsenter, net, _, *flags = super().command(host)
            program = [str(ubuntus_own), "-sPB", f"/{LIBRARY}/run", *flags]
            return [nsenter, net, "unshare", "--mount", "sh", "-c", mount, "sh", *program]

    with running_daemon(kind=Packaged) as daemon:
        daemon.image()
        container = daemon.run(["sh", "-c", "echo from $(hostname)"], Hostname="noble")
        daemon.call("POST", f"/containers/{container}/wait")
        assert daemon.logs(container) == b"from noble\n"
        mapped = Path(f"/proc/{daemon.pid}/maps").read_text()
        assert f"/{LIBRARY}/lib/cp312/" in mapped
