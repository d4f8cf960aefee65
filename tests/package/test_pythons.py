"""The package's libraries and the daemon under the Pythons of Ubuntu 24.04 (3.12) and Debian 13 (3.13)."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, running_daemon
from tests.package.noble import PACKAGES

ROOT = Path(__file__).parents[2]
LIBRARY = "usr/lib/compatd"

# What the distributions bring themselves: python3-yaml and python3-systemd.
THEIR_OWN = {
    "3.12": [PACKAGES["python3-yaml"].split("-")[0], PACKAGES["python3-systemd"].split("-")[0]],
    "3.13": ["6.0.2", "235"],
}

IMPORTS = r"""
import importlib, pathlib, sys
home, found = pathlib.Path(sys.argv[1]), []
libraries = [home / "lib/cp{}{}".format(*sys.version_info[:2]), home / "lib/common"]
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


@pytest.fixture(scope="session", params=THEIR_OWN)
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of that release with what the distribution brings. Where CI has none, that is a failure."""
    release = request.param
    done = subprocess.run(
        [ROOT / "scripts/other-python", release], capture_output=True, text=True, check=False
    )
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    folder = tmp_path_factory.mktemp("python") / "venv"
    subprocess.run([done.stdout.strip(), "-m", "venv", folder], check=True)
    pinned = [
        f"{name}=={own}" for name, own in zip(("pyyaml", "systemd-python"), THEIR_OWN[release], strict=True)
    ]
    subprocess.run([folder / "bin/pip", "install", "-q", "--disable-pip-version-check", *pinned], check=True)
    return folder / "bin/python"


def test_every_library_and_module_is_imported(python: Path, unpacked: Path) -> None:
    command = [python, "-sPB", "-c", IMPORTS, unpacked / LIBRARY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules = done.stdout.split()
    for library in (
        "sanic",
        "aiohttp",
        "orjson",
        "uvloop.loop",
        "zstandard.backend_c",
        "isal.isal_zlib",
        "re2",
    ):
        assert library in modules
    assert {"compatd.app", "runtime.shim.zygote", "apispec.openapi"} <= set(modules)


def test_a_container_runs_and_the_socket_stays(python: Path, unpacked: Path) -> None:
    class Packaged(Daemon):
        """The package's daemon at the package's place, seen by it alone, with the launcher's options.

        systemd's part is done by systemd-socket-activate, whose socket it must leave as it is.
        """

        def command(self, host: str) -> list[str]:
            mount = f'mount -t overlay -o "lowerdir={unpacked}/usr/lib:/usr/lib" none /usr/lib && exec "$@"'
            nsenter, net, _, *flags = super().command("fd://")
            program = ["systemd-socket-activate", f"--listen={self.socket}", str(python), "-sPB"]
            inside = [*program, f"/{LIBRARY}/run", *flags]
            return [nsenter, net, "unshare", "--mount", "sh", "-c", mount, "sh", *inside]

    with running_daemon(kind=Packaged) as daemon:
        daemon.image()
        container = daemon.run(["sh", "-c", "echo from $(hostname)"], Hostname="other")
        daemon.call("POST", f"/containers/{container}/wait")
        assert daemon.logs(container) == b"from other\n"
        assert f"/{LIBRARY}/lib/cp3" in Path(f"/proc/{daemon.pid}/maps").read_text()
        assert daemon.stop() == 0
        assert Path(daemon.socket).is_socket()
        with socket.socket(socket.AF_UNIX) as probe, pytest.raises(ConnectionRefusedError):
            probe.connect(daemon.socket)  # nobody listens, and the file is there
