"""Workers: results, errors, crashes and cancelling; the fork is this test's own instead of the zygote's."""

import asyncio
import gc
import os
import signal
import socket
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from runtime.client import WorkerError, workers
from runtime.client.zygote import Zygote
from runtime.shim import worker


def double(arguments: dict[str, Any], fds: list[int]) -> Any:
    return {"twice": arguments["n"] * 2, "blob": "x" * arguments.get("blob", 0)}


def say(arguments: dict[str, Any], fds: list[int]) -> Any:
    os.write(fds[0], arguments["text"].encode())


def fail(arguments: dict[str, Any], fds: list[int]) -> Any:
    raise OSError(28, "No space left on device")


def crash(arguments: dict[str, Any], fds: list[int]) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(arguments: dict[str, Any], fds: list[int]) -> Any:
    os.write(fds[0], b"%d" % os.getpid())
    signal.pause()


def unserialisable(arguments: dict[str, Any], fds: list[int]) -> Any:
    return object()


def descriptors() -> int:
    gc.collect()  # what other tests have left must not go away in between
    return len(os.listdir("/proc/self/fd"))


class FakeZygote:
    """Forks here."""

    def __init__(self) -> None:
        self.children: list[int] = []

    async def launch(self, kind: str) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            ours.close()
            try:
                worker.main(theirs.detach())
            finally:
                os._exit(0)
        theirs.close()
        self.children.append(pid)
        return ours


@pytest.fixture
def zygote(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeZygote]:
    module = types.ModuleType("playground.functions")
    for function in (double, say, fail, crash, hang, unserialisable):
        setattr(module, function.__name__, function)
    monkeypatch.setitem(sys.modules, "playground.functions", module)
    monkeypatch.setattr(worker, "ALLOWED", "playground.")
    zygote = FakeZygote()
    yield zygote
    for pid in zygote.children:
        os.waitpid(pid, 0)


def run(zygote: FakeZygote, name: str, arguments: dict[str, Any], fds: Sequence[int] = ()) -> Any:
    return asyncio.run(workers.run(cast(Zygote, zygote), "playground.functions:" + name, arguments, fds))


def test_a_result(zygote: FakeZygote) -> None:
    assert run(zygote, "double", {"n": 21}) == {"twice": 42, "blob": ""}


def test_large_arguments_and_results(zygote: FakeZygote) -> None:
    result = run(zygote, "double", {"n": 1, "blob": 3_000_000, "ballast": "y" * 3_000_000})
    assert len(result["blob"]) == 3_000_000


def test_descriptors_are_passed(zygote: FakeZygote) -> None:
    reader, writer = os.pipe()
    assert run(zygote, "say", {"text": "hello"}, [writer]) is None
    assert os.read(reader, 100) == b"hello"
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_an_exception(zygote: FakeZygote) -> None:
    with pytest.raises(WorkerError) as caught:
        run(zygote, "fail", {})
    assert (caught.value.kind, caught.value.errno) == ("OSError", 28)
    assert "No space left" in caught.value.message


def test_a_result_that_is_no_json(zygote: FakeZygote) -> None:
    with pytest.raises(WorkerError) as caught:
        run(zygote, "unserialisable", {})
    assert caught.value.kind == "TypeError"


def test_a_crash(zygote: FakeZygote) -> None:
    with pytest.raises(WorkerError) as caught:
        run(zygote, "crash", {})
    assert caught.value.kind == "Died"


@pytest.mark.parametrize("early", [True, False])
def test_cancelling_kills(zygote: FakeZygote, early: bool) -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        task = asyncio.create_task(
            workers.run(cast(Zygote, zygote), "playground.functions:hang", {}, [writer])
        )
        if early:
            await asyncio.sleep(0)
        else:
            await asyncio.to_thread(os.read, reader, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        os.close(reader)
        os.close(writer)

    before = descriptors()
    asyncio.run(main())
    assert descriptors() == before
    # The fixture waits for the child: it would do so for ever if the function ran on.


@pytest.mark.parametrize(
    "name", ["os:system", "playground.functions:_private", "playground.functions:no.dots"]
)
def test_only_what_is_allowed(zygote: FakeZygote, name: str) -> None:
    with pytest.raises(WorkerError) as caught:
        asyncio.run(workers.run(cast(Zygote, zygote), name, {}, []))
    assert caught.value.kind == "Refused"
