"""`docker update`: what is kept, what goes to the kernel, what is refused."""

from pathlib import Path
from typing import Any

import pytest

from compatd.engine.errors import Conflict, EngineError, InvalidParameter, NotFound

from .fakes import World
from .scenario import play

Json = dict[str, Any]
MB = 1 << 20


async def update(world: World, **body: Any) -> Json:
    assert await world.containers.update("box", body) == []
    return world.containers.find("box").host_config


def test_a_running_container(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create("box", HostConfig={"Memory": 64 * MB})
        await world.containers.start("box")
        host = await update(world, Memory=32 * MB, MemorySwap=48 * MB, CpuShares=10, PidsLimit=5)
        assert (host["Memory"], host["MemorySwap"], host["CpuShares"]) == (32 * MB, 48 * MB, 10)
        assert world.runtime.updates == [
            {
                "memory": {"limit": 32 * MB, "swap": 48 * MB},
                "cpu": {"shares": 10},
                "pids": {"limit": 5},
            }
        ]
        assert world.seen[-1] == "container update"
        document = world.store.containers.rows[world.containers.find("box").id]
        assert document["HostConfig"]["PidsLimit"] == 5

    play(tmp_path, scenario)


def test_one_that_does_not_run_is_only_noted(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create("box")
        host = await update(world, CpusetCpus="0", NanoCpus=10**9)
        assert (host["CpusetCpus"], host["NanoCpus"]) == ("0", 10**9)
        assert world.runtime.updates == []

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("before", "body", "sent"),
    [
        ({"Memory": 64 * MB}, {"MemorySwap": -1}, {"memory": {"limit": 64 * MB, "swap": -1}}),
        (
            {"CpuPeriod": 50000, "CpuQuota": 9000},
            {"CpuQuota": 8000},
            {"cpu": {"period": 50000, "quota": 8000}},
        ),
        ({}, {"NanoCpus": 500_000_000}, {"cpu": {"period": 100_000, "quota": 50_000}}),
        ({"PidsLimit": 5}, {"PidsLimit": 0}, {"pids": {"limit": -1}}),
        ({"PidsLimit": 5}, {"PidsLimit": -7}, {"pids": {"limit": -1}}),
        ({}, {"CpuShares": -4}, {"cpu": {"shares": (1 << 64) - 4}}),
        ({}, {"MemoryReservation": 8 * MB}, {"memory": {"reservation": 8 * MB}}),
    ],
)
def test_what_the_kernel_gets(tmp_path: Path, before: Json, body: Json, sent: Json) -> None:
    async def scenario(world: World) -> None:
        await world.create("box", HostConfig=before)
        await world.containers.start("box")
        await update(world, **body)
        assert world.runtime.updates == [sent]

    play(tmp_path, scenario)


def test_nothing_given_changes_nothing(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create("box", HostConfig={"PidsLimit": 5, "CpuShares": 9})
        await world.containers.start("box")
        host = await update(world, CpuShares=0, CpusetCpus="", KernelMemory=50 * MB, MemorySwappiness=3)
        assert (host["PidsLimit"], host["CpuShares"], host["MemorySwappiness"]) == (5, 9, None)
        assert world.runtime.updates == []

    play(tmp_path, scenario)


def test_restart_policy(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create("box")
        await world.containers.start("box")
        host = await update(world, RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 3})
        assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
        policy = world.containers.find("box").restart
        assert policy.next_delay(1, stopped_by_hand=False, ran_for=0) is not None
        host = await update(world, CpuShares=10)
        assert host["RestartPolicy"]["Name"] == "on-failure"

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("before", "body", "kind", "text"),
    [
        ({}, {"Memory": 1000}, InvalidParameter, "Minimum memory limit allowed is 6MB"),
        (
            {},
            {"RestartPolicy": {"Name": "x"}},
            InvalidParameter,
            "unknown policy 'x'",
        ),
        ({}, {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 1}}, InvalidParameter, "retry count"),
        (
            {"Memory": 64 * MB},
            {"Memory": 256 * MB},
            Conflict,
            "Cannot update container ID: Memory limit should be smaller than already set memoryswap limit, "
            "update the memoryswap at the same time",
        ),
        (
            {"CpuPeriod": 5000},
            {"NanoCpus": 10**8},
            Conflict,
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            {"NanoCpus": 10**8},
            {"CpuQuota": 5000},
            Conflict,
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        (
            {"AutoRemove": True},
            {"RestartPolicy": {"Name": "always"}},
            Conflict,
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ),
        (
            {},
            {"BlkioDeviceReadBps": [{"Path": "/nowhere", "Rate": 1}]},
            EngineError,
            "stat /nowhere: no",
        ),
    ],
)
def test_refused(tmp_path: Path, before: Json, body: Json, kind: type[EngineError], text: str) -> None:
    async def scenario(world: World) -> None:
        container = world.containers.find(await world.create("box", HostConfig=before))
        await world.containers.start("box")
        kept = dict(container.host_config)
        with pytest.raises(kind) as raised:
            await world.containers.update("box", body)
        assert type(raised.value) is kind
        assert text.replace("ID", container.id) in raised.value.message
        assert container.host_config == kept
        assert world.runtime.updates == []

    play(tmp_path, scenario)


def test_what_the_kernel_refuses_is_taken_back(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        container = world.containers.find(await world.create("box"))
        await world.containers.start("box")
        world.runtime.failure = "the minimum allowed cpu-shares is 2"
        with pytest.raises(EngineError) as raised:
            await world.containers.update("box", {"CpuShares": 1})
        assert raised.value.message == (
            f"Cannot update container {container.id}: runc did not terminate successfully: exit status 1: "
            "the minimum allowed cpu-shares is 2"
        )
        assert container.host_config["CpuShares"] == 0
        assert world.store.containers.rows[container.id]["HostConfig"]["CpuShares"] == 0

    play(tmp_path, scenario)


def test_nobody(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(NotFound, match="No such container: nobody"):
            await world.containers.update("nobody", {})
        with pytest.raises(InvalidParameter):  # what can never be is told first
            await world.containers.update("nobody", {"Memory": 1})

    play(tmp_path, scenario)
