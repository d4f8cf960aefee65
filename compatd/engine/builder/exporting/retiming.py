"""`rewrite-timestamp`: layers whose files are no younger than SOURCE_DATE_EPOCH.

Source: moby/buildkit docs/build-repro.md; util/converter/tarconverter.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compatd.engine.builder.bases import Base
from compatd.engine.builder.request import PlatformResult
from compatd.engine.images.index import Pins

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

RETIME = "runtime.storage.retime:run"


def base_of(result: PlatformResult) -> Base | None:
    """The image that the result stands on, if it stands on one."""
    found = [base for base in result.bases if base.chain_ids == result.chain_ids[: len(base.chain_ids)]]
    return max(found, key=lambda base: len(base.chain_ids), default=None)


class Retimer:
    """Makes layers anew; they are pinned by the caller's `pins`."""

    def __init__(self, engine: "Engine", pins: Pins, epoch: int) -> None:
        self._images, self._pins, self._epoch = engine.images, pins, epoch

    async def chain(self, chain_ids: Sequence[str], keep: int) -> list[str]:
        """The chain IDs of the same layers, but the first `keep` (the base's own), with earlier times.

        Raises EngineError.
        """
        found = list(chain_ids[:keep])
        parent = found[-1] if found else ""
        for chain_id in chain_ids[keep:]:
            layer = self._images.index.layers[chain_id]
            source = {"layer": str(self._images.storage.layer_path(chain_id))}
            if layer.compression:
                source = {"blob": str(self._images.index.blob_path(layer.digest))}
            arguments = {**source, "compression": layer.compression, "epoch": self._epoch}
            made = await self._images.layers.from_worker(RETIME, arguments, self._pins, parent=parent)
            found.append(made.chain_id)
            parent = made.chain_id
        return found
