"""Containers from a busybox tree, run through `runtime.client` alone: no daemon, no image, no network."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import struct
import tempfile
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from runtime.client import Attachment, AttachOptions, Runtime

APPLETS = ["sh", "true", "cat", "sleep", "seq", "tty", "stty", "ps", "kill", "tail"]
CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"]
NAMESPACES = ("pid", "mount", "ipc", "uts", "network", "cgroup")
MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
]
PATIENCE = 60
#: Prints the shell's descriptors without opening any, as `ls` or a pattern would.
LIST_FDS = 'n=0; while [ $n -lt 64 ]; do [ -e /proc/$$/fd/$n ] && printf "$n "; n=$((n+1)); done'


class Kit:
    """A runtime of its own with folders and cgroups of its own."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.name = "shimkit-" + uuid.uuid4().hex[:8]
        self.events: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self.runtime = self.new_runtime()
        self.lower = base / "lower"
        for folder in ("bin", "proc", "sys", "dev", "tmp", "etc"):
            (self.lower / folder).mkdir(parents=True)
        shutil.copy("/bin/busybox", self.lower / "bin/busybox")
        for applet in APPLETS:
            (self.lower / "bin" / applet).symlink_to("busybox")

    def new_runtime(self) -> Runtime:
        return Runtime(self.base / "exec", on_event=lambda id, event: self.events.put_nowait((id, event)))

    async def restart(self) -> None:
        """As after a daemon's crash: nothing was told to anybody."""
        await self.runtime.close()
        self.runtime = self.new_runtime()
        await self.runtime.open()

    def process(self, *args: str, tty: bool = False) -> dict[str, Any]:
        return {
            "terminal": tty,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ["PATH=/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
        }

    def bundle(
        self,
        id: str,
        *args: str,
        tty: bool = False,
        without: tuple[str, ...] = (),
        resources: dict[str, Any] | None = None,
        **shim: Any,
    ) -> Path:
        bundle = self.runtime.bundle(id)
        (bundle / "rootfs").mkdir(parents=True)
        rw = self.base / "rw" / id
        for folder in ("diff", "work"):
            (rw / folder).mkdir(parents=True, exist_ok=True)
        spec = {
            "ociVersion": "1.1.0",
            "process": self.process(*args, tty=tty),
            "root": {"path": str(bundle / "rootfs")},
            "hostname": id,
            "mounts": MOUNTS,
            "linux": {
                "cgroupsPath": f"/{self.name}/{id}",
                "resources": resources or {},
                "namespaces": [{"type": kind} for kind in NAMESPACES if kind not in without],
            },
        }
        (bundle / "config.json").write_text(json.dumps(spec))
        config = {
            "id": id,
            "root": {
                "overlay": {"lower": [str(self.lower)], "upper": str(rw / "diff"), "work": str(rw / "work")}
            },
            "runtime": None,
            "stdin": False,
            "stdin_once": False,
            "log": {"driver": "json-file", "path": str(self.log(id)), "max_size": -1, "max_file": 1},
            "network": {"mode": "new", "endpoints": [], "sysctls": {}},
            "console": None,
            "init": None,
        }
        (bundle / "shim.json").write_text(json.dumps({**config, **shim}))
        return bundle

    def log(self, id: str) -> Path:
        return self.base / f"{id}-json.log"

    def entries(self, id: str) -> list[tuple[str, str]]:
        lines = self.log(id).read_bytes().splitlines()
        return [(entry["stream"], entry["log"]) for entry in map(json.loads, lines)]

    async def run(self, id: str, *args: str, **options: Any) -> dict[str, Any]:
        """Run to the end, delete; the exit event."""
        self.bundle(id, *args, **options)
        await self.runtime.start(id, [], [])
        event = await self.event(id, "exit")
        await self.runtime.delete(id)
        return event

    async def event(self, id: str, kind: str) -> dict[str, Any]:
        """The next event, which must be this one."""
        got_id, event = await asyncio.wait_for(self.events.get(), PATIENCE)
        assert (got_id, event["event"]) == (id, kind), event
        return event

    def cgroups(self) -> list[str]:
        return [folder for folder in self._cgroup_folders() if not folder.endswith("/" + self.name)]

    def _cgroup_folders(self) -> list[str]:
        """Deepest first. `os.walk` takes no notice of what vanishes meanwhile, `Path.glob` does."""
        root = "/sys/fs/cgroup"
        tops = [root, *(os.path.join(root, name) for name in os.listdir(root))]
        return [
            folder for top in tops for folder, _, _ in os.walk(os.path.join(top, self.name), topdown=False)
        ]

    def shim_of(self, id: str) -> int:
        return int(json.loads((self.runtime.bundle(id) / "state.json").read_text())["shim"])

    def shims(self) -> list[int]:
        """All of this runtime, and processes that start something for them."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b" ")
                mine = (entry / "root").exists() and self._is_mine(words, entry)
            except OSError:
                continue
            if entry.name.isdigit() and mine:
                found.append(int(entry.name))
        return found

    def _is_mine(self, words: list[bytes], entry: Path) -> bool:
        if words[0] != b"compatd-shim":
            return False
        stderr = str((entry / "fd/2").readlink())
        return stderr.startswith(str(self.base))

    async def gone(self, check: Callable[[], object]) -> None:
        """Wait until `check` gives nothing."""
        for _ in range(PATIENCE * 50):
            if not check():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"still there: {check()}")

    async def clean(self) -> None:
        import signal

        for bundle in list((self.base / "exec/compatd/c").glob("*")):
            try:
                state = json.loads((bundle / "state.json").read_text())
                os.kill(state["pid"], signal.SIGKILL)
            except (OSError, ValueError):
                pass
        await self.runtime.close()
        for pid in self.shims():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for folder in self._cgroup_folders():
            for _ in range(100):
                try:
                    os.rmdir(folder)  # noqa: PTH106
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    await asyncio.sleep(0.02)
        shutil.rmtree(self.base, ignore_errors=True)


def with_kit(body: Callable[[Kit], Awaitable[None]]) -> None:
    """Run a test's coroutine with a Kit, and clean up whatever happens."""

    async def main() -> None:
        kit = Kit(Path(tempfile.mkdtemp(prefix="shimkit-")))
        try:
            await kit.runtime.open()
            await asyncio.wait_for(body(kit), 2 * PATIENCE)
        except BaseException:
            log = kit.base / "exec/compatd/zygote.log"
            print(log.read_text() if log.exists() else "no zygote.log")
            raise
        finally:
            await kit.clean()

    asyncio.run(main())


def attachment(**options: bool | bytes) -> tuple[socket.socket, Attachment]:
    """Our end, and what goes to `start` or `exec`."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, Attachment(theirs, AttachOptions(**options))  # type: ignore[arg-type]


async def read_all(sock: socket.socket) -> bytes:
    """Until the end of the stream; closes the socket."""
    loop = asyncio.get_running_loop()
    data = b""
    while piece := await asyncio.wait_for(loop.sock_recv(sock, 1 << 20), PATIENCE):
        data += piece
    sock.close()
    return data


async def read_until(sock: socket.socket, end: bytes) -> bytes:
    """Until the data ends with `end`."""
    loop = asyncio.get_running_loop()
    data = b""
    while not data.endswith(end):
        piece = await asyncio.wait_for(loop.sock_recv(sock, 1 << 20), PATIENCE)
        assert piece, data
        data += piece
    return data


def split(frames: bytes) -> tuple[bytes, bytes]:
    """stdcopy frames to (stdout, stderr)."""
    out = {1: b"", 2: b""}
    while frames:
        stream, length = struct.unpack(">BxxxL", frames[:8])
        out[stream] += frames[8 : 8 + length]
        frames = frames[8 + length :]
    return out[1], out[2]
