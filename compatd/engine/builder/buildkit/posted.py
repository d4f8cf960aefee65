"""Builds by `POST /build?version=2`, as command lines without buildx ask for them.

Source: moby/moby builder/builder-next/builder.go. Such a client has a session, and hears StatusResponses
in the stream; a context that it has as a tar comes by a request of its own (`upload-request:<build ID>`).
"""

import asyncio
import base64
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.buildkit.inputs import BODY
from compatd.engine.builder.buildkit.jobs import Job
from compatd.engine.builder.buildkit.limits import Peer
from compatd.engine.builder.buildkit.options import truth
from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.status import GrpcError
from compatd.engine.builder.classic.build import Options
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.images import platform as platforms
from compatd.engine.images import reference

if TYPE_CHECKING:
    from compatd.engine.builder.buildkit.service import BuildKit

Json = dict[str, Any]
Write = Callable[[Json], Awaitable[None]]
Body = Callable[[], AsyncIterator[bytes]]

_Key = tuple[str, str]
UPLOAD = "upload-request"
_WAIT = 5.0  # seconds for an upload and its build to find each other
_MOBY, _IMAGE = "moby", "image"


@dataclass(slots=True)
class Request:
    """What a client posts. `outputs`: {"Type", "Attrs"}; `session`: the ID of its session."""

    options: Options
    body: Body
    peer: Peer = field(default_factory=Peer)
    session: str = ""
    outputs: Sequence[Json] = ()


class Posted:
    """Those that are under way, by whose they are and the IDs that clients give them."""

    def __init__(self, kit: "BuildKit") -> None:
        self._kit = kit
        self._running: dict[_Key, asyncio.Task[Mapping[str, str]]] = {}
        self._uploads: dict[_Key, asyncio.Future[tuple[Body, asyncio.Event]]] = {}

    def cancel(self, build_id: str, owner: str | None = None) -> bool:
        """End the builds of that ID, of an owner or (None) anybody's; whether there was one."""
        found = [
            task for (whose, one), task in self._running.items() if one == build_id and owner in (None, whose)
        ]
        cancelled = [task.cancel() for task in found]
        return any(cancelled)

    async def build(self, request: Request, write: Write) -> None:
        """Build, telling all by `write`. Raises EngineError."""
        build_id = request.options.build_id
        if build_id.startswith(f"{UPLOAD}:"):
            key = request.peer.identity, build_id.removeprefix(f"{UPLOAD}:")
            await self._upload(key, request.body)
            return
        async with self._body(request) as body:
            solve = _solve_request(self._kit, request)
            job = Job(solve.Ref, solve, request.peer, body=body)
            await self._run(job, request, write)

    async def _run(self, job: Job, request: Request, write: Write) -> None:
        build_id = request.options.build_id
        key = request.peer.identity, build_id
        solving = asyncio.ensure_future(self._kit.solve(job))
        if build_id:
            self._running[key] = solving
        try:
            if not request.options.quiet:
                await self._tell(job, solving, write)
            response = await self._outcome(solving)
        finally:
            solving.cancel()
            await asyncio.gather(solving, return_exceptions=True)
            if self._running.get(key) is solving:
                del self._running[key]
        kind = job.request.Exporters[0].Type if job.request.Exporters else ""
        if kind in (_MOBY, _IMAGE):
            image = response.get("containerimage.digest", "")
            if request.options.quiet:
                await write({"stream": f"{image}\n"})
            else:
                await write({"id": "moby.image.id", "aux": {"ID": image}})

    @staticmethod
    async def _outcome(solving: "asyncio.Task[Mapping[str, str]]") -> Mapping[str, str]:
        await asyncio.wait([solving])
        if solving.cancelled():
            raise EngineError("context canceled")
        try:
            return solving.result()
        except GrpcError as error:
            raise EngineError(error.message) from error

    @staticmethod
    async def _tell(job: Job, solving: "asyncio.Task[Any]", write: Write) -> None:
        solving.add_done_callback(lambda _: job.status.end())  # also when it has not even begun
        async for response in job.status.follow():
            trace = base64.b64encode(response.encode()).decode()
            await write({"id": "moby.buildkit.trace", "aux": trace})

    # contexts as tars

    def _slot(self, key: _Key) -> "asyncio.Future[tuple[Body, asyncio.Event]]":
        slot = self._uploads.get(key)
        if slot is None:
            slot = self._uploads[key] = asyncio.get_running_loop().create_future()
        return slot

    async def _upload(self, key: _Key, body: Body) -> None:
        """Lend a request's body to the build of the same owner that waits for it, until it has read it."""
        slot, done = self._slot(key), asyncio.Event()
        if slot.done():
            raise EngineError("context deadline exceeded")
        slot.set_result((body, done))
        try:
            await done.wait()
        finally:
            self._uploads.pop(key, None)

    @contextlib.asynccontextmanager
    async def _body(self, request: Request) -> AsyncIterator[Body | None]:
        options = request.options
        if options.remote != UPLOAD:
            yield request.body if not options.remote else None
            return
        key = request.peer.identity, options.build_id
        slot = self._slot(key)
        try:
            async with asyncio.timeout(_WAIT):
                body, done = await asyncio.shield(slot)
        except TimeoutError:
            raise EngineError("context deadline exceeded") from None
        finally:
            self._uploads.pop(key, None)
        try:
            yield body
        finally:
            done.set()


def _solve_request(kit: "BuildKit", request: Request) -> Message:
    """The Control/Solve that it comes to. Raises EngineError."""
    options = request.options
    if len(request.outputs) > 1:
        raise EngineError("multiple outputs not supported")
    make = proto("moby.buildkit.v1.Exporter")
    kind, attributes = _MOBY, dict[str, str]()
    if request.outputs:
        kind = str(request.outputs[0].get("Type") or "")
        given = request.outputs[0].get("Attrs") or {}
        attributes = {str(name): str(value) for name, value in given.items()}
    if kind in (_MOBY, _IMAGE) and options.tags:
        attributes["name"] = ",".join(_names(options.tags))
    exporters = [] if kind in ("", "cacheonly") else [make(Type=kind, Attrs=attributes)]
    return proto("moby.buildkit.v1.SolveRequest")(
        Ref=secrets.token_hex(13)[:25],
        Session=request.session,
        Frontend="dockerfile.v0",
        FrontendAttrs=_attributes(kit, options),
        Exporters=exporters,
        Entitlements=["network.host"] if options.network == "host" else [],
        Cache=_cache(options),
    )


def _attributes(kit: "BuildKit", options: Options) -> dict[str, str]:
    found = {"image-resolve-mode": "pull" if options.pull else "default", "add-hosts": _hosts(kit, options)}
    if options.target:
        found["target"] = options.target
    if options.dockerfile not in ("", "."):
        found["filename"] = options.dockerfile
    if options.remote in ("", UPLOAD):
        found["context"] = BODY
    elif options.remote != "client-session":
        found["context"] = options.remote
    found["cache-from"] = ",".join(options.cache_from)
    for name, value in options.build_args.items():
        if value is not None:
            found[f"build-arg:{name}"] = value
    found |= {f"label:{name}": value for name, value in options.labels.items()}
    if options.no_cache:
        found["no-cache"] = ""
    if options.platform:
        platforms.parse(options.platform)
        found["platform"] = options.platform
    if options.network in ("host", "none"):
        found["force-network-mode"] = options.network
    elif options.network not in ("", "default"):
        raise EngineError(f"network mode {json.dumps(options.network)} not supported by buildkit")
    resources = options.resources
    if resources.get("ShmSize"):
        found["shm-size"] = str(resources["ShmSize"])
    if resources.get("Ulimits"):
        found["ulimit"] = ",".join(
            f"{one['Name']}={one['Soft']}:{one['Hard']}" for one in resources["Ulimits"]
        )
    return found


def _hosts(kit: "BuildKit", options: Options) -> str:
    found = []
    for text in options.extra_hosts:
        name, colon, address = text.partition(":")
        if not colon or not name or not address:
            raise EngineError(f"invalid host {text}")
        found.append(f"{name}={kit.host_gateway if address == 'host-gateway' else address}")
    return ",".join(found)


def _names(tags: Sequence[str]) -> list[str]:
    found = []
    for tag in tags:
        try:
            name = str(reference.parse(tag).tagged())
        except InvalidParameter as error:
            raise EngineError(error.message) from None
        if name not in found:
            found.append(name)
    return found


def _cache(options: Options) -> Message:
    inline = truth(options.build_args.get("BUILDKIT_INLINE_CACHE") or "")
    entry = proto("moby.buildkit.v1.CacheOptionsEntry")
    return proto("moby.buildkit.v1.CacheOptions")(Exports=[entry(Type="inline")] if inline else [])
