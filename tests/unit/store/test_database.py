"""The state file: kept or not at all, one daemon at a time, never a newer schema."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from compatd.store import Store, StoreError
from compatd.store.migrations import MIGRATIONS


def test_documents_survive_reopening(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.containers.put("b", {"Name": "/b"})
    store.containers.put("a", {"Name": "/a"})
    store.containers.put("b", {"Name": "/new"})
    store.close()
    again = Store(tmp_path)
    assert list(again.containers.all()) == [("b", {"Name": "/new"}), ("a", {"Name": "/a"})]
    assert again.containers.get("a") == {"Name": "/a"}
    assert again.images.get("a") is None
    again.close()


def test_transaction_is_whole_or_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.tags.put("x", {"v": 1})
    with pytest.raises(RuntimeError, match="stop"), store.transaction():
        store.tags.put("x", {"v": 2})
        with store.transaction():
            store.tags.put("y", {"v": 2})
        raise RuntimeError("stop")
    assert store.tags.get("x") == {"v": 1}
    assert store.tags.get("y") is None
    with store.transaction():
        store.tags.delete("x")
    assert list(store.tags.all()) == []
    store.close()


def test_killed_in_mid_transaction_keeps_the_last_commit(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from compatd.store import Store\n"
        "store = Store(Path(sys.argv[1])); store.meta.put('kept', {'v': 1})\n"
        "with store.transaction():\n"
        "    store.meta.put('lost', {'v': 1}); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    store = Store(tmp_path)
    assert dict(store.meta.all()) == {"kept": {"v": 1}}
    store.close()


def test_second_daemon_is_refused(tmp_path: Path) -> None:
    first = Store(tmp_path)
    with pytest.raises(StoreError, match="in use by another compatd"):
        Store(tmp_path)
    first.close()
    Store(tmp_path).close()


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "state.db") as database:
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreError, match="newer compatd"):
        Store(tmp_path)


def test_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.meta.put("before", {"v": 1})
    (pages,) = store.execute("PRAGMA page_count", ()).fetchone()
    store.execute(f"PRAGMA max_page_count = {pages}", ())
    with pytest.raises(StoreError, match="no space left on device"), store.transaction():
        store.meta.put("big", {"v": "x" * 100_000})
    assert dict(store.meta.all()) == {"before": {"v": 1}}
    store.close()


def test_checkpoint_keeps_the_log_short(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(1200):
        with store.transaction():
            store.meta.put("k", {"v": "x" * 2000, "n": number})
    store.close()
    reopened = Store(tmp_path)
    document = reopened.meta.get("k")
    assert document is not None
    assert document["n"] == 1199
    reopened.close()
