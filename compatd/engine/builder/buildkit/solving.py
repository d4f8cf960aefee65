"""One Control/Solve from its request to what the exporters answer.

Source: moby/buildkit control/control.go, solver/llbsolver/solver.go.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from compatd.engine.builder.buildkit import errors, outputs
from compatd.engine.builder.buildkit.bridge import source_of
from compatd.engine.builder.buildkit.frontend import Frontend
from compatd.engine.builder.buildkit.jobs import Job, Solved
from compatd.engine.builder.request import INSECURE, NETWORK_HOST
from compatd.engine.errors import EngineError

if TYPE_CHECKING:
    from compatd.engine.builder.buildkit.service import BuildKit


class Solving:
    """A job on its way."""

    def __init__(self, kit: "BuildKit", job: Job) -> None:
        self._kit, self._job = kit, job

    async def run(self) -> Mapping[str, str]:
        """ExporterResponse. Raises GrpcError; cancelled: everything of it ends."""
        kit, job = self._kit, self._job
        try:
            wanted = outputs.wanted(job.request)
            _check_entitlements(kit.engine.config.builder, job.request.Entitlements)
        except EngineError as error:
            raise errors.of_build(error) from None
        kit.jobs.add(job)
        try:
            solved = await self._solved()
            job.response = await outputs.export(kit, job, solved, wanted)
            return job.response
        except asyncio.CancelledError:
            job.error = errors.canceled()
            raise
        except Exception as error:
            job.error = errors.of_build(error)
            raise job.error from error
        finally:
            await asyncio.shield(kit.jobs.end(job))

    async def _solved(self) -> Solved:
        kit, job = self._kit, self._job
        request = job.request
        if request.Frontend == "dockerfile.v0":
            solved = await Frontend(kit, job, request.FrontendAttrs, request.FrontendInputs).solve()
        elif request.Frontend:
            raise errors.not_supported(f"the frontend {request.Frontend}")
        elif request.Definition is not None and getattr(request.Definition, "def"):
            solved = await source_of(kit, job, request.Definition)
        else:
            return await job.wait_for_return()
        return job.keep(solved)


def _check_entitlements(builder: Mapping[str, object], asked: Sequence[str]) -> None:
    """Raises EngineError for those that the daemon's configuration does not grant."""
    entitlements = builder.get("Entitlements") or builder.get("entitlements") or {}
    granted = {NETWORK_HOST: True, INSECURE: False}
    if isinstance(entitlements, Mapping):
        for name, value in entitlements.items():
            if value is not None:
                granted[_ENTITLEMENTS.get(str(name).lower(), "")] = bool(value)
    for name in asked:
        if name not in (NETWORK_HOST, INSECURE):
            raise EngineError(f"unknown entitlement {name}")
        if not granted[name]:
            raise EngineError(f"granting entitlement {name} is not allowed by build daemon configuration")


_ENTITLEMENTS = {"network-host": NETWORK_HOST, "security-insecure": INSECURE}
