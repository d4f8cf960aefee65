"""What is uploaded: a layer's blob that is a file already, or one that is made while it goes out."""

import asyncio
import hashlib
import os
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from compatd.engine.images.registry.threads import to_the_end

try:
    from isal import isal_zlib
except ImportError:
    isal_zlib = None  # type: ignore[assignment]

_PIECE = 1 << 20
_GZIP = 31  # zlib's wbits for a gzip member; its header has no time and no name, so the same bytes come out


def gzip_compressor() -> Any:
    """A compressor whose output depends on nothing but its input."""
    return isal_zlib.compressobj(2, wbits=_GZIP) if isal_zlib else zlib.compressobj(6, wbits=_GZIP)


def packing(fd: int, digest: Any, compressor: Any) -> Callable[[bytes], int]:
    """A function that writes what it is given to `fd`, b"" at the end, and tells how many bytes it wrote.

    `compressor`: None, or what packs it before; `digest` is of what is written.
    """

    def put(data: bytes) -> int:
        if compressor:
            data = compressor.compress(data) if data else compressor.flush()
        digest.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        return len(data)

    return put


class Source:
    """A file that is whole, or grows until it is. `total` is what progress is measured in (bytes).

    `error` is why it will not be whole.
    """

    def __init__(self, path: Path, total: int) -> None:
        self.path = path
        self.total = total
        self.size = 0
        self.digest = ""
        self._taken = 0  # of `total`
        self._whole = False
        self._grown = asyncio.Event()
        self.error: BaseException | None = None

    @classmethod
    def of_file(cls, path: Path, size: int, digest: str) -> "Source":
        """One that is whole."""
        source = cls(path, size)
        source.size, source.digest, source._taken, source._whole = size, digest, size, True
        return source

    @property
    def whole(self) -> bool:
        """Whether `size` and `digest` are known."""
        return self._whole

    async def fill(self, plain: AsyncIterator[bytes], *, compress: bool) -> None:
        """Make the file out of a layer's plain tar. What goes wrong is raised by whoever reads."""
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        digest = hashlib.sha256()
        put = packing(fd, digest, gzip_compressor() if compress else None)

        try:
            async for piece in plain:
                self.size += await to_the_end(put, piece)
                self._taken += len(piece)
                self._grow()
            self.size += await to_the_end(put, b"")
            self.digest = "sha256:" + digest.hexdigest()
            self._taken = self.total
            self._whole = True
        except BaseException as error:
            self.error = error
            raise
        finally:
            os.close(fd)
            self._grow()

    def _grow(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    async def started(self) -> None:
        """Until there is a file. Raises what `fill` raised."""
        while not self.size and not self._whole:
            await self._more()

    async def wait(self) -> None:
        """Until it is whole. Raises what `fill` raised."""
        while not self._whole:
            await self._more()

    async def _more(self) -> None:
        if self.error:
            raise self.error
        if not self._whole:
            await self._grown.wait()

    def shown(self, sent: int) -> int:
        """How much of `total` that many bytes of the file stand for."""
        return self._taken * sent // self.size if self.size else 0

    async def read(self, offset: int) -> AsyncIterator[bytes]:
        """The bytes from `offset` to the end, as they come to be."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while True:
                whole, size = self._whole, self.size
                if offset < size and (whole or size - offset >= _PIECE // 4):
                    data = await to_the_end(os.pread, fd, min(_PIECE, size - offset), offset)
                    if not data:
                        raise OSError(f"{self.path} is shorter than it was")
                    offset += len(data)
                    yield data
                elif whole:
                    return
                else:
                    await self._more()
        finally:
            os.close(fd)
