"""Detaching by keys, from containers, and the many clients that one container can have."""

from typing import Any

import pytest

from conformance.engine import Engine
from conformance.test_events import now, past
from conformance.until import until


def shell(engine: Engine) -> str:
    return engine.run("sh", "-c", "while read line; do echo got $line; done", Tty=True, OpenStdin=True)


@pytest.mark.operation("ContainerAttach")
@pytest.mark.parametrize(
    ("keys", "typed"),
    [
        ("", b"\x10\x11"),
        ("ctrl-a,x", b"\x01x"),
        ("ctrl-@", b"\x00"),
        ("a,b,c", b"abc"),
        ("ctrl-[,ctrl-]", b"\x1b\x1d"),
        ("DEL", b"\x7f"),
    ],
)
def test_keys(engine: Engine, keys: str, typed: bytes) -> None:
    """The stream ends, the container goes on, and an event tells."""
    container = shell(engine)
    since = now(engine)
    query: dict[str, Any] = {"detachKeys": keys} if keys else {}
    path = f"/containers/{container}/attach"
    with engine.wire.hijack(path, stream=True, stdin=True, stdout=True, **query) as stream:
        stream.send(typed)
        stream.read_all()
    assert engine.state(container)["Running"]
    until(lambda: past(engine, since, container=[container], event=["detach"]))


@pytest.mark.operation("ContainerAttach")
def test_what_is_typed_before_the_keys_arrives(engine: Engine) -> None:
    container = shell(engine)
    path = f"/containers/{container}/attach"
    with engine.wire.hijack(path, stream=True, stdin=True, stdout=True) as stream:
        stream.send(b"one\n")
        stream.read_until(b"got one")
        stream.send(b"two\n\x10")  # half of the keys
        stream.read_until(b"got two")
        stream.send(b"\x11three\n")  # what follows them is dropped
        stream.read_all()
    with engine.wire.hijack(path, stream=True, stdin=True, stdout=True) as stream:
        stream.send(b"four\n")
        assert b"three" not in stream.read_until(b"got four")


@pytest.mark.operation("ContainerAttach")
def test_no_keys_without_a_terminal(engine: Engine) -> None:
    container = engine.run("cat", OpenStdin=True)
    path = f"/containers/{container}/attach"
    with engine.wire.hijack(path, stream=True, stdin=True, stdout=True) as stream:
        stream.send(b"\x10\x11x\n")
        assert b"\x10\x11x\n" in stream.read_until(b"x\n")


@pytest.mark.operation("ContainerAttach", "ContainerExec")
def test_bad_keys(engine: Engine, box: str) -> None:
    answer = engine.wire.request("POST", f"/containers/{box}/attach", stream=True, detachKeys="ctrl-1")
    assert b"Invalid detach keys (ctrl-1) provided" in answer.body
    answer = engine.wire.request("POST", f"/containers/{box}/exec", {"Cmd": ["a"], "DetachKeys": "ctrl-1"})
    assert answer.message == "Invalid escape keys (ctrl-1) provided"


@pytest.mark.operation("ContainerAttach")
def test_several_clients_type_and_see(engine: Engine) -> None:
    """All see all output, each can type, and one that detaches leaves the others where they are."""
    container = shell(engine)
    path = f"/containers/{container}/attach"
    with (
        engine.wire.hijack(path, stream=True, stdin=True, stdout=True) as first,
        engine.wire.hijack(path, stream=True, stdin=True, stdout=True) as second,
        engine.wire.hijack(path, stream=True, stdin=True, stdout=True) as third,
    ):
        first.send(b"one\n")
        for stream in (first, second, third):
            stream.read_until(b"got one")
        second.send(b"\x10\x11")
        second.read_all()
        third.send(b"two\n")
        for stream in (first, third):
            stream.read_until(b"got two")
        third.send(b"\x04")  # the terminal's end of file ends the loop, and with it all clients
        first.read_all()
        third.read_all()
    assert engine.wait(container) in {0, 1}
