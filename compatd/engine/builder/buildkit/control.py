"""Control: builds, their progress, the cache and the history. Source: moby/buildkit control/control.go."""

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.buildkit import errors, worker
from compatd.engine.builder.buildkit.jobs import Job
from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.builder.buildkit.wire.messages import proto, timestamp
from compatd.engine.builder.buildkit.wire.server import Handler, ServerStream
from compatd.engine.builder.prune import Rule
from compatd.engine.errors import EngineError
from compatd.engine.timestamps import from_rfc3339

if TYPE_CHECKING:
    from compatd.engine.builder.buildkit.service import BuildKit

SERVICE = "/moby.buildkit.v1.Control/"
_STARTED, _COMPLETE, _DELETED = 0, 1, 2


def _proto(name: str) -> type[Message]:
    return proto(f"moby.buildkit.v1.{name}")


class Control:
    """The service."""

    def __init__(self, kit: "BuildKit") -> None:
        self._kit = kit

    def handlers(self) -> dict[str, Handler]:
        """Path → handler."""
        return {
            f"{SERVICE}{name}": handler
            for name, handler in {
                "ListWorkers": self._list_workers,
                "Info": self._info,
                "DiskUsage": self._disk_usage,
                "Prune": self._prune,
                "Solve": self._solve,
                "Status": self._status,
                "ListenBuildHistory": self._listen,
                "UpdateBuildHistory": self._update,
            }.items()
        }

    async def _list_workers(self, call: ServerStream) -> Message:
        return _proto("ListWorkersResponse")(record=[self._kit.worker()])

    async def _info(self, call: ServerStream) -> Message:
        return _proto("InfoResponse")(buildkitVersion=worker.version())

    async def _solve(self, call: ServerStream) -> Message:
        response = await self._kit.solve_request(await call.request(), call.peer)
        return _proto("SolveResponse")(ExporterResponse=dict(response))

    async def _status(self, call: ServerStream) -> None:
        request = await call.request()
        now = datetime.datetime.now(datetime.UTC)
        call.begin({"buildkit-current-timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")})
        job = await self._kit.jobs.known(request.Ref, owner=call.peer.owner)
        async for response in job.status.follow():
            await call.send(response)

    # the cache

    async def _disk_usage(self, call: ServerStream) -> Message:
        request = await call.request()
        try:
            records = self._kit.builder.disk_usage(tuple(request.filter), mutable=True)
        except EngineError as error:
            raise errors.of_build(error) from error
        return _proto("DiskUsageResponse")(record=[_usage(record) for record in records])

    async def _prune(self, call: ServerStream) -> None:
        request = await call.request()
        rule = Rule(
            request.all,
            tuple(request.filter),
            request.keepDuration,
            request.reservedSpace,
            request.maxUsedSpace,
            request.minFreeSpace,
        )
        before = {record["ID"]: record for record in self._kit.builder.disk_usage(mutable=True)}
        try:
            deleted, _ = self._kit.builder.prune(rule)
        except EngineError as error:
            raise errors.of_build(error) from error
        for record_id in deleted:
            await call.send(_usage(before[record_id]))

    # the history

    async def _listen(self, call: ServerStream) -> None:
        request = await call.request()
        owner, told = call.peer.owner, dict[str, tuple[bool, int]]()
        call.begin({"buildkit-current-timestamp": datetime.datetime.now(datetime.UTC).isoformat()})
        with self._kit.jobs.news() as news:
            while True:
                seen = set()
                for job in self._kit.jobs.all(active=request.ActiveOnly):
                    if (request.Ref and job.ref != request.Ref) or owner not in (None, job.owner):
                        continue
                    if job.request.Internal:
                        continue
                    seen.add(job.ref)
                    state = (bool(job.completed), job.generation)
                    if told.get(job.ref) != state:
                        told[job.ref] = state
                        kind = _COMPLETE if job.completed else _STARTED
                        await call.send(_proto("BuildHistoryEvent")(type=kind, record=_history(job)))
                for ref in [ref for ref in told if ref not in seen]:
                    del told[ref]
                    gone = _proto("BuildHistoryRecord")(Ref=ref)
                    await call.send(_proto("BuildHistoryEvent")(type=_DELETED, record=gone))
                if request.EarlyExit:
                    return
                await news.wait()
                news.clear()

    async def _update(self, call: ServerStream) -> Message:
        request = await call.request()
        await self._kit.jobs.known(request.Ref, owner=call.peer.owner)
        self._kit.jobs.update(request.Ref, pinned=request.Pinned, delete=request.Delete)
        return _proto("UpdateBuildHistoryResponse")()


def _history(job: Job) -> Message:
    request = job.request
    total, completed, cached, warnings = job.status.counts
    made = _proto("BuildHistoryRecord")(
        Ref=job.ref,
        Frontend=request.Frontend,
        FrontendAttrs=dict(job.attributes),
        Exporters=list(request.Exporters),
        CreatedAt=timestamp(job.created),
        ExporterResponse=dict(job.response),
        Generation=job.generation,
        pinned=job.pinned,
        numCachedSteps=cached,
        numTotalSteps=total,
        numCompletedSteps=completed,
        numWarnings=warnings,
    )
    if job.completed:
        made.CompletedAt = timestamp(job.completed)
    if job.error is not None:
        made.error = errors.to_status(job.error)
    return made


def _usage(record: Mapping[str, Any]) -> Message:
    """A record of the cache (API: BuildCache) as UsageRecord."""
    made = _proto("UsageRecord")(
        ID=record["ID"],
        Mutable=bool(record.get("Mutable")),
        InUse=bool(record.get("InUse")),
        Size=int(record.get("Size") or 0),
        CreatedAt=timestamp(from_rfc3339(record["CreatedAt"])),
        UsageCount=int(record.get("UsageCount") or 0),
        Description=record.get("Description") or "",
        RecordType=record.get("Type") or "regular",
        Shared=bool(record.get("Shared")),
        Parents=list(record.get("Parents") or ()),
    )
    if record.get("LastUsedAt"):
        made.LastUsedAt = timestamp(from_rfc3339(record["LastUsedAt"]))
    return made
