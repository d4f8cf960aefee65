"""Samples in the API's shape, for both kinds of cgroups, and who gets them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compatd.engine.containers import statshape
from compatd.engine.containers.stats import Stats

from .fakes import World
from .scenario import play

Json = dict[str, Any]

V1: Json = {
    "version": 1,
    "memory": {
        "usage_in_bytes": 500,
        "max_usage_in_bytes": 900,
        "limit_in_bytes": 1 << 62,
        "failcnt": 0,
        "stat": {"rss": 3, "total_rss": 4, "swap": 9},
    },
    "cpu": {
        "usage": 70,
        "percpu": [30, 40],
        "user_system": {"user": 2, "system": 1},
        "throttling": {"nr_periods": 5, "nr_throttled": 6, "throttled_time": 7},
    },
    "pids": {"current": 2, "limit": None},
    "blkio": {"io_service_bytes_recursive": [(8, 16, "Read", 4096)]},
}
V2: Json = {
    "version": 2,
    "memory": {"current": 500, "peak": 900, "max": 800, "failcnt": 1, "stat": {"anon": 3, "zswap": 9}},
    "cpu": {"stat": {"usage_usec": 3, "user_usec": 2, "system_usec": 1, "throttled_usec": 4}},
    "pids": {"current": 2, "limit": 9},
    "blkio": {"io_service_bytes_recursive": [(8, 16, "read", 1), (8, 16, "write", 2)]},
}
INTERFACES: Json = {"eth0": {"rx_bytes": 1}, "dummy0": {"rx_bytes": 2}, "wan": {"rx_bytes": 3}}


def full(group: Json, interfaces: Json | None = None) -> Json:
    sample = {"read": 1_000_000_001, "cgroup": group, "interfaces": interfaces or {}}
    return statshape.full("i" * 64, "box", sample, system=(77, 2), machine_memory=1000)


def test_v1() -> None:
    found = full(V1, {"eth0": {"rx_bytes": 1}})
    assert found["name"] == "/box"
    assert found["read"] == "1970-01-01T00:00:01.000000001Z"
    assert found["cpu_stats"] == {
        "cpu_usage": {
            "total_usage": 70,
            "percpu_usage": [30, 40],
            "usage_in_usermode": 20_000_000,
            "usage_in_kernelmode": 10_000_000,
        },
        "system_cpu_usage": 77,
        "online_cpus": 2,
        "throttling_data": {"periods": 5, "throttled_periods": 6, "throttled_time": 7},
    }
    memory = found["memory_stats"]
    assert len(memory["stats"]) == 32
    assert (memory["stats"]["rss"], memory["stats"]["total_rss"], memory["stats"]["cache"]) == (3, 4, 0)
    del memory["stats"]
    assert memory == {"usage": 500, "max_usage": 900, "limit": 1000}
    assert found["pids_stats"] == {"current": 2}
    assert found["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 8, "minor": 16, "op": "Read", "value": 4096}
    ]
    assert found["blkio_stats"]["sectors_recursive"] == []
    assert found["networks"] == {"eth0": {"rx_bytes": 1}}


def test_v2() -> None:
    found = full(V2)
    assert found["cpu_stats"]["cpu_usage"] == {
        "total_usage": 3000,
        "usage_in_usermode": 2000,
        "usage_in_kernelmode": 1000,
    }
    assert found["cpu_stats"]["throttling_data"]["throttled_time"] == 4000
    memory = found["memory_stats"]
    assert len(memory["stats"]) == 31
    assert memory["stats"]["anon"] == 3
    assert "zswap" not in memory["stats"]
    del memory["stats"]
    assert memory == {"usage": 500, "limit": 800, "failcnt": 1}
    assert found["pids_stats"] == {"current": 2, "limit": 9}
    assert [one["op"] for one in found["blkio_stats"]["io_service_bytes_recursive"]] == ["read", "write"]
    assert found["blkio_stats"]["io_serviced_recursive"] is None
    assert "networks" not in found


def test_a_first_sample_has_zeros_before_it() -> None:
    found = full(V1)
    assert found["preread"] == "0001-01-01T00:00:00Z"
    assert found["precpu_stats"] == statshape.empty("x", "y")["cpu_stats"]
    assert "online_cpus" not in found["precpu_stats"]


def test_time_of_all_cpus() -> None:
    text = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1\ncpu3 1 1\nintr 5\ncpu9 no\n"
    assert statshape.parse_cpu_time(text) == (28 * 10_000_000, 2)


class Kernel:
    """Counts how often each container is sampled."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.interfaces = INTERFACES

    def __call__(self, bundle: Path, pid: int) -> Callable[[], Json]:
        def sample() -> Json:
            self.counts[bundle.name] = count = self.counts.get(bundle.name, 0) + 1
            group = {**V1, "cpu": {**V1["cpu"], "usage": count}}
            return {"read": count * 1_000_000_000, "cgroup": group, "interfaces": dict(self.interfaces)}

        return sample


def stats_of(world: World, kernel: Kernel, interval: float = 0.001) -> Stats:
    return Stats(world.containers, sampler=kernel, interval=interval)


async def running(world: World, name: str = "box", **body: Any) -> Any:
    await world.create(name, **body)
    await world.containers.start(name)
    return world.containers.find(name)


def test_one_answer_is_made_of_two_samples(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        stats = stats_of(world, Kernel())
        found = await stats.once(await running(world))
        assert found["read"] > found["preread"] > "0001-01-01T00:00:00Z"
        assert found["precpu_stats"]["cpu_usage"]["total_usage"] == 1
        assert found["cpu_stats"]["cpu_usage"]["total_usage"] == 2
        assert found["precpu_stats"]["online_cpus"] >= 1

    play(tmp_path, scenario)


def test_one_shot_takes_one(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        kernel = Kernel()
        container = await running(world)
        found = await stats_of(world, kernel).once(container, one_shot=True)
        assert kernel.counts == {container.id: 1}
        assert found["precpu_stats"] == statshape.no_cpu()

    play(tmp_path, scenario)


def test_what_does_not_run_gives_zeros(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        kernel = Kernel()
        await world.create("box")
        container = world.containers.find("box")
        for one_shot in (True, False):
            found = await stats_of(world, kernel).once(container, one_shot=one_shot)
            assert found == statshape.empty(container.id, "box")
        assert not kernel.counts

    play(tmp_path, scenario)


def test_many_clients_one_sample_a_round(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        kernel = Kernel()
        stats = stats_of(world, kernel, interval=1000)
        container = await running(world)
        async with stats.stream(container) as first, stats.stream(container) as second:
            assert await asyncio.gather(anext(first), anext(second))
        assert kernel.counts == {container.id: 1}

    play(tmp_path, scenario)


def test_nobody_waits_for_others_turns(tmp_path: Path) -> None:
    """A container that is new is sampled at once; of a known one the latest sample is there."""

    async def scenario(world: World) -> None:
        kernel = Kernel()
        stats = stats_of(world, kernel, interval=1000)
        first, second = await running(world, "one"), await running(world, "two")
        async with stats.stream(first) as samples:
            sample = await anext(samples)
            async with stats.stream(second) as others:
                assert (await anext(others))["id"] == second.id
            async with stats.stream(first) as again:
                assert (await anext(again))["read"] == sample["read"]
        assert kernel.counts == {first.id: 1, second.id: 1}

    play(tmp_path, scenario)


def test_nothing_is_kept_when_nobody_listens(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        stats = stats_of(world, Kernel())
        container = await running(world)
        for _ in range(3):
            async with stats.stream(container) as samples:
                await anext(samples)
        await stats.once(container, one_shot=True)
        assert not (stats._subscriptions or stats._due or stats._latest or stats._samplers)

    play(tmp_path, scenario)


def test_a_stream_goes_on_after_the_end_and_stops_with_the_container(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        stats = stats_of(world, Kernel())
        container = await running(world)
        async with stats.stream(container) as samples:
            assert (await anext(samples))["pids_stats"]
            world.runtime.end(container.id)
            last = {"pids_stats": 1}
            while last["pids_stats"]:
                last = await anext(samples)
            await world.containers.remove(container.id)
            rest = [sample async for sample in samples]
            assert all(not sample["pids_stats"] for sample in rest)

    play(tmp_path, scenario)


def test_only_endpoints_interfaces_count(tmp_path: Path) -> None:
    async def networks(world: World, host: Json) -> Any:
        name = f"box{len(world.containers.all())}"
        container = await running(world, name, HostConfig=host)
        found = await stats_of(world, Kernel()).once(container, one_shot=True)
        return found.get("networks")

    async def scenario(world: World) -> None:
        assert await networks(world, {}) == {"eth0": {"rx_bytes": 1}}
        assert await networks(world, {"NetworkMode": "host"}) is None
        option = {"com.docker.network.endpoint.ifname": "wan"}
        world.containers.find("box0").network_settings["Networks"]["bridge"]["DriverOpts"] = option
        found = await networks(world, {"NetworkMode": "container:box0"})
        assert set(found) == {"eth0", "wan"}

    play(tmp_path, scenario)
