"""What a worker writes into a pipe, as chunks on the event loop; memory stays flat."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from typing import Any

from compatd.engine.errors import EngineError
from runtime.client import WorkerError

Json = dict[str, Any]

PIECE = 1 << 20


_running: set["asyncio.Task[Any]"] = set()


class Download:
    """A worker's output. Use `read`, then `answer`; `close` in any case: it kills what still runs."""

    def __init__(self, runtime: Any, function: str, arguments: Json) -> None:
        self._fd, self._write = os.pipe2(os.O_CLOEXEC)
        fcntl.fcntl(self._write, fcntl.F_SETPIPE_SZ, PIECE)
        os.set_blocking(self._fd, False)
        self._task = asyncio.ensure_future(runtime.worker(function, arguments, [self._write]))
        self._task.add_done_callback(self._done)
        _running.add(self._task)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        os.close(self._write)  # the end of the output
        _running.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, for nobody may ask any more

    async def read(self, count: int = PIECE) -> bytes:
        """Up to `count` bytes, b"" at the end."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._fd, count)
            except BlockingIOError:
                pass
            ready = loop.create_future()
            loop.add_reader(self._fd, _wake, ready)
            try:
                await ready
            finally:
                loop.remove_reader(self._fd)

    async def exactly(self, count: int) -> bytes:
        """`count` bytes, fewer at the end."""
        data = b""
        while len(data) < count and (more := await self.read(count - len(data))):
            data += more
        return data

    async def chunks(self) -> AsyncIterator[bytes]:
        """All that comes; then the worker's own answer is looked at. Raises EngineError."""
        while data := await self.read():
            yield data
        answer = await self.answer()
        if "error" in answer:
            raise EngineError(answer["error"])

    async def answer(self) -> Json:
        """The worker's answer, when it is done. Raises EngineError."""
        try:
            result: Json = await self._task
        except WorkerError as error:
            raise EngineError(str(error)) from error
        return result

    def close(self) -> None:
        """End the worker and close the pipe; not awaited, so that who is being cancelled can do it whole."""
        self._task.cancel()
        os.close(self._fd)


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
