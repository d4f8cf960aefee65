"""A new container's root on disk, as its storage driver has it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.config.values import parse_bytes
from compatd.engine.containers.model import Container
from compatd.engine.containers.neighbours import Storage
from compatd.engine.errors import EngineError, InvalidParameter, NotBuilt

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers


async def make(containers: "Containers", container: Container) -> None:
    """Make the writable folder, and of images what must be ready before a start.

    Raises EngineError, OSError.
    """
    storage = containers.storage
    storage.create_rw(container.id, size_limit(container.host_config.get("StorageOpt"), storage))
    works = [storage.fill_work(container.id, container.chain_ids)]
    works += [storage.image_work(point["ChainIds"]) for point in container.mounts if point.get("ChainIds")]
    for work in works:
        if work:
            await _run(containers, *work)


def size_limit(options: dict[str, str] | None, storage: Storage) -> int | None:
    """What `--storage-opt` says, in bytes; None: nothing. Raises EngineError, as the storage driver does."""
    vfs = storage.name == "vfs"
    for name in options or {}:
        if name.lower() != "size":
            raise (
                InvalidParameter(f"Storage opt {name} not supported")
                if vfs
                else EngineError(f"Unknown option {name}")
            )
    for value in (options or {}).values():
        if storage.quotas is None:
            raise (NotBuilt if vfs else EngineError)(storage.no_quotas)
        try:
            return parse_bytes(value)
        except ValueError as error:
            raise (InvalidParameter if vfs else EngineError)(str(error)) from None
    return None


async def _run(containers: "Containers", function: str, arguments: dict[str, Any]) -> None:
    try:
        answer = await containers.runtime.worker(function, arguments)
    finally:
        if "scratch" in arguments:
            containers.storage.discard(Path(arguments["scratch"]))
    if answer.get("error"):
        raise EngineError(f"error creating the container's root: {answer['error']}")
