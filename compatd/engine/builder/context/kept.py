"""Folders of local sources that stay between builds, so that clients send only what has changed.

They are records of the build cache (`source.local`), so `docker builder prune` takes them, too. One build
at a time has a folder; another one with the same key gets a second one, as in BuildKit.
"""

from compatd.engine.builder.cache import Cache
from compatd.engine.builder.context.folder import Context
from compatd.engine.builder.records import LOCAL, Record
from compatd.engine.errors import EngineError

_MAX_SAME = 64


class Kept(Context):
    """A context in a record's folder."""

    def __init__(self, cache: Cache, record: Record) -> None:
        super().__init__(cache.folder(record), lambda _: None)
        self._cache, self._record = cache, record
        self._spoilt = self._closed = False
        self.size: int | None = None  # bytes, where its files are elsewhere

    def spoil(self) -> None:
        """What is in it is half of something: it goes when it is closed."""
        self._spoilt = True

    async def close(self) -> None:
        """Let it go; it stays for the next build."""
        if self._closed:
            return
        self._closed = True
        if self._spoilt:
            self._record.users -= 1
            self._cache.remove([self._record])
        elif self.size is not None:
            self._cache.close_empty(self._record, self.size)
        else:
            await self._cache.close_folder(self._record)


def take(cache: Cache, name: str, shared_key: str) -> Kept:
    """The folder of that key that nobody has, as its last user left it, or an empty one.

    Raises EngineError.
    """
    for number in range(_MAX_SAME):
        key = f"local:{name}:{shared_key}:{number}"
        known = cache.find(key)
        if known is None or not known.users:
            break
    else:
        raise EngineError(f"too many builds of the same folder at a time ({_MAX_SAME})")
    try:
        record, new = cache.open_folder(LOCAL, key, f"local source for {name}")
        context = Kept(cache, record)
        if new:
            context.folder.chmod(0o700)
        if not context.data.is_dir():
            context.data.mkdir(mode=0o755)
            context.data.chmod(0o755)
    except OSError as error:
        raise EngineError(f"cannot make a build context: {error}") from error
    return context
