"""The state as it is stored, row by row: one that cannot be read does not hide the others."""

from collections.abc import Iterator
from typing import Any

import orjson

from compatd.fsck.report import Report
from compatd.store import Store

TABLES = ("containers", "images", "layers", "tags", "networks", "endpoints", "volumes", "meta", "build_cache")


class State:
    """The tables of an open store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def check(self, report: Report) -> None:
        """Whether the database is whole, and each row a document."""
        for (text,) in self._store.execute("PRAGMA integrity_check", ()).fetchall():
            if text != "ok":
                report.add("damaged", f"state.db: {text}; restore it from a copy")
        for table in TABLES:
            for key, raw in self._raw(table):
                if _document(raw) is None:

                    def drop(table: str = table, key: str = key) -> None:
                        self.delete(table, key)

                    report.add("damaged", f"the state's entry {key} in {table}", drop)

    def _raw(self, table: str) -> list[tuple[str, bytes]]:
        return self._store.execute(f"SELECT id, doc FROM {table} ORDER BY rowid", ()).fetchall()  # noqa: S608

    def rows(self, table: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """All documents that can be read, with their IDs."""
        for key, raw in self._raw(table):
            document = _document(raw)
            if document is not None:
                yield key, document

    def put(self, table: str, key: str, document: dict[str, Any]) -> None:
        """Write a document."""
        getattr(self._store, table).put(key, document)

    def delete(self, table: str, key: str) -> None:
        """Remove a document."""
        getattr(self._store, table).delete(key)


def _document(raw: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
