"""The daemon's zygote: started, restarted when it dies, asked for shims and workers."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import runtime
from runtime.client.types import RuntimeError_
from runtime.shim import wire

_log = logging.getLogger(__name__)

#: Room in the command line for a shim's title, which is written over it.
_PADDING = "-" * 100
#: A zygote that lived shorter than this is not restarted at once (seconds).
_TOO_SHORT = 1.0


def _interpreter() -> int:
    """Fd of a read-only mount of the interpreter, so that no container can write to it (CVE-2019-5736); -1
    when it cannot be had (not root: nothing can be started then either)."""
    from runtime.init import selfexe

    try:
        return selfexe.readonly_fd()
    except OSError as error:
        _log.warning("containers could reach a writable interpreter: %s", error)
        return -1


class Zygote:
    """One process at a time; `launch` may be called as soon as `open` was."""

    def __init__(self, log: Path) -> None:
        """`log`: where the zygote, shims and workers write what goes wrong."""
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self._since = 0.0
        self._closing = False
        self._reaping: set[asyncio.Task[None]] = set()
        #: Containers get the limit that the daemon was started with, also when it raises its own later.
        self._open_files = resource.getrlimit(resource.RLIMIT_NOFILE)

    @property
    def pid(self) -> int | None:
        """The process, None between two."""
        return self._process.pid if self._process else None

    def open(self) -> None:
        """Start it; it loads its modules while requests may already queue. Raises OSError."""
        self._closing = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        script = Path(__file__).parent.parent / "shim" / "zygote.py"
        paths = [str(Path(runtime.__file__).parent.parent)]
        isal = importlib.util.find_spec("isal")
        if isal is not None and isal.origin:
            paths.append(str(Path(isal.origin).parent.parent))
        interpreter = _interpreter()
        held = [str(interpreter)] if interpreter >= 0 else []
        fd = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(script), str(theirs.fileno()), *held, *paths, _PADDING],
                stdin=subprocess.DEVNULL,
                stdout=fd,
                stderr=fd,
                executable=f"/proc/self/fd/{interpreter}" if held else None,
                pass_fds=[theirs.fileno(), *map(int, held)],
                start_new_session=True,  # a Ctrl-C for the daemon is not for it
                cwd="/",
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "LC_ALL": "C.UTF-8",
                    # Large buffers go back to the kernel when freed: a shim's memory is mostly idle.
                    "MALLOC_MMAP_THRESHOLD_": "131072",
                    "MALLOC_TRIM_THRESHOLD_": "131072",
                },
            )
            resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE, self._open_files)
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(fd)
            if interpreter >= 0:
                os.close(interpreter)
            theirs.close()
        self._sock = ours
        self._since = time.monotonic()
        asyncio.get_running_loop().add_reader(ours, self._died)

    def _died(self) -> None:
        # It never sends anything, so this is the end of the file.
        process = self._drop()
        if process is None:
            return
        task = asyncio.get_running_loop().create_task(self._restart(process, time.monotonic() - self._since))
        self._reaping.add(task)
        task.add_done_callback(self._reaping.discard)

    def _drop(self) -> subprocess.Popen[bytes] | None:
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None
        process, self._process = self._process, None
        return process

    async def _restart(self, process: subprocess.Popen[bytes], lived: float) -> None:
        status = await asyncio.to_thread(process.wait)
        if self._closing:
            return
        _log.error("the zygote ended (status %s), starting another", status)
        if lived < _TOO_SHORT:
            await asyncio.sleep(_TOO_SHORT)
        if not self._closing and self._sock is None:
            self.open()

    async def launch(self, kind: str) -> socket.socket:
        """Fork a `shim` or `worker`; our end of its control socket.

        Raises RuntimeError_ when there is no zygote for 10 seconds.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            for attempt in range(500):
                try:
                    if self._sock is not None:
                        wire.send_packet(self._sock, (kind.encode(), [theirs.fileno()]))
                        return ours
                except BlockingIOError:
                    pass
                except OSError:
                    self._died()
                await asyncio.sleep(0.001 if attempt < 10 else 0.02)
            raise RuntimeError_("the runtime's zygote does not answer")
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    async def close(self) -> None:
        """End it by closing its socket, and reap it."""
        self._closing = True
        process = self._drop()
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, 5)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
        for task in tuple(self._reaping):
            task.cancel()
        await asyncio.gather(*self._reaping, return_exceptions=True)
