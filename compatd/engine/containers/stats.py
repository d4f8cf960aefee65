"""`GET /containers/{id}/stats`: samples of running containers, one a second for all clients."""

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.engine.containers import statshape
from compatd.engine.containers.model import Container
from compatd.engine.errors import EngineError
from runtime.client.sampling import Sampler

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]
logger = logging.getLogger(__name__)

INTERVAL = 1.0
_TOGETHER = 0.05
"""Seconds (parts of an interval) by which a sample may come early, to be taken with others."""
_ETHERNET = re.compile(r"eth\d+\Z")
_INTERFACE_OPTION = "com.docker.network.endpoint.ifname"


class Subscription:
    """One client's samples of one container; a client that lags behind gets the newest only."""

    def __init__(self, first: Json | None = None) -> None:
        self._waiting = first
        self._ended = False
        self._changed = asyncio.Event()

    def publish(self, sample: Json | None) -> None:
        """Hand over a sample, or None for the end: the container is removed."""
        if sample is None:
            self._ended = True
        else:
            self._waiting = sample
        self._changed.set()

    async def next(self) -> Json | None:
        """The next sample, None when there will be no more."""
        while self._waiting is None:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        sample, self._waiting = self._waiting, None
        return sample


class Stats:
    """Samples the containers that somebody asks about. `sampler` and `interval` can be replaced in tests."""

    def __init__(
        self,
        containers: "Containers",
        *,
        sampler: Callable[[Path, int], Callable[[], Json]] = Sampler,
        interval: float = INTERVAL,
    ) -> None:
        self._containers, self._make, self._interval = containers, sampler, interval
        self._subscriptions: dict[Container, set[Subscription]] = {}
        self._due: dict[Container, float] = {}
        self._latest: dict[Container, Json] = {}
        self._new = asyncio.Event()
        self._samplers: dict[str, tuple[tuple[int, int], Callable[[], Json]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    async def once(self, container: Container, *, one_shot: bool = False) -> Json:
        """One answer (API: StatsResponse). A container that does not run gives zeros.

        Without `one_shot` it waits for a second sample, to fill `precpu_stats`: no longer than an interval,
        for `docker stats --no-stream` gives up after two seconds.
        """
        if not container.state.running or container.state.restarting:
            return statshape.empty(container.id, container.name)
        if one_shot:
            return (await self._sample([container]))[0]
        async with self.stream(container) as samples:
            await anext(samples, None)
            return await anext(samples, None) or statshape.empty(container.id, container.name)

    async def many(self, containers: list[Container]) -> list[Json]:
        """One sample of each, as it is now; zeros for those that do not run."""
        return await self._sample(containers)

    @asynccontextmanager
    async def stream(self, container: Container) -> AsyncIterator[AsyncIterator[Json]]:
        """A StatsResponse a second until the container is removed; zeros while it does not run."""
        subscription = Subscription(self._latest.get(container))
        self._subscriptions.setdefault(container, set()).add(subscription)
        self._due.setdefault(container, 0.0)
        self._new.set()
        if self._task is None:
            self._task = self._containers.background(self._run())
        try:
            yield _linked(subscription)
        finally:
            self._forget(container, subscription)

    def _forget(self, container: Container, subscription: Subscription) -> None:
        subscriptions = self._subscriptions.get(container)
        if subscriptions is not None:
            subscriptions.discard(subscription)
            if not subscriptions:
                del self._subscriptions[container], self._due[container]
                self._latest.pop(container, None)
                self._samplers.pop(container.id, None)

    async def _run(self) -> None:
        """Sample while somebody asks: each container at once when it is new, and then once an interval."""
        clock = asyncio.get_running_loop().time
        try:
            while self._due:
                self._new.clear()
                soon = clock() + self._interval * _TOGETHER
                ready = [container for container, due in self._due.items() if due <= soon]
                self._due.update(dict.fromkeys(ready, clock() + self._interval))
                if ready:
                    await self._round(ready)
                if self._due:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(min(self._due.values()) - clock()):
                            await self._new.wait()
        finally:
            self._task = None

    async def _round(self, wanted: list[Container]) -> None:
        samples = await self._sample([container for container in wanted if not container.removed])
        found = {sample["id"]: sample for sample in samples}
        for container in wanted:
            for subscription in tuple(self._subscriptions.get(container, ())):
                if container.removed:
                    subscription.publish(None)
                elif container.id in found:
                    self._latest[container] = found[container.id]
                    subscription.publish(found[container.id])

    async def _sample(self, containers: list[Container]) -> list[Json]:
        """A sample of each, in order; the files are read in one thread."""
        wanted = [
            (item.id, self._containers.runtime.bundle(item.id), item.state.pid, item.state.started_at)
            for item in containers
        ]
        raw, system = await asyncio.to_thread(self._read, wanted)
        for container in containers:
            if container not in self._subscriptions:
                self._samplers.pop(container.id, None)
        return [self._shape(container, raw.get(container.id), system) for container in containers]

    def _read(self, wanted: list[tuple[str, Path, int, int]]) -> tuple[dict[str, Json], tuple[int, int]]:
        found: dict[str, Json] = {}
        for container_id, bundle, pid, started_at in wanted:
            if not pid:
                continue
            try:
                known = self._samplers.get(container_id)
                if known is None or known[0] != (pid, started_at):
                    known = self._samplers[container_id] = ((pid, started_at), self._make(bundle, pid))
                found[container_id] = known[1]()
            except Exception as error:  # it has ended meanwhile; the others are sampled in any case
                logger.debug("sampling container %s: %s", container_id, error)
        return found, statshape.parse_cpu_time(Path("/proc/stat").read_text())

    def _shape(self, container: Container, sample: Json | None, system: tuple[int, int]) -> Json:
        state = container.state
        if sample is None or not state.running or state.restarting:
            return statshape.empty(container.id, container.name)
        sample["interfaces"] = self._interfaces(container, sample["interfaces"])
        return statshape.full(
            container.id, container.name, sample, system=system, machine_memory=self._memory
        )

    def _interfaces(self, container: Container, found: Json) -> Json:
        """Those of endpoints: not what a program has made for itself, nor the host's."""
        owner = container
        while owner.network_mode.startswith("container:"):
            try:
                owner = self._containers.find(owner.network_mode.partition(":")[2])
            except EngineError:
                return {}
        if owner.network_mode == "host" or container.config.get("NetworkDisabled"):
            return {}
        endpoints = (owner.network_settings.get("Networks") or {}).values()
        named = {(endpoint.get("DriverOpts") or {}).get(_INTERFACE_OPTION) for endpoint in endpoints}
        return {name: values for name, values in found.items() if _ETHERNET.match(name) or name in named}


async def _linked(subscription: Subscription) -> AsyncIterator[Json]:
    """Each sample with the one before it in `preread` and `precpu_stats`."""
    read, cpu = None, None
    while (sample := await subscription.next()) is not None:
        current = dict(sample)  # the sample is other clients', too
        if read is not None:
            current["preread"], current["precpu_stats"] = read, cpu
        read, cpu = sample["read"], sample["cpu_stats"]
        yield current
