"""A container's life under its shim: output, exit, signals, limits, failures."""

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from runtime.client import AttachOptions, RuntimeError_
from tests.integration.shimkit import LIST_FDS, Kit, attachment, read_all, read_until, split, with_kit

pytestmark = pytest.mark.root


def test_output_exit_code_and_what_is_left() -> None:
    async def body(kit: Kit) -> None:
        event = await kit.run("one", "sh", "-c", "echo out; echo err >&2; exit 7")
        assert (event["code"], event["signal"], event["oom"]) == (7, None, False)
        assert sorted(kit.entries("one")) == [("stderr", "err\n"), ("stdout", "out\n")]
        assert not kit.runtime.bundle("one").exists()
        await kit.gone(kit.shims)
        assert kit.cgroups() == []

    with_kit(body)


def test_no_descriptor_of_ours_is_in_the_container() -> None:
    async def body(kit: Kit) -> None:
        leak, other = socket.socketpair()
        leak.set_inheritable(True)
        hold = socket.socket()
        hold.bind(("127.0.0.1", 0))
        kit.bundle("one", "sh", "-c", LIST_FDS)
        ours, theirs = attachment()
        await kit.runtime.start("one", [theirs], [hold])
        out, _ = split(await read_all(ours))
        assert out == b"0 1 2 "
        leak.close()
        other.close()

    with_kit(body)


def test_a_signal_ends_it() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sleep", "1000")
        started = await kit.runtime.start("one", [], [])
        assert Path(f"/proc/{started.pid}/comm").read_text() == "sleep\n"
        await kit.runtime.kill("one", signal.SIGKILL)
        event = await kit.event("one", "exit")
        assert (event["code"], event["signal"]) == (137, 9)
        with pytest.raises(RuntimeError_) as caught:
            await kit.runtime.kill("one", signal.SIGTERM)
        assert "is not running" in caught.value.message
        await kit.runtime.delete("one")

    with_kit(body)


def test_a_signal_to_all() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sh", "-c", "trap '' TERM; sleep 1000 & echo ready; wait; echo gone; exit 3")
        ours, theirs = attachment()
        await kit.runtime.start("one", [theirs], [])
        await read_until(ours, b"ready\n")
        # The shell ignores it and its child inherits that: KILL for the child comes by exec.
        await kit.runtime.kill("one", signal.SIGTERM, all=True)
        await kit.runtime.exec("one", "e", kit.process("sh", "-c", "kill -9 2"), [])
        await kit.event("one", "exec-exit")
        assert (await kit.event("one", "exit"))["code"] == 3
        ours.close()

    with_kit(body)


def test_failures_are_told_and_undone() -> None:
    async def body(kit: Kit) -> None:
        bundle = kit.bundle("one", "missing")
        ours, theirs = attachment()
        with pytest.raises(RuntimeError_) as caught:
            await kit.runtime.start("one", [theirs], [])
        assert caught.value.message == (
            'unable to start container process: exec: "missing": executable file not found in $PATH'
        )
        assert await read_all(ours) == b""
        assert sorted(path.name for path in bundle.iterdir()) == ["config.json", "rootfs", "shim.json"]
        await kit.gone(kit.shims)
        assert kit.cgroups() == []
        # The same bundle can be started when it is right.
        config = json.loads((bundle / "config.json").read_text())
        config["process"]["args"] = ["true"]
        (bundle / "config.json").write_text(json.dumps(config))
        await kit.runtime.start("one", [], [])
        assert (await kit.event("one", "exit"))["code"] == 0

    with_kit(body)


def test_a_network_that_cannot_be_made() -> None:
    async def body(kit: Kit) -> None:
        endpoint = {
            "host_name": "veth" + kit.name[-7:],
            "name": "eth0",
            "bridge": "no-such-bridge",
            "mac": "02:42:ac:11:00:02",
            "addresses": ["172.31.255.2/24"],
            "gateway": None,
            "mtu": 1500,
        }
        kit.bundle("one", "true", network={"mode": "new", "endpoints": [endpoint], "sysctls": {}})
        with pytest.raises(RuntimeError_) as caught:
            await kit.runtime.start("one", [], [])
        assert "failed to set up container networking" in caught.value.message
        await kit.gone(kit.shims)
        assert kit.cgroups() == []

    with_kit(body)


def test_pause_and_resume() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sh", "-c", "while :; do echo tick; sleep 0.01; done")
        await kit.runtime.start("one", [], [])
        await kit.runtime.pause("one")
        size = -1
        for _ in range(100):  # what is in the pipe still comes, however late
            before, size = size, kit.log("one").stat().st_size
            if size == before:
                break
            await asyncio.sleep(0.2)
        else:
            raise AssertionError("a paused container goes on writing")
        with pytest.raises(RuntimeError_) as caught:
            await kit.runtime.exec("one", "e", kit.process("true"), [])
        assert "is paused" in caught.value.message
        await kit.runtime.resume("one")
        await kit.gone(lambda: kit.log("one").stat().st_size == size)
        await kit.runtime.kill("one", 9)
        await kit.event("one", "exit")

    with_kit(body)


def test_out_of_memory() -> None:
    async def body(kit: Kit) -> None:
        resources = {"memory": {"limit": 32 << 20, "swap": 32 << 20}}
        kit.bundle("one", "sh", "-c", "tail /dev/zero; sleep 1000", resources=resources)
        await kit.runtime.start("one", [], [])
        await kit.event("one", "oom")
        await kit.runtime.kill("one", 9)
        event = await kit.event("one", "exit")
        assert (event["code"], event["oom"]) == (137, True)

    with_kit(body)


def test_processes_in_a_shared_pid_namespace_end_with_the_first() -> None:
    async def body(kit: Kit) -> None:
        bundle = kit.bundle("one", "sh", "-c", "sleep 1000 & echo $!; exit 0", without=("pid",))
        await kit.runtime.start("one", [], [])
        assert (await kit.event("one", "exit"))["code"] == 0
        child = int(kit.entries("one")[0][1])
        await kit.gone(lambda: Path(f"/proc/{child}").exists())
        await kit.gone(kit.cgroups)
        await kit.runtime.delete("one")
        assert not bundle.exists()

    with_kit(body)


def test_a_large_output_is_whole() -> None:
    async def body(kit: Kit) -> None:
        ours, theirs = attachment()
        kit.bundle("one", "seq", "1", "200000")
        await kit.runtime.start("one", [theirs], [])
        out, _ = split(await read_all(ours))
        await kit.event("one", "exit")
        wanted = b"".join(b"%d\n" % number for number in range(1, 200001))
        assert out == wanted
        assert "".join(text for _, text in kit.entries("one")).encode() == wanted

    with_kit(body)


def test_twenty_at_once() -> None:
    async def body(kit: Kit) -> None:
        names = [f"c{number}" for number in range(20)]

        async def one(name: str) -> None:
            kit.bundle(name, "sh", "-c", f"echo {name}")
            await kit.runtime.start(name, [], [])

        await asyncio.gather(*map(one, names))
        seen = sorted([(await asyncio.wait_for(kit.events.get(), 60))[0] for _ in names])
        assert seen == sorted(names)
        await asyncio.gather(*(kit.runtime.delete(name) for name in names))
        assert [kit.entries(name) for name in names] == [[("stdout", f"{name}\n")] for name in names]
        await kit.gone(kit.shims)
        assert kit.cgroups() == []

    with_kit(body)


def test_shims_can_be_told_apart_and_hold_only_their_own() -> None:
    async def body(kit: Kit) -> None:
        for name in ("one", "two"):
            kit.bundle(name, "sleep", "1000")
            await kit.runtime.start(name, [], [])
            await kit.runtime.kill(name, 0)  # answered by the shim's loop, so all is open by now
        shims = [kit.shim_of(name) for name in ("one", "two")]
        titles = {Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") for pid in shims}
        assert titles == {b"compatd-shim one", b"compatd-shim two"}
        counts = {len(os.listdir(f"/proc/{pid}/fd")) for pid in shims}
        assert len(counts) == 1, "the second shim has something of the first"
        for name in ("one", "two"):
            await kit.runtime.kill(name, 9)
            await kit.event(name, "exit")
            await kit.runtime.delete(name)

    with_kit(body)


def test_attaching_to_what_has_ended() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "true")
        await kit.runtime.start("one", [], [])
        await kit.event("one", "exit")
        assert await read_all(await kit.runtime.attach("one", AttachOptions())) == b""
        await kit.runtime.delete("one")
        with pytest.raises(RuntimeError_) as caught:
            await kit.runtime.attach("one", AttachOptions())
        assert caught.value.kind == "Gone"

    with_kit(body)
