"""The build cache: its records, the layers that they hold, and their folders."""

from functools import partial
from pathlib import Path

from compatd.engine.builder.cache import FOLDERS
from compatd.engine.builder.records import Record
from compatd.fsck.report import Report
from compatd.fsck.state import State
from runtime.storage.base import Storage


class BuildCacheCheck:
    """One check of the build cache. A wrong record can always be forgotten: the step is done again."""

    def __init__(self, state: State, storage: Storage, report: Report) -> None:
        self._state, self._storage, self._report = state, storage, report
        self._root = storage.root / FOLDERS
        self.held: set[str] = set()
        """The chain IDs of all layers that records hold."""

    def run(self) -> None:
        """Look at all records and folders."""
        layers = {chain_id for chain_id, _ in self._state.rows("layers")}
        known = set()
        for record_id, document in self._state.rows("build_cache"):
            fault = self._fault(record_id, document, layers)
            if fault:
                forget = partial(self._state.delete, "build_cache", record_id)
                kind = "missing" if fault.endswith("missing") else "damaged"
                self._report.add(kind, f"record {record_id} of the build cache: {fault}", forget)
            else:
                known.add(record_id)
                self.held.update(document["ChainIds"])
        for path in sorted(self._root.iterdir()) if self._root.is_dir() else ():
            if path.name not in known:
                discard = partial(self._storage.discard, path)
                self._report.add("orphan", f"folder {FOLDERS}/{path.name} of the build cache", discard, path)

    def _fault(self, record_id: str, document: dict[str, object], layers: set[str]) -> str:
        try:
            record = Record.from_document(record_id, document)
        except (KeyError, TypeError):
            return "it cannot be read"
        for chain_id in record.chain_ids:
            if chain_id not in layers:
                return f"layer {chain_id} is missing"
        if record.folder and not (self._root / Path(record_id).name).is_dir():
            return "its folder is missing"
        return ""
