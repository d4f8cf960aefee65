"""Standard streams of real containers and execs: input, terminals, detaching."""

import asyncio
import os
import socket

import pytest

from runtime.client import AttachOptions, RuntimeError_
from tests.integration.shimkit import LIST_FDS, Kit, attachment, read_all, read_until, split, with_kit

pytestmark = pytest.mark.root

BOTH = {"stdin": True}


async def send(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


def test_input_of_the_first_client_ends_it() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "cat", stdin=True, stdin_once=True)
        ours, theirs = attachment(**BOTH)
        await send(ours, b"before the start\n")
        await kit.runtime.start("one", [theirs], [])
        await send(ours, b"after\n")
        ours.shutdown(socket.SHUT_WR)
        assert split(await read_all(ours)) == (b"before the start\nafter\n", b"")
        assert (await kit.event("one", "exit"))["code"] == 0

    with_kit(body)


def test_a_later_clients_end_of_input_is_not_the_programs() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "cat", stdin=True)
        await kit.runtime.start("one", [], [])
        first = await kit.runtime.attach("one", AttachOptions(stdin=True))
        await send(first, b"one\n")
        await read_until(first, b"one\n")
        first.shutdown(socket.SHUT_WR)
        assert await read_all(first) == b""
        second = await kit.runtime.attach("one", AttachOptions(stdin=True))
        await send(second, b"two\n")
        assert (await read_until(second, b"two\n"))[8:] == b"two\n"
        second.close()
        assert kit.events.empty()
        await kit.runtime.kill("one", 9)
        await kit.event("one", "exit")
        assert kit.entries("one") == [("stdout", "one\n"), ("stdout", "two\n")]

    with_kit(body)


def test_without_input_the_program_reads_nothing() -> None:
    async def body(kit: Kit) -> None:
        assert (await kit.run("one", "cat"))["code"] == 0

    with_kit(body)


def test_a_terminal() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sh", "-c", "tty; stty size; echo $0; read x; stty size; read x", tty=True)
        bundle = kit.runtime.bundle("one")
        (bundle / "shim.json").write_text(
            (bundle / "shim.json")
            .read_text()
            .replace('"console": null', '"console": [101, 31]')
            .replace('"stdin": false', '"stdin": true')
        )
        ours, theirs = attachment(**BOTH)
        await kit.runtime.start("one", [theirs], [])
        assert await read_until(ours, b"sh\r\n") == b"/dev/pts/0\r\n31 101\r\nsh\r\n"
        await kit.runtime.resize("one", None, 77, 22)
        await send(ours, b"\n")
        assert (await read_until(ours, b"22 77\r\n")).endswith(b"22 77\r\n")
        # Detach; the program goes on, and another client can take over.
        await send(ours, b"\x10\x11")
        assert await read_all(ours) == b""
        again = await kit.runtime.attach("one", AttachOptions(stdin=True))
        await send(again, b"\n")
        await read_all(again)
        assert (await kit.event("one", "exit"))["code"] == 0
        assert kit.entries("one")[0] == ("stdout", "/dev/pts/0\r\n")

    with_kit(body)


def test_exec() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sleep", "1000")
        await kit.runtime.start("one", [], [])
        ours, theirs = attachment(**BOTH)
        command = kit.process("sh", "-c", f"cat; echo err >&2; {LIST_FDS}; exit 5")
        await kit.runtime.exec("one", "e1", command, [theirs])
        await send(ours, b"in\n")
        ours.shutdown(socket.SHUT_WR)
        out, err = split(await read_all(ours))
        assert (out, err) == (b"in\n0 1 2 ", b"err\n")
        event = await kit.event("one", "exec-exit")
        assert event == {"event": "exec-exit", "exec": "e1", "code": 5}
        assert kit.log("one").read_bytes() == b"", "an exec's output is not the container's"
        await kit.runtime.kill("one", 9)
        await kit.event("one", "exit")

    with_kit(body)


def test_exec_with_a_terminal() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sleep", "1000")
        await kit.runtime.start("one", [], [])
        ours, theirs = attachment(**BOTH)
        process = kit.process("sh", "-c", "tty; stty size; read x; stty size; read x", tty=True)
        process["consoleSize"] = {"width": 90, "height": 20}
        await kit.runtime.exec("one", "e1", process, [theirs], detach_keys=b"q")
        assert await read_until(ours, b"20 90\r\n") == b"/dev/pts/0\r\n20 90\r\n"
        await kit.runtime.resize("one", "e1", 60, 10)
        await send(ours, b"\n")
        await read_until(ours, b"10 60\r\n")
        await send(ours, b"q")
        assert await read_all(ours) == b""
        await kit.runtime.kill("one", 9)
        # The container's end is the exec's.
        assert (await kit.event("one", "exec-exit"))["code"] == 137
        await kit.event("one", "exit")

    with_kit(body)


def test_an_exec_that_cannot_be() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sleep", "1000")
        await kit.runtime.start("one", [], [])
        ours, theirs = attachment()
        with pytest.raises(RuntimeError_) as caught:
            await kit.runtime.exec("one", "e1", kit.process("missing"), [theirs])
        assert 'exec: "missing": executable file not found in $PATH' in caught.value.message
        assert await read_all(ours) == b""
        with pytest.raises(RuntimeError_):
            await kit.runtime.resize("one", "e1", 1, 1)
        await kit.runtime.kill("one", 9)
        await kit.event("one", "exit")
        with pytest.raises(RuntimeError_) as caught:
            await kit.runtime.exec("one", "e2", kit.process("true"), [])
        assert "is not running" in caught.value.message

    with_kit(body)


def test_an_exec_whose_child_keeps_the_pipe_ends_all_the_same() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sleep", "1000")
        await kit.runtime.start("one", [], [])
        ours, theirs = attachment()
        await kit.runtime.exec("one", "e1", kit.process("sh", "-c", "sleep 1000 & echo started"), [theirs])
        assert split(await read_all(ours)) == (b"started\n", b"")
        assert (await kit.event("one", "exec-exit"))["code"] == 0
        await kit.runtime.kill("one", 9)
        await kit.event("one", "exit")

    with_kit(body)


def test_output_still_to_be_read_outlives_the_deletion() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "seq", "1", "100000")
        ours, theirs = attachment()
        await kit.runtime.start("one", [theirs], [])
        await kit.event("one", "exit")
        await kit.runtime.delete("one")
        out, _ = split(await read_all(ours))
        assert out.endswith(b"\n100000\n")
        await kit.gone(kit.shims)

    with_kit(body)


def test_aborted_attachments_leave_nothing() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sleep", "1000", stdin=True)
        await kit.runtime.start("one", [], [])
        await kit.runtime.kill("one", 0)  # answered by the shim's loop, so all is open by now
        shim = f"/proc/{kit.shim_of('one')}/fd"
        before = (len(os.listdir(shim)), len(os.listdir("/proc/self/fd")))
        for number in range(300):
            client = await kit.runtime.attach("one", AttachOptions(stdin=number % 2 == 0))
            if number % 3 == 0:
                client.send(b"x")
            client.close()
        await kit.gone(lambda: len(os.listdir(shim)) != before[0])
        assert len(os.listdir("/proc/self/fd")) == before[1]
        await kit.runtime.kill("one", 9)
        await kit.event("one", "exit")

    with_kit(body)
