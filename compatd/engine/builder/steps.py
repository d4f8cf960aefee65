"""What each kind of step does: its key, and its work on a snapshot. The executor decides whether it is
done.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from compatd.engine.builder import cachekeys, copying, history, running
from compatd.engine.builder.classic.refusals import BUILDKIT
from compatd.engine.builder.context import Context
from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.request import CLASSIC, BuildRequest
from compatd.engine.builder.snapshots import LayerTree, Snapshot
from compatd.engine.builder.state import Step, proxy_environment
from compatd.engine.errors import EngineError
from runtime.client.types import WorkerError

if TYPE_CHECKING:
    from compatd.engine.builder.service import Builder

Json = dict[str, Any]
Place = Context | LayerTree
"""Where files come from."""

Output = Callable[[int, bytes], Awaitable[None]]
_KEYED = ("Ulimits", "CgroupParent", "ShmSize")
_STANDARD = "default"
WORKDIR = "runtime.storage.workdir:run"


class Action(Protocol):
    """One step, ready to be done."""

    @property
    def description(self) -> str:
        """How the cache's record calls it."""

    async def key(self, parent: str) -> str:
        """Its cache key on top of that of what it stands on. Raises BuildError."""

    async def do(self, snapshot: Snapshot, output: Output) -> None:
        """Do it. Raises BuildError."""

    def created_by(self) -> str:
        """What the history says of it; after `key`."""

    async def close(self) -> None:
        """Remove what it has brought here."""


def make(
    builder: "Builder",
    request: BuildRequest,
    step: Step,
    places: Sequence[Place | None],
    users: Sequence[str],
    copy: copying.Copy | None = None,
) -> Action:
    """The action of a step with a layer. `places`: one for each of its sources; `users`: what it stands on;
    `copy`: of a COPY or ADD, if it was looked at before.
    """
    if step.kind == "run":
        if request.door == CLASSIC:
            _check_flags(step.instruction)
        return RunAction(builder, request, step, places)
    if step.kind == "workdir":
        return _Workdir(builder, request, step)
    if copy is None:
        copy = copying.Copy(step, places[0] if places else None, classic=request.door == CLASSIC)
    copy.users = users
    return _Transfer(builder, request, step, copy)


def _check_flags(one: Any) -> None:
    """The classic builder has none, nor the grants that some of them need: also not in ONBUILD's triggers.

    Raises BuildError.
    """
    given = {
        "mount": one.mounts or one.mount_flags,
        "network": one.network != _STANDARD,
        "security": one.security != "sandbox",
        "device": one.devices,
    }
    for name, used in given.items():
        if used:
            raise BuildError(BUILDKIT.format(name))


@dataclass(slots=True)
class RunAction:
    builder: "Builder"
    request: BuildRequest
    step: Step
    places: Sequence[Place | None]
    id: str = ""

    @property
    def description(self) -> str:
        return f"mount / from exec {' '.join(self.step.args)}"

    @property
    def _network(self) -> str:
        one: Any = self.step.instruction
        return self.request.network if one.network == _STANDARD else str(one.network)

    def _mounts(self) -> list[running.ResolvedMount]:
        one: Any = self.step.instruction
        trees = [place.tree if isinstance(place, Context) else place for place in self.places]
        namespace = self.request.options.build_args.get("BUILDKIT_CACHE_MOUNT_NS", "")
        return running.resolve(one.mounts, self._cwd, trees, namespace)

    @property
    def _cwd(self) -> str:
        return self.step.before.config.get("WorkingDir") or "/"

    async def key(self, parent: str) -> str:
        request = self.request
        one: Any = self.step.instruction
        content = {}
        for mount, place in zip(one.mounts, self.places, strict=False):
            if place is not None and mount.type == "bind":
                content[mount] = await self._content(mount, place)
            elif isinstance(place, LayerTree) and mount.source_stage:
                content[mount] = place.chain_ids[-1] if place.chain_ids else ""
        mounts = [(found, content.get(found.mount, "")) for found in self._mounts()]
        surroundings: Json = {}
        if request.door != CLASSIC:
            surroundings = {name: request.resources[name] for name in _KEYED if request.resources.get(name)}
            surroundings |= {"hosts": list(request.extra_hosts), "hostname": request.hostname}
        return cachekeys.run_key(parent, self.step, mounts, self._network, surroundings)

    async def _content(self, mount: i.Mount, place: Place) -> str:
        """What a mount shows is what a COPY of it would take."""
        source = mount.source or "/"
        one = i.Copy(keyword="COPY", original="", lines=self.step.instruction.lines, sources=(source,),
                     destination="/")  # fmt: skip
        step = replace(self.step, instruction=one, kind="copy", destination="/")
        return (await copying.key(self.builder, copying.Copy(step, place))).digest

    async def do(self, snapshot: Snapshot, output: Output) -> None:
        request, one = self.request, self.step.instruction
        assert isinstance(one, i.Run)
        classic, before = request.door == CLASSIC, self.step.before
        proxies = proxy_environment(request.options.build_args, classic=classic)
        run = running.Run(
            snapshot=snapshot,
            args=self.step.args,
            environment=[*self.step.environment, *proxies],
            cwd=self._cwd,
            user=before.config.get("User") or "",
            script=self.step.script,
            network=self._network,
            security=one.security,
            mounts=self._mounts(),
            hostname=request.hostname,
            extra_hosts=request.extra_hosts,
            resources=request.resources,
            secrets=request.secrets,
            ssh=request.ssh,
            entitlements=request.entitlements,
            classic=classic,
            volumes=tuple(before.config.get("Volumes") or ()) if classic else (),
        )
        if self.id:
            run.id = self.id
        await running.run(self.builder.engine, run, output)

    def created_by(self) -> str:
        return self.step.classic_created_by if self.request.door == CLASSIC else self.step.created_by

    async def close(self) -> None:
        """Nothing is left."""


@dataclass(slots=True)
class _Transfer:
    builder: "Builder"
    request: BuildRequest
    step: Step
    copy: copying.Copy
    hash: str = ""

    @property
    def description(self) -> str:
        return self.step.title

    async def key(self, parent: str) -> str:
        request = self.request
        await copying.fetch(self.builder, self.copy, secrets=request.secrets, ssh=request.ssh)
        found = await copying.key(self.builder, self.copy)
        self.hash = found.hash
        return cachekeys.transfer_key(parent, self.step, found.digest)

    async def do(self, snapshot: Snapshot, output: Output) -> None:
        await copying.copy(self.builder, self.copy, snapshot)

    def created_by(self) -> str:
        if self.request.door != CLASSIC:
            return self.step.created_by
        shell = self.step.before.config.get("Shell") or ["/bin/sh", "-c"]
        return history.classic_text(self.step.instruction, None, shell, self.hash)

    async def close(self) -> None:
        await self.copy.close()


@dataclass(slots=True)
class _Workdir:
    builder: "Builder"
    request: BuildRequest
    step: Step

    @property
    def description(self) -> str:
        return self.step.title

    async def key(self, parent: str) -> str:
        return cachekeys.workdir_key(parent, self.step)

    async def do(self, snapshot: Snapshot, output: Output) -> None:
        engine = self.builder.engine
        mount = engine.storage.prepare_layer()
        view = self.builder.snapshots.view(snapshot)
        user = self.step.before.config.get("User") or ""
        arguments = {"overlay": view, "mount": str(mount / "diff"), "path": self.step.destination}
        if user and self.request.door != CLASSIC:
            arguments["user"] = user
        try:
            answer = await engine.runtime.worker(WORKDIR, arguments)
        except WorkerError as error:
            raise EngineError(str(error)) from error
        finally:
            engine.storage.discard(mount)
        if answer.get("error"):
            raise BuildError(answer["error"])

    def created_by(self) -> str:
        return self.step.classic_created_by if self.request.door == CLASSIC else self.step.created_by

    async def close(self) -> None:
        """Nothing is left."""
