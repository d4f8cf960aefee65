"""Files of results, as clients read them (`bake` reads its definition out of a remote context)."""

from compatd.engine.builder.buildkit import errors
from compatd.engine.builder.buildkit.jobs import Reference
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError
from compatd.engine.errors import EngineError, NotFound


async def read_file(reference: Reference, path: str) -> bytes:
    """A file's content; links are followed inside only. Raises GrpcError."""
    if reference.files is None:
        raise errors.not_supported("reading a file of a built image")
    try:
        return await reference.files.read(path)
    except NotFound:
        text = f"failed to read {path}: open {path}: no such file or directory"
        raise GrpcError(Code.UNKNOWN, text) from None
    except EngineError as error:
        raise errors.of_build(error) from None
