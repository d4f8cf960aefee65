"""Hooks that come with a device's description (CDI), by the built-in runtime and by runc."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import ApiError, Daemon

pytestmark = pytest.mark.root

RUNC = shutil.which("runc", path="/usr/sbin:/usr/bin:/sbin:/bin")
ALL = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    folder = Path(tempfile.mkdtemp(prefix="compatd-it-"))
    daemon = Daemon(folder, "--cdi-spec-dir", str(folder / "cdi"))
    try:
        (folder / "cdi").mkdir()
        daemon.start()
        daemon.image()
        yield daemon
    finally:
        daemon.destroy()


@pytest.fixture(params=["compatd", "runc"])
def runtime(request: pytest.FixtureRequest) -> str:
    if request.param == "runc" and not RUNC:
        pytest.skip("runc is not installed")
    return str(request.param)


@pytest.fixture
def order(tmp_path: Path) -> Path:
    """A file that hooks and program write their names to; /order in the container is its folder."""
    folder = tmp_path / "order"
    folder.mkdir()
    return folder / "file"


def hook(name: str, script: str, **fields: Any) -> dict[str, Any]:
    return {
        "hookName": name,
        "path": "/bin/sh",
        "args": ["sh", "-c", script],
        "env": ["PATH=/usr/bin:/bin"],
        **fields,
    }


def described(daemon: Daemon, runtime: str, order: Path, *hooks: dict[str, Any]) -> dict[str, Any]:
    """Writes the device's description. Returns a HostConfig with the device and /order."""
    device = {"name": "one", "containerEdits": {"hooks": list(hooks)}}
    document = {"cdiVersion": "0.6.0", "kind": "hooks.test/device", "devices": [device]}
    (daemon.folder / "cdi/hooks.json").write_text(json.dumps(document))
    return {
        "Runtime": runtime,
        "NetworkMode": "none",
        "Binds": [f"{order.parent}:/order"],
        "DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["hooks.test/device=one"]}],
    }


def test_all_in_their_order(daemon: Daemon, runtime: str, order: Path) -> None:
    places = dict.fromkeys(ALL, order) | {"startContainer": Path("/order/file")}
    hooks = [hook(name, f"echo {name} >>{places[name]}") for name in ALL]
    # What runs after the program's start is waited for by it: their order is not given.
    script = "until grep -q poststart /order/file; do sleep 0.05; done; echo program >>/order/file"
    host = described(daemon, runtime, order, *hooks)
    container = daemon.run(["sh", "-c", script], HostConfig=host)
    try:
        assert daemon.call("POST", f"/containers/{container}/wait")["StatusCode"] == 0
        found = order.read_text().split()
        assert (found[:3], found[-1]) == (list(ALL[:3]), "poststop")
        assert set(found[3:-1]) == {"startContainer", "poststart", "program"}
        assert found.index("startContainer") < found.index("program")
        if runtime == "compatd":  # runc begins with `poststart` without waiting for `startContainer`
            assert found == [*ALL[:-1], "program", "poststop"]
    finally:
        daemon.call("DELETE", f"/containers/{container}?force=1")


def test_what_they_are_told(daemon: Daemon, runtime: str, order: Path) -> None:
    hooks = [hook(name, f"cat >{order}-{name}") for name in ("createRuntime", "poststop")]
    hooks.append(
        hook("startContainer", "cat >/order/file-startContainer; grep -c . /etc/passwd >/order/inside")
    )
    container = daemon.run(["true"], HostConfig=described(daemon, runtime, order, *hooks))
    try:
        daemon.call("POST", f"/containers/{container}/wait")
        told = {
            name: json.loads(Path(f"{order}-{name}").read_text())
            for name in ("createRuntime", "startContainer", "poststop")
        }
        assert {one["id"] for one in told.values()} == {container}
        assert told["createRuntime"]["pid"] > 1
        assert told["startContainer"]["pid"] == 1  # as it is seen inside
        assert (told["createRuntime"]["status"], told["poststop"]["status"]) == ("creating", "stopped")
        assert all(Path(one["bundle"]).is_absolute() for one in told.values())
        assert (order.parent / "inside").read_text() == "2\n"  # the image's own
    finally:
        daemon.call("DELETE", f"/containers/{container}?force=1")


@pytest.mark.parametrize("name", ALL[:4])
def test_one_that_fails(daemon: Daemon, runtime: str, order: Path, name: str) -> None:
    hooks = [hook(name, "echo why >&2; exit 3"), hook("poststop", f"echo poststop >>{order}")]
    host = described(daemon, runtime, order, *hooks)
    before = daemon.at_rest()
    container = daemon.create(["touch", "/order/ran"], HostConfig=host)
    try:
        if (runtime, name) == ("runc", "startContainer"):  # its start does not wait for that
            daemon.call("POST", f"/containers/{container}/start")
            assert daemon.call("POST", f"/containers/{container}/wait")["StatusCode"] != 0
            assert not (order.parent / "ran").exists()
            return
        with pytest.raises(ApiError) as error:
            daemon.call("POST", f"/containers/{container}/start")
        assert error.value.args[0] == 500
        assert "hook #0" in error.value.args[1]
        assert "exit status 3, stdout: , stderr: why" in error.value.args[1]
        state = daemon.inspect(container)["State"]
        assert (state["Status"], state["ExitCode"], state["Pid"]) == ("created", 128, 0)
        assert not (order.parent / "ran").exists()
        if runtime == "compatd":  # runc runs none of a container that was not made
            assert order.read_text() == "poststop\n"
    finally:
        daemon.call("DELETE", f"/containers/{container}?force=1")
    assert daemon.at_rest() == before


def test_one_that_fails_after_the_start(daemon: Daemon, order: Path) -> None:
    host = described(
        daemon, "compatd", order, hook("poststart", "exit 4"), hook("poststop", f"touch {order}")
    )
    before = daemon.at_rest()
    container = daemon.create(["sleep", "1000"], HostConfig=host)
    try:
        with pytest.raises(ApiError, match="error running poststart hook #0: exit status 4"):
            daemon.call("POST", f"/containers/{container}/start")
        assert daemon.inspect(container)["State"]["Running"] is False
        assert order.exists()
    finally:
        daemon.call("DELETE", f"/containers/{container}?force=1")
    assert daemon.at_rest() == before


def test_one_past_its_timeout(daemon: Daemon, order: Path) -> None:
    host = described(daemon, "compatd", order, hook("createRuntime", "exec sleep 1000", timeout=1))
    container = daemon.create(["true"], HostConfig=host)
    try:
        with pytest.raises(ApiError, match="hook ran past specified timeout of 1"):
            daemon.call("POST", f"/containers/{container}/start")
    finally:
        daemon.call("DELETE", f"/containers/{container}?force=1")
