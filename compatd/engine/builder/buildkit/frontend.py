"""`dockerfile.v0`: from a client's options to a build.

Source: moby/buildkit frontend/dockerfile/builder, frontend/dockerui.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compatd.engine.builder import graph
from compatd.engine.builder.buildkit import errors, inputs, options, outputs, subrequests
from compatd.engine.builder.buildkit.jobs import Job, Reference, Solved
from compatd.engine.builder.buildkit.lent import SessionAuth, SessionSecrets, SessionSsh
from compatd.engine.builder.buildkit.options import FrontendOptions
from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.builder.buildkit.wire.status import GrpcError
from compatd.engine.builder.dockerfile import directives
from compatd.engine.builder.exporting import cacheimport, provenance
from compatd.engine.builder.exporting.task import CacheEntry
from compatd.engine.builder.request import BuildRequest, BuildResult, CacheSource, PlatformResult
from compatd.engine.errors import EngineError
from compatd.engine.images.platform import Platform

if TYPE_CHECKING:
    from compatd.engine.builder.buildkit.service import BuildKit

_CAPABILITIES = frozenset(f"moby.buildkit.frontend.{name}" for name in ("inputs", "subrequests", "contexts"))
_OURS = re.compile(r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?::[^@]*)?(?:@.*)?")


@dataclass(slots=True)
class Frontend:
    """One Solve of it. `given`: the client's options; `definitions`: FrontendInputs."""

    kit: "BuildKit"
    job: Job
    given: Mapping[str, str]
    definitions: Mapping[str, Message]

    async def solve(self) -> Solved:
        """Build, or answer what was asked instead. Raises GrpcError."""
        source: Message | None = None
        self.job.attributes = dict(self.given)
        try:
            wanted = options.parse(self.given)
            forward = _check_capabilities(wanted)
            provenance.wanted(wanted.attestations)
            async with inputs.Inputs(self.kit, self.job, wanted, self.definitions) as files:
                dockerfile = await files.dockerfile()
                source = self.job.status.source = errors.source_info(files.filename, dockerfile)
                _check_syntax(wanted, dockerfile)
                if forward is not None:
                    raise forward
                return await self._build(wanted, dockerfile, files)
        except Exception as error:
            raise errors.of_build(error, source) from error

    async def _build(self, wanted: FrontendOptions, dockerfile: bytes, files: "inputs.Inputs") -> Solved:
        sessions, session_id = self.kit.sessions.of(self.job.peer.owner), self.job.session_id
        caches, goes_to = await self._caches(wanted, dockerfile), outputs.caches(self.job.request)
        proven = provenance.wanted(wanted.attestations)
        whole = bool(wanted.no_cache or (proven and proven.full) or any(one.whole for one in goes_to))
        ssh = SessionSsh(sessions, session_id)
        request = BuildRequest(
            dockerfile=dockerfile,
            name=files.filename,
            options=graph.Options(
                target=wanted.target,
                build_args=wanted.build_args,
                platform=wanted.platforms[0] if len(wanted.platforms) == 1 else None,
                contexts=list(files.named),
                labels=wanted.labels,
                several_platforms=len(wanted.platforms) > 1,
            ),
            platforms=wanted.platforms,
            context=files,
            ignore=files.matcher,
            named=files.named,
            pull=wanted.pull,
            no_cache=wanted.no_cache,
            network=wanted.network,
            entitlements=frozenset(self.job.request.Entitlements),
            resources=dict(wanted.resources),
            extra_hosts=wanted.extra_hosts,
            hostname=wanted.hostname,
            secrets=SessionSecrets(sessions, session_id),
            ssh=ssh,
            auth=SessionAuth(sessions, session_id),
            cache_from=caches,
            definitions=bool(caches or goes_to),
            skip=bool(caches) and not whole,
            source_date_epoch=wanted.source_date_epoch,
            limits=self.job.peer,
            check_only=wanted.request == subrequests.LINT,
        )
        if wanted.request:
            return await subrequests.answer(self.kit.builder, request, wanted.request, wanted)
        try:
            built = await self.kit.builder.build(request, self.job.status)
        finally:
            await ssh.close()
        return _solved(built, wanted, dockerfile)

    async def _caches(self, wanted: FrontendOptions, dockerfile: bytes) -> Sequence[CacheSource]:
        entries = [CacheEntry(one["Type"], one["Attrs"]) for one in wanted.cache_from]
        if not entries:
            return ()
        task = await outputs.task_for(self.kit, self.job, wanted, dockerfile)
        return cacheimport.sources(self.kit.engine, entries, task)


def _check_capabilities(wanted: FrontendOptions) -> GrpcError | None:
    """What the client insists on and is not here; an error to be raised later where it may be forwarded."""
    late: GrpcError | None = None
    for capability in wanted.capabilities:
        name, plus, extra = capability.partition("+")
        if name not in _CAPABILITIES:
            late = errors.no_capability(name)
            if not plus or "forward" not in extra:
                raise late
    return late


def _check_syntax(wanted: FrontendOptions, dockerfile: bytes) -> None:
    """Docker's own frontends are this one. Raises GrpcError for all others."""
    asked, where = wanted.syntax.strip().partition(" ")[0], "BUILDKIT_SYNTAX"
    if not asked:
        found = directives.detect_syntax(dockerfile.decode("utf-8", "surrogateescape"))
        if found is None:
            return
        asked, where = found.word, "# syntax"
    if not _OURS.fullmatch(asked):
        raise EngineError(
            f"the frontend {asked} ({where}) is not supported: only docker/dockerfile is, and it is built in"
        )


def _solved(built: BuildResult, wanted: FrontendOptions, dockerfile: bytes) -> Solved:
    solved = Solved(build=built, several=wanted.several_platforms, dockerfile=dockerfile, wanted=wanted)
    listed = []
    for result in built.results:
        key = str(result.platform)
        suffix = f"/{key}" if solved.several else ""
        solved.metadata[f"containerimage.config{suffix}"] = _shown_config(result)
        if result.bases:
            solved.metadata[f"containerimage.base.config{suffix}"] = _json(dict(result.bases[-1].document))
        solved.results[key if solved.several else ""] = Reference(built=result)
        listed.append({"ID": key, "Platform": _platform(result.platform)})
    solved.metadata["refs.platforms"] = _json({"Platforms": listed})
    return solved


def _shown_config(result: PlatformResult) -> bytes:
    """The config as a frontend gives it: what is in the layers is the exporter's business."""
    document = json.loads(result.config)
    document.get("rootfs", {}).pop("diff_ids", None)
    return _json(document)


def _platform(platform: Platform) -> dict[str, str]:
    found = {"architecture": platform.architecture, "os": platform.os}
    return found | ({"variant": platform.variant} if platform.variant else {})


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")
