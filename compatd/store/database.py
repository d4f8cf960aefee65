"""The state file: one SQLite database in WAL mode, one table per kind of document.

A document is a JSON object in the API's spelling. All of them are read at start and kept in memory by the
engine, so the store has no queries: it is asked for everything once and told about every change.

`synchronous=NORMAL` means that a commit survives a killed daemon at any point without an fsync (about
0.1 ms, so the event loop may do it itself); after a power cut the file is consistent and lacks at most the
last moments. Checkpoints do fsync, so they run in a thread of their own.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from compatd.store.migrations import MIGRATIONS

Document = dict[str, Any]

_CHECKPOINT_PAGES = 2000


class StoreError(Exception):
    """The state could not be written or read: a full disk, a foreign or newer file, another daemon on it."""


class Table:
    """All documents of one kind, by ID."""

    def __init__(self, store: "Store", name: str) -> None:
        self._store = store
        self._get = f"SELECT doc FROM {name} WHERE id = ?"  # noqa: S608 - the names are constants of ours
        self._put = (
            f"INSERT INTO {name} (id, doc) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc"  # noqa: S608
        )
        self._delete = f"DELETE FROM {name} WHERE id = ?"  # noqa: S608
        self._all = f"SELECT id, doc FROM {name} ORDER BY rowid"  # noqa: S608

    def get(self, key: str) -> Document | None:
        """The document of that ID, or None."""
        row = self._store.execute(self._get, (key,)).fetchone()
        return None if row is None else orjson.loads(row[0])

    def put(self, key: str, document: Document) -> None:
        """Write a document, new or replacing. Raises StoreError when the disk is full."""
        with self._store.transaction():
            self._store.execute(self._put, (key, orjson.dumps(document)))

    def delete(self, key: str) -> None:
        """Remove a document; one that is not there is no error."""
        with self._store.transaction():
            self._store.execute(self._delete, (key,))

    def all(self) -> Iterator[tuple[str, Document]]:
        """Every document with its ID, oldest first."""
        for key, document in self._store.execute(self._all, ()).fetchall():
            yield key, orjson.loads(document)


class Store:
    """The daemon's state in `<folder>/state.db`; to be used from the event loop's thread only.

    Raises StoreError when another daemon uses the folder, or the file was written by a newer compatd.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.path = folder / "state.db"
        self._lock = self._take_lock(folder / "lock")
        self._depth = 0
        self._pages = 0
        self._checkpoint: threading.Thread | None = None
        self._database = sqlite3.connect(self.path, isolation_level=None)
        try:
            self.path.chmod(0o600)
            self.execute("PRAGMA journal_mode=WAL", ())
            self.execute("PRAGMA synchronous=NORMAL", ())
            self.execute("PRAGMA wal_autocheckpoint=0", ())
            self._migrate()
        except BaseException:
            self.close()
            raise
        self.containers = Table(self, "containers")
        self.images = Table(self, "images")
        self.layers = Table(self, "layers")
        self.tags = Table(self, "tags")
        self.networks = Table(self, "networks")
        self.endpoints = Table(self, "endpoints")
        self.volumes = Table(self, "volumes")
        self.build_cache = Table(self, "build_cache")
        self.meta = Table(self, "meta")

    @staticmethod
    def _take_lock(path: Path) -> int:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StoreError(
                f"{path.parent} is in use by another compatd: stop it, or choose another --data-root"
            ) from None
        return lock

    def _migrate(self) -> None:
        """Bring the schema to the newest version, each step in a transaction of its own."""
        (version,) = self.execute("PRAGMA user_version", ()).fetchone()
        if version > len(MIGRATIONS):
            raise StoreError(
                f"{self.path} was written by a newer compatd (schema {version}, this one knows "
                f"{len(MIGRATIONS)}): install that version again"
            )
        for number, step in enumerate(MIGRATIONS[version:], version + 1):
            with self.transaction():
                for statement in step:
                    self.execute(statement, ())
                self.execute(f"PRAGMA user_version = {number}", ())

    def execute(self, statement: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        """Run one statement. Raises StoreError with SQLite's text, or that no space is left."""
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise self._explain(error) from error

    @staticmethod
    def _explain(error: sqlite3.Error) -> StoreError:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return StoreError("write state.db: no space left on device")
        return StoreError(f"state.db: {error}")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside are kept together or not at all; nested ones join the outermost.

        No `await` may stand inside. Raises StoreError when the commit fails; nothing is kept then.
        """
        if self._depth:
            yield
            return
        self.execute("BEGIN IMMEDIATE", ())
        self._depth = 1
        try:
            yield
            self.execute("COMMIT", ())
        except BaseException:
            if self._database.in_transaction:
                self._database.rollback()
            raise
        finally:
            self._depth = 0
        self._count_commit()

    def _count_commit(self) -> None:
        self._pages += 4  # a document's commit writes about that many pages of 4 KiB to the log
        if self._pages >= _CHECKPOINT_PAGES and not (self._checkpoint and self._checkpoint.is_alive()):
            self._pages = 0
            self._checkpoint = threading.Thread(target=self._run_checkpoint, name="checkpoint", daemon=True)
            self._checkpoint.start()

    def _run_checkpoint(self) -> None:
        database = sqlite3.connect(self.path, isolation_level=None)
        try:
            database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error:
            return  # the log stays as it is; the next one tries again
        finally:
            database.close()

    def close(self) -> None:
        """Give the file and the lock on its folder back."""
        if self._checkpoint:
            self._checkpoint.join()
        self._database.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
