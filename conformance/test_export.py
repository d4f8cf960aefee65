"""export: a container's root as a tar; changes: what differs from the image."""

from typing import Any

import pytest

from conformance import tars
from conformance.cli import Cli
from conformance.engine import Engine
from conformance.tars import archive, unpack
from conformance.test_events import now, past
from conformance.until import until

EXPORT, CHANGES = "ContainerExport", "ContainerChanges"
MODIFIED, ADDED, DELETED = 0, 1, 2

SCRIPT = """
echo new >/x; ln /x /same; rm /etc/group; rm -rf /root; mkdir /root; echo 1 >/root/y; mkdir -p /a/b
chmod 700 /tmp; touch /bin/busybox; echo in >/vol/x; echo tmp >/tmpf/x; touch /ready; exec sleep 1000
"""


@pytest.fixture(scope="module", params=["running", "paused", "stopped"])
def changed(request: pytest.FixtureRequest, engine: Engine) -> str:
    container = engine.run(
        "sh", "-c", SCRIPT, host={"Binds": [f"{engine.name('v')}:/vol"], "Tmpfs": {"/tmpf": ""}}
    )
    engine.keep.add(container)
    until(lambda: archive(engine, "HEAD", container, "/ready").status == 200)
    if request.param == "paused":
        engine.wire.post(f"/containers/{container}/pause", status=204)
    if request.param == "stopped":
        engine.wire.post(f"/containers/{container}/kill", status=204)
        engine.wait(container)
    return container


def changes(engine: Engine, container: str) -> dict[str, int]:
    found: list[dict[str, Any]] = engine.wire.get(f"/containers/{container}/changes") or []
    paths = [item["Path"] for item in found]
    for path in paths:  # a folder comes before what is in it
        parent = path.rpartition("/")[0]
        assert not parent or parent not in paths or paths.index(parent) < paths.index(path)
    assert len(set(paths)) == len(paths)
    return {item["Path"]: item["Kind"] for item in found}


@pytest.mark.operation(CHANGES)
def test_every_kind_of_change(engine: Engine, changed: str) -> None:
    assert changes(engine, changed) == {
        "/x": ADDED,
        "/same": ADDED,
        "/ready": ADDED,
        "/etc": MODIFIED,
        "/etc/group": DELETED,
        "/root": MODIFIED,
        "/root/y": ADDED,
        "/a": ADDED,
        "/a/b": ADDED,
        "/tmp": MODIFIED,
        "/bin": MODIFIED,
        "/bin/busybox": MODIFIED,
        "/vol": ADDED,
        "/tmpf": ADDED,
    }


@pytest.mark.operation(CHANGES)
def test_nothing_changed(engine: Engine) -> None:
    container = engine.create("true")
    answer = engine.wire.request("GET", f"/containers/{container}/changes")
    assert (answer.status, answer.json()) == (200, None)
    missing = engine.wire.request("GET", "/containers/no-such/changes")
    assert (missing.status, missing.message) == (404, "No such container: no-such")


@pytest.mark.operation(CHANGES)
def test_a_folder_that_was_made_anew(engine: Engine) -> None:
    """What it held before is told as deleted; a folder in the place of a file as changed."""
    layer_files = "mkdir -p /old/sub; echo 1 >/old/one; echo 2 >/old/sub/two; echo f >/file"
    first = engine.run("sh", "-c", layer_files)
    engine.wait(first)
    image = engine.wire.post("/commit", None, status=201, container=first).json()["Id"]
    try:
        script = "rm -r /old /file; mkdir /old /file; echo 3 >/old/three; echo x >/file/x"
        container = engine.run("sh", "-c", script, Image=image)
        engine.wait(container)
        assert changes(engine, container) == {
            "/old": MODIFIED,
            "/old/one": DELETED,
            "/old/sub": DELETED,
            "/old/three": ADDED,
            "/file": MODIFIED,
            "/file/x": ADDED,
        }
        engine.remove(container)
    finally:
        engine.remove(first)
        engine.wire.request("DELETE", f"/images/{image}", force=True)


@pytest.mark.operation(CHANGES)
def test_docker_diff(cli: Cli, engine: Engine) -> None:
    container = engine.run("sh", "-c", "echo 1 >/new; rm /etc/group")
    engine.wait(container)
    assert sorted(cli.text("diff", container).splitlines()) == ["A /new", "C /etc", "D /etc/group"]


@pytest.mark.operation(EXPORT)
def test_the_whole_root(engine: Engine, changed: str) -> None:
    with engine.wire.open("GET", f"/containers/{changed}/export") as answer:
        assert answer.status == 200 and answer.headers["content-type"] == "application/octet-stream"
        data = answer.read()
    found = unpack(data)
    names = list(found)
    assert names == sorted(names, key=lambda name: name.split("/")) and "." not in found
    assert {"bin/busybox", "etc/passwd", "x", "root/y", ".dockerenv", "proc", "a/b", "dev/pts"} <= set(names)
    assert "etc/group" not in found and tars.content(data, "root/y") == b"1\n"
    assert not [name for name in names if name.startswith(("proc/", "sys/", "tmpf/", "vol/"))]
    assert {found["x"].islnk(), found["same"].islnk()} == {True, False}
    assert found["etc/hosts"].size == 0  # the mount point, not what is mounted


@pytest.mark.operation(EXPORT)
def test_an_exported_root_can_be_imported(cli: Cli, engine: Engine) -> None:
    container = engine.run("sh", "-c", "echo kept >/x")
    engine.wait(container)
    since = now(engine)
    data = cli("export", container).raw_out
    tag = f"{engine.prefix}/imported:1"
    cli("import", "-", tag, stdin=data)
    try:
        assert cli.text("run", "--rm", tag, "cat", "/x") == "kept"
    finally:
        engine.wire.request("DELETE", f"/images/{tag}", force=True)
    actions = [event["Action"] for event in past(engine, since, container=[container])]
    assert [action for action in actions if action != "die"] == ["export"]  # the end may be told after it


@pytest.mark.operation(EXPORT)
def test_no_such_container(engine: Engine) -> None:
    answer = engine.wire.request("GET", "/containers/no-such/export")
    assert (answer.status, answer.message) == (404, "No such container: no-such")
