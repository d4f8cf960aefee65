"""`docker diff`: the paths that differ from the image."""

from typing import TYPE_CHECKING, Any

from compatd.engine import metrics
from compatd.engine.errors import EngineError
from compatd.engine.metrics import timed
from runtime.client import WorkerError

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers


@timed(metrics.container_actions, "changes")
async def changes(containers: "Containers", reference: str) -> list[dict[str, Any]] | None:
    """container.FilesystemChange objects, parents first; None (JSON's null, as in Docker) without any.

    Raises NotFound, EngineError.
    """
    container = containers.find(reference)
    try:
        answer = await containers.runtime.worker(
            *containers.storage.diff_work(container.id, container.chain_ids)
        )
    except WorkerError as error:
        raise EngineError(str(error)) from error
    return [{"Path": path, "Kind": kind} for path, kind in answer["changes"]] or None
