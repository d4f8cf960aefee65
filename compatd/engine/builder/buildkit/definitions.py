"""Low-level builds (LLB), as far as they are but a source: contexts that clients hand in, results handed out.

Source: moby/buildkit solver/pb, client/llb. Anything else is refused by name.
"""

import hashlib
import json
from typing import TYPE_CHECKING

from compatd.engine.builder.bases import Base
from compatd.engine.builder.buildkit import errors
from compatd.engine.builder.buildkit.locals import Wanted
from compatd.engine.builder.buildkit.wire.codec import DecodeError, Message
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError
from compatd.engine.builder.context import Context
from compatd.engine.images.index import Pins
from compatd.engine.images.platform import Platform

if TYPE_CHECKING:
    from compatd.engine.builder.buildkit.inputs import Inputs

_OURS = "compatd-result://"
_OP, _SOURCE, _INPUT = proto("pb.Op"), proto("pb.SourceOp"), proto("pb.Input")
_NAMES = {
    "exec": "ExecOp", "file": "FileOp", "build": "BuildOp", "merge": "MergeOp", "diff": "DiffOp",
    "passthrough": "PassthroughOp",
}  # fmt: skip
MAX_OPS = 10_000


def of_result(job_ref: str, ref_id: str) -> Message:
    """What stands for a result of a job, for clients that build another on it."""
    source = _OP(source=_SOURCE(identifier=f"{_OURS}{job_ref}/{ref_id}")).encode()
    digest = "sha256:" + hashlib.sha256(source).hexdigest()
    end = _OP(inputs=[_INPUT(digest=digest)]).encode()
    return proto("pb.Definition")(**{"def": [source, end], "metadata": {digest: proto("pb.OpMetadata")()}})


def source(definition: Message) -> tuple[Message, str]:
    """The one source (pb.SourceOp) that a definition is, and the name to show. Raises GrpcError."""
    packed = getattr(definition, "def")
    if not packed or len(packed) > MAX_OPS:
        raise GrpcError(
            Code.INVALID_ARGUMENT, "invalid empty definition" if not packed else "definition too large"
        )
    try:
        ops = {"sha256:" + hashlib.sha256(data).hexdigest(): _OP.decode(data) for data in packed}
    except DecodeError as error:
        raise GrpcError(Code.INVALID_ARGUMENT, f"failed to parse llb proto op: {error}") from None
    for op in ops.values():
        kind = op.which("op")
        if kind not in (None, "source"):
            raise errors.not_supported(f"a low-level build with {_NAMES.get(kind or '', kind)}")
    last = _OP.decode(packed[-1])
    digest = last.inputs[0].digest if last.inputs else ""
    found = ops.get(digest)
    if found is None or found.source is None:
        raise GrpcError(Code.INVALID_ARGUMENT, f"invalid input digest {digest}")
    metadata = definition.metadata.get(digest)
    title = metadata.description.get("llb.customname", "") if metadata is not None else ""
    return found.source, title or found.source.identifier


def result(definition: Message) -> tuple[str, str] | None:
    """The job's and the reference's IDs, if it stands for a result of ours. Raises GrpcError."""
    identifier = source(definition)[0].identifier
    if not identifier.startswith(_OURS):
        return None
    job_ref, _, ref_id = identifier[len(_OURS) :].partition("/")
    return job_ref, ref_id


async def files(inputs: "Inputs", definition: Message) -> Context:
    """The files of a source. Raises EngineError, GrpcError."""
    found, title = source(definition)
    scheme, _, rest = found.identifier.partition("://")
    attributes = found.attrs
    if scheme == "local":
        wanted = Wanted(
            rest,
            title,
            attributes.get("local.sharedkeyhint", ""),
            _patterns(attributes.get("local.followpaths", "")) or None,
            _patterns(attributes.get("local.excludepatterns", "")),
            _patterns(attributes.get("local.includepattern", "")),
        )
        return await inputs.locals.fetch(wanted)
    if scheme in ("http", "https"):
        return await inputs.remote(found.identifier, title)
    if scheme == "git":
        url = attributes.get("git.fullurl") or f"https://{rest}"
        fragment = rest.partition("#")[2]
        return await inputs.git(f"{url.partition('#')[0]}#{fragment}" if fragment else url, title)
    raise errors.not_supported(f"a low-level build of {scheme}:// as files")


async def base(inputs: "Inputs", definition: Message, platform: Platform, pins: Pins) -> Base | Context:
    """What a named context of the client's stands for. Raises EngineError, GrpcError."""
    if (known := result(definition)) is not None:
        built = (await inputs.kit.result(inputs.job, *known)).built
        if built is None:
            raise GrpcError(Code.NOT_FOUND, f"no such ref: {known[1]}")
        digest = "sha256:" + hashlib.sha256(built.config).hexdigest()
        return Base("", digest, json.loads(built.config), built.chain_ids)
    found, title = source(definition)
    scheme, _, rest = found.identifier.partition("://")
    if scheme == "docker-image":
        return await inputs.kit.image_context(inputs.job, title, scheme, rest).resolve(platform, pins)
    return await files(inputs, definition)


def _patterns(text: str) -> list[str]:
    try:
        found = json.loads(text) if text else []
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise GrpcError(Code.INVALID_ARGUMENT, f"invalid patterns of a local source: {text[:100]}")
    return found
