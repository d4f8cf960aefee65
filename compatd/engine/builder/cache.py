"""The build cache: records by key, the layers that they hold, and folders that builds use again.

All records are in memory, and in the store's table `build_cache`. A record's layers stay while it is there
(`Index.held`), so they outlive the image that was built. A folder is `build/<record's ID>` below our root; it
is mentioned before it is made, and forgotten before it is removed.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

from compatd.engine.builder.records import LOCAL, Record
from compatd.engine.foldersize import folder_size
from compatd.engine.images.index import Index
from runtime.storage.base import Storage, spread

Json = dict[str, Any]

FOLDERS = "build"
_SEEN = 60_000_000_000  # a use within this time of the last is not written down again (ns)


class Cache:
    """Records by ID and by key."""

    def __init__(self, store: Any, index: Index, storage: Storage) -> None:
        self._store, self._index, self._storage = store, index, storage
        self.records: dict[str, Record] = {}
        self._by_key: dict[str, Record] = {}
        self._locks: dict[str, tuple[asyncio.Lock, list[int]]] = {}
        self._root = storage.root / FOLDERS

    def open(self) -> None:
        """Read all records, drop those that have lost what they hold, and folders that no record has."""
        self._root.mkdir(mode=0o710, exist_ok=True)
        spread(self._root)
        for record_id, doc in list(self._store.build_cache.all()):
            try:
                record = Record.from_document(record_id, doc)
            except (KeyError, TypeError):
                record = None
            if record and self._whole(record):
                self._add(record)
            else:
                self._store.build_cache.delete(record_id)
        for folder in list(self._root.iterdir()):
            if folder.name not in self.records:
                self._storage.discard(folder)

    def _add(self, record: Record) -> None:
        self.records[record.id] = record
        self._by_key[record.key] = record

    # Looking up --------------------------------------------------------------------------------------------

    def find(self, key: str) -> Record | None:
        """The record of that key, if all that it holds is still there."""
        record = self._by_key.get(key)
        if record is None:
            return None
        if not self._whole(record):
            self.remove([record])
            return None
        return record

    def _whole(self, record: Record) -> bool:
        if record.image:
            return record.image in self._index.images
        return all(chain in self._index.layers for chain in record.chain_ids)

    def use(self, record: Record) -> None:
        """A build has made use of it."""
        now = time.time_ns()
        late = now - record.last_used > _SEEN
        record.uses += 1
        record.last_used = now
        if late and record.id in self.records:
            self._store.build_cache.put(record.id, record.document())

    def put(self, record: Record) -> Record:
        """Remember it, instead of one of the same key. Its layers must be there and pinned."""
        now = time.time_ns()
        record.created = record.created or now
        record.last_used, record.uses = now, record.uses + 1
        old = self._by_key.get(record.key)
        with self._store.transaction():
            self._store.build_cache.put(record.id, record.document())
            if old is not None:
                self._store.build_cache.delete(old.id)
        if old is not None:
            self._forget(old)
        self._add(record)
        if old is not None and old.chain_ids:
            self._index.release(list(old.chain_ids))
        return record

    @contextlib.asynccontextmanager
    async def alone(self, key: str, *, wait: bool = True) -> AsyncIterator[None]:
        """One at a time for that key: who comes second finds what the first has made. Without `wait`: at
        once.
        """
        if not wait:
            yield
            return
        lock, waiting = self._locks.setdefault(key, (asyncio.Lock(), [0]))
        waiting[0] += 1
        try:
            async with lock:
                yield
        finally:
            waiting[0] -= 1
            if not waiting[0]:
                self._locks.pop(key, None)

    @contextlib.contextmanager
    def in_use(self, records: Iterable[Record]) -> Any:
        """Records that must not be pruned meanwhile."""
        held = list(records)
        for record in held:
            record.users += 1
        try:
            yield
        finally:
            for record in held:
                record.users -= 1

    # Folders -----------------------------------------------------------------------------------------------

    def folder(self, record: Record) -> Path:
        """Where the files of a record with a folder are."""
        return self._root / record.id

    def open_folder(self, kind: str, key: str, description: str) -> tuple[Record, bool]:
        """The folder of that key, made (0755, empty) when there is none, and whether it is new. It is in use
        until `close_folder`. Blocks for a few system calls. Raises OSError.
        """
        record = self._by_key.get(key)
        new = record is None or not self.folder(record).is_dir()
        if record is None:
            record = self.put(Record(key, kind, description, folder=True))
        else:
            self.use(record)
        if new:
            self.folder(record).mkdir(mode=0o755)
            self.folder(record).chmod(0o755)
        record.users += 1
        return record, new

    async def close_folder(self, record: Record) -> None:
        """It is not in use any more; what is in it is counted."""
        record.users -= 1
        if record.users == 0 and record.id in self.records:
            folder = self.folder(record)
            size = await asyncio.to_thread(_size, folder / "data" if record.type == LOCAL else folder)
            record.size, record.last_used = size, time.time_ns()
            if record.id in self.records:
                self._store.build_cache.put(record.id, record.document())

    def close_empty(self, record: Record, size: int) -> None:
        """As `close_folder`, of one whose files are not there and have so many bytes."""
        record.users -= 1
        changed, record.size = record.size != size, size
        record.last_used = time.time_ns()
        if changed and record.id in self.records:
            self._store.build_cache.put(record.id, record.document())

    # Removal -----------------------------------------------------------------------------------------------

    def held(self) -> Iterable[str]:
        """The chain IDs of all layers that records hold."""
        for record in self.records.values():
            yield from record.chain_ids

    def _forget(self, record: Record) -> None:
        self.records.pop(record.id, None)
        if self._by_key.get(record.key) is record:
            del self._by_key[record.key]

    def remove(self, records: Sequence[Record]) -> int:
        """Forget them, and let go what they held; the bytes of layers that went with them."""
        with self._store.transaction():
            for record in records:
                self._store.build_cache.delete(record.id)
        for record in records:
            self._forget(record)
            if record.folder:
                self._storage.discard(self.folder(record))
        before = {chain: self._index.layers[chain].size for record in records for chain in record.chain_ids
                  if chain in self._index.layers}  # fmt: skip
        depths = {chain: at for record in records for at, chain in enumerate(record.chain_ids)}
        self._index.release(sorted(depths, key=lambda chain: depths[chain]))
        return sum(size for chain, size in before.items() if chain not in self._index.layers)


def _size(folder: Path) -> int:
    return folder_size(str(folder)) if folder.is_dir() else 0
