"""What the daemon must know after a crash: documents in SQLite, written before they are acknowledged."""

from compatd.store.database import Store, StoreError, Table

__all__ = ["Store", "StoreError", "Table"]
