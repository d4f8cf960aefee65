"""A health check's probe: an exec that nobody is attached to, with a limit of time and of output."""

import asyncio
import contextlib
import re
import socket
import time
from typing import Any

from compatd.engine import metrics
from compatd.engine.containers.model import Container
from compatd.engine.containers.times import go_duration
from compatd.engine.errors import EngineError
from compatd.engine.execs import Exec, Execs
from runtime.client import RuntimeError_

OUTPUT_LIMIT = 4096
"""Bytes of a probe's output that are kept."""

_START_WAIT = 30.0
_END_WAIT = 30.0
_SIGKILL = 9
_HEAD = 8
_READ = 64 * 1024
_ESCAPED = re.compile("[\udc80-\udcff]")


class LimitedOutput:
    """Takes stdcopy frames and keeps the first bytes of what is in them, both streams as one."""

    def __init__(self, limit: int = OUTPUT_LIMIT) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._cut = False
        self._head = bytearray()
        self._left = 0

    def feed(self, data: bytes) -> None:
        """More of the stream, cut anywhere."""
        position = 0
        while position < len(data):
            if not self._left:
                piece = data[position : position + _HEAD - len(self._head)]
                self._head += piece
                position += len(piece)
                if len(self._head) == _HEAD:
                    self._left = int.from_bytes(self._head[4:], "big")
                    self._head.clear()
                continue
            piece = data[position : position + self._left]
            position += len(piece)
            self._left -= len(piece)
            room = self._limit - len(self._kept)
            self._kept += piece[:room]
            self._cut = self._cut or len(piece) > room

    def text(self) -> str:
        """What was kept, and `...` when that is not all; a byte that is no UTF-8 is U+FFFD, as in Go."""
        text = _ESCAPED.sub("\ufffd", self._kept.decode("utf-8", "surrogateescape"))
        return text + ("..." if self._cut else "")


class Prober:
    """Runs probes; an instance is `compatd.engine.containers.health.Probe`."""

    def __init__(self, execs: Execs, runtime: Any) -> None:
        self._execs, self._runtime = execs, runtime

    async def __call__(self, container: Container, words: list[str], timeout: int) -> tuple[int, str]:
        """Exit code and output; -1 and what dockerd says of it when it takes longer than `timeout` ns.

        Raises EngineError when it cannot be started. Cancelled, it kills the process.
        """
        options = {"Cmd": words, "AttachStdout": True, "AttachStderr": True}
        began = time.perf_counter()
        item = self._execs.register(container, options, b"")
        try:
            async with asyncio.timeout(_START_WAIT):
                sock = await self._execs.start(item, attached=True, console=None)
        except TimeoutError:
            raise EngineError(f"timed out starting health check for container {container.id}") from None
        metrics.health_starts.since("", began)
        assert sock is not None
        output = LimitedOutput()
        with sock:
            try:
                async with asyncio.timeout(timeout / 1e9):
                    await _collect(sock, output, item)
            except TimeoutError:
                await self._kill(item)
                with contextlib.suppress(TimeoutError):  # dying probes must not pile up
                    async with asyncio.timeout(_END_WAIT):
                        await item.done.wait()
                text = output.text()
                message = f"Health check exceeded timeout ({go_duration(timeout)})"
                return -1, f"{message}: {text}" if text else message
            except asyncio.CancelledError:
                await asyncio.shield(self._kill(item))
                raise
        if item.exit_code is None:
            raise EngineError(f"healthcheck for container {container.id} has no exit code")
        return item.exit_code, output.text()

    async def _kill(self, item: Exec) -> None:
        with contextlib.suppress(RuntimeError_, OSError):
            await self._runtime.kill(item.container.id, _SIGKILL, exec_id=item.id)


async def _collect(sock: socket.socket, output: LimitedOutput, item: Exec) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(sock, _READ):
        output.feed(data)
    await item.done.wait()
