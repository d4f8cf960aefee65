"""LLBBridge: what a client's build function asks while its Control/Solve waits for what it returns.

Source: moby/buildkit frontend/gateway, control/gateway.
"""

import asyncio
import json
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.buildkit import definitions, errors, images, options, results, worker
from compatd.engine.builder.buildkit.frontend import Frontend
from compatd.engine.builder.buildkit.inputs import Inputs
from compatd.engine.builder.buildkit.jobs import MAX_SOLVES, Job, Reference, Solved
from compatd.engine.builder.buildkit.options import FrontendOptions
from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.metadata import first
from compatd.engine.builder.buildkit.wire.server import Handler, ServerStream
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError

if TYPE_CHECKING:
    from compatd.engine.builder.buildkit.service import BuildKit

SERVICE = "/moby.buildkit.v1.frontend.LLBBridge/"
_BUILD_ID = "buildkit-controlapi-buildid"
_WAIT = 3.0  # seconds for Control/Solve, which is on its way


def _proto(name: str) -> type[Message]:
    return proto(f"moby.buildkit.v1.frontend.{name}")


class Bridge:
    """The service; each call names its build in its metadata."""

    def __init__(self, kit: "BuildKit") -> None:
        self._kit = kit

    def handlers(self) -> dict[str, Handler]:
        """Path → handler."""
        return {
            f"{SERVICE}{name}": getattr(self, f"_{name.lower()}")
            for name in (
                *("Ping", "Solve", "Return", "Inputs", "Warn", "Evaluate", "ReadFile"),
                *("ResolveImageConfig", "ResolveSourceMeta", "NewContainer"),
            )
        }

    async def _job(self, call: ServerStream) -> Job:
        build_id = first(call.metadata, _BUILD_ID)
        if not build_id:
            name = call.path.rpartition("/")[2]
            raise GrpcError(Code.UNKNOWN, f"forwarding {name}: no buildid found in context")
        return await self._kit.jobs.get(build_id, _WAIT, owner=call.peer.owner)

    async def _ping(self, call: ServerStream) -> Message:
        await self._job(call)
        gateway, low_level = worker.capabilities()
        return _proto("PongResponse")(
            FrontendAPICaps=gateway, LLBCaps=low_level, Workers=[self._kit.worker(short=True)]
        )

    async def _solve(self, call: ServerStream) -> Message:
        job = await self._job(call)
        request = await call.request()
        if len(job.tasks) >= MAX_SOLVES:
            raise GrpcError(Code.RESOURCE_EXHAUSTED, f"more than {MAX_SOLVES} solves of one build")
        solving = asyncio.ensure_future(self._kept(job, request))
        job.tasks.add(solving)
        solved = await _begun(job, solving, request)
        ids = job.name(solved.results)
        refs = {key: self._ref(job, ref_id) for key, ref_id in ids.items()}
        result = _proto("Result")(metadata=solved.metadata)
        if solved.several:
            result.refs = _proto("RefMap")(refs=refs)
        else:
            result.ref = refs.get("") or _proto("Ref")()
        answer = _proto("SolveResponse")(result=result)
        if not request.allowResultReturn:
            answer.ref = ids.get("", "")
        return answer

    async def _kept(self, job: Job, request: Message) -> Solved:
        return job.keep(await self._solved(job, request))

    async def _solved(self, job: Job, request: Message) -> Solved:
        if request.Frontend == "dockerfile.v0":
            given = {"cache-imports": _imports(request)} if request.CacheImports else {}
            attributes = {**given, **request.FrontendOpt}
            return await Frontend(self._kit, job, attributes, request.FrontendInputs).solve()
        if request.Frontend:
            raise errors.not_supported(f"the frontend {request.Frontend}")
        if request.Definition is None or not getattr(request.Definition, "def"):
            return Solved(results={"": Reference()})
        return await source_of(self._kit, job, request.Definition)

    @staticmethod
    def _ref(job: Job, ref_id: str) -> Message:
        return _proto("Ref")(id=ref_id, **{"def": definitions.of_result(job.ref, ref_id)})

    async def _return(self, call: ServerStream) -> Message:
        job = await self._job(call)
        request = await call.request()
        if job.returned is None or job.returned.done():
            raise GrpcError(Code.UNKNOWN, "gateway result is already set")
        if request.error is not None and request.error.code:
            job.returned.set_exception(errors.of_return(request.error))
        else:
            job.returned.set_result(_returned(job, request.result or _proto("Result")()))
        return _proto("ReturnResponse")()

    async def _inputs(self, call: ServerStream) -> Message:
        job = await self._job(call)
        return _proto("InputsResponse")(Definitions=dict(job.request.FrontendInputs))

    async def _warn(self, call: ServerStream) -> Message:
        job = await self._job(call)
        request = await call.request()
        lines = [(one.start.line, one.end.line) for one in request.ranges if one.start and one.end]
        detail = [text.decode("utf-8", "replace") for text in request.detail]
        short = request.short.decode("utf-8", "replace")
        job.status.warn(request.digest, short, detail, request.url, lines, request.level, request.info)
        return _proto("WarnResponse")()

    async def _evaluate(self, call: ServerStream) -> Message:
        job = await self._job(call)
        await job.reference((await call.request()).Ref).ready()
        return _proto("EvaluateResponse")()

    async def _readfile(self, call: ServerStream) -> Message:
        job = await self._job(call)
        request = await call.request()
        reference = await job.reference(request.Ref).ready()
        data = await results.read_file(reference, request.FilePath)
        if (part := request.Range) is not None:
            data = data[part.Offset : part.Offset + part.Length if part.Length else None]
        return _proto("ReadFileResponse")(Data=data)

    async def _resolveimageconfig(self, call: ServerStream) -> Message:
        job = await self._job(call)
        request = await call.request()
        try:
            found = await images.resolve(self._kit, job, request.Ref, request.Platform, request.ResolveMode)
        except Exception as error:
            raise errors.of_build(error) from error
        return _proto("ResolveImageConfigResponse")(
            Digest=found.digest, Config=json.dumps(dict(found.document)).encode(), Ref=request.Ref
        )

    async def _resolvesourcemeta(self, call: ServerStream) -> Message:
        job = await self._job(call)
        request = await call.request()
        if request.Source is None:
            raise GrpcError(Code.INVALID_ARGUMENT, "source is required")
        answer = _proto("ResolveSourceMetaResponse")(Source=request.Source)
        scheme, _, reference = request.Source.identifier.partition("://")
        if scheme == "docker-image":
            try:
                found = await images.resolve(self._kit, job, reference, request.Platform, request.ResolveMode)
            except Exception as error:
                raise errors.of_build(error) from error
            config = json.dumps(dict(found.document)).encode()
            answer.Image = _proto("ResolveSourceImageResponse")(Digest=found.digest, Config=config)
        return answer

    async def _newcontainer(self, call: ServerStream) -> Message:
        await self._job(call)
        raise errors.not_supported("a container in a build (gateway.exec)")


async def _begun(job: Job, solving: "asyncio.Future[Solved]", request: Message) -> Solved:
    """What the Solve came to, or, as in BuildKit, what it is going to: all is known, its steps have begun.

    What goes wrong from then on is Control/Solve's to tell. Raises GrpcError.
    """
    stepping: asyncio.Future[Any] = asyncio.ensure_future(job.status.stepping.wait())
    either: list[asyncio.Future[Any]] = [solving, stepping]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        solving.cancel()
        raise
    finally:
        stepping.cancel()
    if solving.done() or request.Frontend != "dockerfile.v0" or request.Evaluate:
        return await solving
    wanted = options.parse(request.FrontendOpt)
    keys = [str(one) for one in wanted.platforms] if wanted.several_platforms else [""]
    results = {key: Reference(pending=solving, key=key) for key in keys}
    return Solved(results=results, several=wanted.several_platforms)


async def source_of(kit: "BuildKit", job: Job, definition: Message) -> Solved:
    """What a low-level build that is but a source comes to. Raises GrpcError."""
    if (known := definitions.result(definition)) is not None:
        return Solved(results={"": await kit.result(job, *known)})
    files = Inputs(kit, job, FrontendOptions(), {})
    job.closers.append(files)
    try:
        return Solved(results={"": Reference(files=await definitions.files(files, definition))})
    except Exception as error:
        raise errors.of_build(error) from error


def _returned(job: Job, result: Message) -> Solved:
    """What a build function answers: the results that it names."""
    named: dict[str, str] = {}
    kind = result.which("result")
    if kind == "ref":
        named[""] = result.ref.id
    elif kind == "refDeprecated":
        named[""] = result.refDeprecated
    elif kind == "refs":
        named = {key: ref.id for key, ref in result.refs.refs.items()}
    elif kind == "refsDeprecated":
        named = dict(result.refsDeprecated.refs)
    references = {key: job.reference(ref_id) for key, ref_id in named.items() if ref_id}
    several = kind in ("refs", "refsDeprecated")
    return Solved(metadata=dict(result.metadata), results=references, several=several)


def _imports(request: Message) -> str:
    return json.dumps([{"Type": one.Type, "Attrs": dict(one.Attrs)} for one in request.CacheImports])
