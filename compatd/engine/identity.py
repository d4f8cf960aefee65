"""The engine's own ID (`ID` of /info): made once, and kept as long as its data."""

import uuid
from typing import Any


def engine_id(store: Any) -> str:
    """The ID; it is in the store when this returns."""
    document = store.meta.get("engine")
    if document is None:
        document = {"ID": str(uuid.uuid4())}
        store.meta.put("engine", document)
    return str(document["ID"])
