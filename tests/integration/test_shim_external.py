"""Containers of another OCI runtime under our shim."""

import os
import shutil
import signal

import pytest

from runtime.client import Running, RuntimeError_
from tests.integration.shimkit import Kit, attachment, read_all, read_until, split, with_kit

RUNC = shutil.which("runc", path="/usr/sbin:/usr/bin:/sbin:/bin") or ""

pytestmark = [pytest.mark.root, pytest.mark.skipif(not RUNC, reason="runc is not installed")]

OUTSIDE = {"path": RUNC, "args": []}


def test_output_exec_and_exit() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sh", "-c", "echo out; echo err >&2; read x; exit 7", stdin=True, runtime=OUTSIDE)
        ours, theirs = attachment(stdin=True)
        await kit.runtime.start("one", [theirs], [])
        await read_until(ours, b"err\n")
        other, more = attachment()
        await kit.runtime.exec("one", "e1", kit.process("sh", "-c", "echo exec; exit 3"), [more])
        assert split(await read_all(other)) == (b"exec\n", b"")
        assert (await kit.event("one", "exec-exit"))["code"] == 3
        await kit.runtime.pause("one")
        await kit.runtime.resume("one")
        ours.send(b"\n")
        await read_all(ours)
        assert (await kit.event("one", "exit"))["code"] == 7
        await kit.runtime.delete("one")
        assert not kit.runtime.bundle("one").exists()
        assert sorted(kit.entries("one")) == [("stderr", "err\n"), ("stdout", "out\n")]
        await kit.gone(kit.shims)
        assert kit.cgroups() == []

    with_kit(body)


def test_a_terminal() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle(
            "one", "sh", "-c", "tty; stty size; sleep 1000", tty=True, console=[90, 20], runtime=OUTSIDE
        )
        ours, theirs = attachment()
        await kit.runtime.start("one", [theirs], [])
        assert await read_until(ours, b"20 90\r\n") == b"/dev/pts/0\r\n20 90\r\n"
        await kit.runtime.kill("one", signal.SIGKILL)
        assert await read_all(ours) == b""
        assert (await kit.event("one", "exit"))["code"] == 137

    with_kit(body)


def test_failures_are_told_and_undone() -> None:
    async def body(kit: Kit) -> None:
        bundle = kit.bundle("one", "missing", runtime=OUTSIDE)
        with pytest.raises(RuntimeError_) as caught:
            await kit.runtime.start("one", [], [])
        assert 'exec: "missing": executable file not found in $PATH' in caught.value.message
        assert sorted(path.name for path in bundle.iterdir()) == ["config.json", "rootfs", "shim.json"]
        assert kit.cgroups() == []
        kit.bundle("two", "true", runtime={"path": "/no/such/runtime", "args": []})
        with pytest.raises(RuntimeError_) as caught:
            await kit.runtime.start("two", [], [])
        assert "/no/such/runtime" in caught.value.message

    with_kit(body)


def test_it_outlives_the_daemon_and_not_its_shim() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sleep", "1000", runtime=OUTSIDE)
        started = await kit.runtime.start("one", [], [])
        await kit.restart()
        assert await kit.runtime.adopt("one") == Running(started.pid)
        os.kill(kit.shim_of("one"), signal.SIGKILL)
        await kit.event("one", "lost")
        assert kit.cgroups() == []
        await kit.runtime.delete("one")
        assert not kit.runtime.bundle("one").exists()

    with_kit(body)
