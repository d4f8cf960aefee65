"""`BuildKit`: what its clients reach, on the connections of `Door`; `engine.buildkit`."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from compatd.engine.builder.buildkit import outputs, worker
from compatd.engine.builder.buildkit.bridge import Bridge
from compatd.engine.builder.buildkit.control import Control
from compatd.engine.builder.buildkit.door import Door
from compatd.engine.builder.buildkit.jobs import Job, Jobs, Reference
from compatd.engine.builder.buildkit.lent import SessionAuth
from compatd.engine.builder.buildkit.limits import Peer
from compatd.engine.builder.buildkit.posted import Posted
from compatd.engine.builder.buildkit.solving import Solving
from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError
from compatd.engine.builder.exporting import contexts
from compatd.engine.builder.exporting.client import SessionClient
from compatd.engine.builder.exporting.task import Task
from compatd.engine.builder.request import NamedContext
from compatd.engine.builder.running.files import host_gateways
from compatd.engine.errors import EngineError

if TYPE_CHECKING:
    from compatd.engine.builder.service import Builder
    from compatd.engine.engine import Engine

_GATEWAY = "org.mobyproject.buildkit.worker.moby.host-gateway-ip"
_SNAPSHOTTER = "org.mobyproject.buildkit.worker.snapshotter"


class BuildKit(Door):
    """The services, and the builds that are asked for through them."""

    def __init__(self, engine: "Engine") -> None:
        super().__init__()
        self.engine = engine
        self.jobs = Jobs()
        self.posted = Posted(self)
        self.add(Control(self).handlers())
        self.add(Bridge(self).handlers())

    @property
    def builder(self) -> "Builder":
        """The executor."""
        return self.engine.builder

    async def solve(self, job: Job) -> Mapping[str, str]:
        """Run a Control/Solve to its end: what the exporters answer. Cancelled: it ends. Raises GrpcError."""
        return await Solving(self, job).run()

    async def solve_request(self, request: Message, peer: Peer) -> Mapping[str, str]:
        """The same, of a moby.buildkit.v1.SolveRequest."""
        return await self.solve(Job(request.Ref, request, peer))

    def worker(self, *, short: bool = False) -> Message:
        """The one worker there is; `short` as in Ping."""
        labels = {_GATEWAY: self.host_gateway}
        if outputs.ARCHIVES:
            # Clients take it for the sign that archives, several platforms and cache exports are possible.
            labels[_SNAPSHOTTER] = self.engine.storage.name
        more = {} if short else {"BuildkitVersion": worker.version()}
        return worker.record(self.engine.system.id, labels, **more)

    @property
    def host_gateway(self) -> str:
        """The host's address, as `--add-host x:host-gateway` means it."""
        return next(iter(host_gateways(self.engine)), "")

    def image_context(self, job: Job, name: str, kind: str, reference: str) -> NamedContext:
        """A named context that is an image (`docker-image`), or a layout at the client (`oci-layout`)."""
        task = Task(observer=job.status, auth=SessionAuth(self.sessions.of(job.peer.owner), job.session_id))
        if kind == "docker-image":
            pull = job.attributes.get("image-resolve-mode") == "pull"
            return contexts.ImageContext(self.engine, task, name, reference, pull=pull)
        return contexts.LayoutContext(self.engine, task, name, reference, partial(self.client, job))

    async def result(self, job: Job, job_ref: str, ref_id: str) -> Reference:
        """What another job (or an earlier one) of the same client has built, with all its layers.

        Raises GrpcError.
        """
        owner = await self.jobs.known(job_ref, owner=job.peer.owner)
        found = await owner.reference(ref_id).ready()
        layers = self.engine.images.index.layers
        if found.built is not None and not all(one in layers for one in found.built.chain_ids):
            raise GrpcError(Code.NOT_FOUND, f"no such ref: {ref_id}")
        return Reference(built=found.built, files=found.files)

    async def client(self, job: Job) -> SessionClient:
        """The client's session, as exports and imports use it. Raises EngineError."""
        if not job.session_id:
            raise EngineError("the build has no session")
        return SessionClient(await self.sessions.of(job.peer.owner).get(job.session_id))
