"""Errors of a build as gRPC's clients want them: a text, and which lines of which file it is about.

Source: moby/buildkit util/grpcerrors (all errors of a build are UNKNOWN, or their code is shown to people),
solver/errdefs.
"""

import asyncio
import base64
from collections.abc import Iterable
from typing import Any

from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.status import Code, Detail, GrpcError, json_detail

_ANY = proto("google.protobuf.Any")
_STATUS = proto("google.rpc.Status")


def of_build(error: BaseException, source: Message | None = None) -> GrpcError:
    """What failed a build; `source` (pb.SourceInfo) is the file that its locations are lines of."""
    if isinstance(error, GrpcError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return canceled()
    details = list(getattr(error, "details", ()))
    if vertex := getattr(error, "vertex", ""):
        details.append(json_detail("errdefs.Vertex", {"digest": vertex}))
    if source is not None:
        details += [_source(source, lines) for lines in getattr(error, "locations", ())]
    text = str(getattr(error, "message", "") or error) or type(error).__name__
    return GrpcError(Code.UNKNOWN, text, details)


def canceled() -> GrpcError:
    """Somebody has given up."""
    return GrpcError(Code.CANCELLED, "context canceled")


def no_job(ref: str) -> GrpcError:
    """No build of that reference runs."""
    return GrpcError(Code.NOT_FOUND, f"no such job {ref}")


def no_request(name: str) -> GrpcError:
    """The frontend does not answer this."""
    return GrpcError(
        Code.UNKNOWN, f"unsupported request {name}", [json_detail("errdefs.Subrequest", {"name": name})]
    )


def no_capability(name: str) -> GrpcError:
    """The frontend lacks something that the client insists on."""
    detail = json_detail("errdefs.FrontendCap", {"name": name})
    return GrpcError(Code.UNIMPLEMENTED, f"unsupported frontend capability {name}", [detail])


def not_supported(what: str) -> GrpcError:
    """Low-level builds are beyond this builder."""
    return GrpcError(Code.UNIMPLEMENTED, f"{what} is not supported: this builder builds Dockerfiles")


def to_status(error: GrpcError) -> Message:
    """As google.rpc.Status."""
    details = [_ANY(type_url=detail.type_url, value=detail.value) for detail in error.details]
    return _STATUS(code=int(error.code), message=error.message, details=details)


def of_return(status: Message) -> GrpcError:
    """What a client's build function failed with; its error is what failed the build.

    Go's chain of errors is turned round on each way, so the details come back in the order they were sent.
    """
    details = [Detail(detail.type_url, detail.value) for detail in status.details]
    message = status.message
    return GrpcError(status.code or Code.UNKNOWN, message, reversed(details))


def source_info(filename: str, data: bytes) -> Message:
    """A Dockerfile, for errors and warnings to point into."""
    return proto("pb.SourceInfo")(filename=filename, data=data, language="Dockerfile")


def _source(source: Message, lines: Iterable[int]) -> Detail:
    first, last = lines
    info: dict[str, Any] = {"filename": source.filename, "data": base64.b64encode(source.data).decode()}
    if source.language:
        info["language"] = source.language
    return json_detail(
        "errdefs.Source", {"info": info, "ranges": [{"start": {"line": first}, "end": {"line": last}}]}
    )
