"""update: limits and restart policy of a container, at once where it runs."""

from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.limits import cgroup_file
from conformance.until import until

UPDATE = "ContainerUpdate"
MB = 1 << 20


def update(engine: Engine, container: str, **body: Any) -> None:
    answer = engine.wire.post(f"/containers/{container}/update", body, status=200)
    assert not answer.json()["Warnings"]


def refused(engine: Engine, container: str, **body: Any) -> tuple[int, str]:
    answer = engine.wire.request("POST", f"/containers/{container}/update", body)
    return answer.status, answer.message


def read(engine: Engine, container: str, controller: str, v1: str, v2: str) -> str:
    return engine.exec(container, "cat", cgroup_file(engine, controller, v1, v2)).out.strip()


@pytest.mark.operation(UPDATE)
def test_memory(engine: Engine) -> None:
    container = engine.sleeper(host={"Memory": 64 * MB})
    update(engine, container, Memory=96 * MB)  # the swap limit is 128 MB
    assert read(engine, container, "memory", "memory.limit_in_bytes", "memory.max") == str(96 * MB)
    update(engine, container, Memory=256 * MB, MemorySwap=300 * MB, MemoryReservation=32 * MB)
    assert read(engine, container, "memory", "memory.limit_in_bytes", "memory.max") == str(256 * MB)
    if engine.info["CgroupVersion"] == "1":
        assert read(engine, container, "memory", "memory.memsw.limit_in_bytes", "") == str(300 * MB)
    assert read(engine, container, "memory", "memory.soft_limit_in_bytes", "memory.low") == str(32 * MB)
    update(engine, container, Memory=32 * MB, MemorySwap=48 * MB, MemoryReservation=16 * MB)
    assert read(engine, container, "memory", "memory.limit_in_bytes", "memory.max") == str(32 * MB)
    host = engine.inspect(container)["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["MemoryReservation"]) == (32 * MB, 48 * MB, 16 * MB)


@pytest.mark.operation(UPDATE)
def test_memory_without_a_limit_before(engine: Engine) -> None:
    container = engine.sleeper()
    status, text = refused(engine, container, Memory=64 * MB)
    assert status == 409 and text.endswith("update the memoryswap at the same time")
    update(engine, container, Memory=64 * MB, MemorySwap=64 * MB)
    assert read(engine, container, "memory", "memory.limit_in_bytes", "memory.max") == str(64 * MB)


@pytest.mark.operation(UPDATE)
def test_processor(engine: Engine, cli: Cli) -> None:
    container = engine.sleeper(host={"CpuShares": 512})
    assert cli.text("update", "--cpus", "0.5", "--cpuset-cpus", "0", container) == container
    assert read(engine, container, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    if engine.info["CgroupVersion"] == "1":
        assert read(engine, container, "cpu", "cpu.cfs_quota_us", "") == "50000"
        assert read(engine, container, "cpu", "cpu.shares", "") == "512"
    else:
        assert read(engine, container, "", "", "cpu.max") == "50000 100000"
    host = engine.inspect(container)["HostConfig"]
    assert (host["NanoCpus"], host["CpusetCpus"], host["CpuShares"]) == (500_000_000, "0", 512)
    other = engine.sleeper(host={"CpuPeriod": 50_000})
    update(engine, other, CpuQuota=20_000, CpuShares=256)
    if engine.info["CgroupVersion"] == "1":
        assert read(engine, other, "cpu", "cpu.cfs_quota_us", "") == "20000"
        assert read(engine, other, "cpu", "cpu.cfs_period_us", "") == "50000"
        assert read(engine, other, "cpu", "cpu.shares", "") == "256"


@pytest.mark.operation(UPDATE)
def test_processes(engine: Engine) -> None:
    container = engine.sleeper(host={"PidsLimit": 50})
    update(engine, container, PidsLimit=20)
    assert read(engine, container, "pids", "pids.max", "pids.max") == "20"
    update(engine, container, CpuShares=100)  # says nothing of processes
    assert engine.inspect(container)["HostConfig"]["PidsLimit"] == 20
    for none in (0, -1):
        update(engine, container, PidsLimit=30)
        update(engine, container, PidsLimit=none)
        assert read(engine, container, "pids", "pids.max", "pids.max") == "max"
        assert engine.inspect(container)["HostConfig"]["PidsLimit"] == 0


@pytest.mark.operation(UPDATE)
def test_one_that_does_not_run_starts_with_it(engine: Engine) -> None:
    path = cgroup_file(engine, "memory", "memory.limit_in_bytes", "memory.max")
    container = engine.create("cat", path, host={"Memory": 64 * MB})
    update(engine, container, Memory=48 * MB, MemorySwap=48 * MB)
    engine.start(container)
    assert engine.wait(container) == 0
    assert engine.logs(container)[0] == f"{48 * MB}\n"


@pytest.mark.operation(UPDATE)
def test_paused(engine: Engine) -> None:
    container = engine.sleeper()
    engine.wire.post(f"/containers/{container}/pause", status=204)
    update(engine, container, PidsLimit=25)
    engine.wire.post(f"/containers/{container}/unpause", status=204)
    assert read(engine, container, "pids", "pids.max", "pids.max") == "25"


@pytest.mark.operation(UPDATE)
def test_restart_policy(engine: Engine, cli: Cli) -> None:
    container = engine.run("sh", "-c", "test -e /go || sleep 1000; exit 1")
    cli("update", "--restart", "on-failure:2", container)
    policy = engine.inspect(container)["HostConfig"]["RestartPolicy"]
    assert policy == {"Name": "on-failure", "MaximumRetryCount": 2}
    engine.exec(container, "touch", "/go")
    engine.exec(container, "kill", "-9", "-1")

    def given_up() -> bool:
        found = engine.inspect(container)
        return bool(found["RestartCount"] == 2 and found["State"]["Status"] == "exited")

    until(given_up)
    update(engine, container, RestartPolicy={"Name": "no"})
    assert engine.inspect(container)["HostConfig"]["RestartPolicy"]["Name"] == "no"


@pytest.mark.operation(UPDATE)
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"Memory": 1000}, "Minimum memory limit allowed is 6MB"),
        ({"MemoryReservation": 1000}, "Minimum memory reservation allowed is 6MB"),
        ({"CpusetCpus": "900"}, "Requested CPUs are not available - requested 900, available: "),
        ({"CpusetCpus": "x"}, "Invalid value x for cpuset cpus: "),
        ({"CpuPeriod": 10}, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s"),
        ({"CpuQuota": 10}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (
            {"NanoCpus": 10**8, "CpuPeriod": 5000},
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        ({"RestartPolicy": {"Name": "bogus"}}, "invalid restart policy"),
        ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}}, "maximum retry count can"),
    ],
)
def test_invalid(engine: Engine, box: str, body: dict[str, Any], text: str) -> None:
    status, message = refused(engine, box, **body)
    assert status == 400 and text in message


@pytest.mark.operation(UPDATE)
@pytest.mark.parametrize(
    ("before", "body", "text"),
    [
        (
            {"Memory": 64 * MB},
            {"Memory": 256 * MB},
            "Memory limit should be smaller than already set memoryswap limit, "
            "update the memoryswap at the same time",
        ),
        (
            {"NanoCpus": 10**8},
            {"CpuQuota": 5000},
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        (
            {"CpuPeriod": 50_000},
            {"NanoCpus": 10**8},
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            {"AutoRemove": True},
            {"RestartPolicy": {"Name": "always"}},
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ),
    ],
)
def test_conflicts(engine: Engine, before: dict[str, Any], body: dict[str, Any], text: str) -> None:
    container = engine.create("true", host=before)
    kept = engine.inspect(container)["HostConfig"]
    assert refused(engine, container, **body) == (409, f"Cannot update container {container}: {text}")
    assert engine.inspect(container)["HostConfig"] == kept


@pytest.mark.operation(UPDATE)
def test_the_kernel_refuses(engine: Engine) -> None:
    if engine.info["CgroupVersion"] != "1":
        pytest.skip("cgroup v2 takes any number of shares")
    container = engine.sleeper(host={"CpuShares": 300})
    status, text = refused(engine, container, CpuShares=1)
    assert status == 500 and text.startswith(f"Cannot update container {container}: ")
    assert "the minimum allowed cpu-shares is 2" in text
    assert engine.inspect(container)["HostConfig"]["CpuShares"] == 300


@pytest.mark.operation(UPDATE)
def test_warnings(engine: Engine, box: str) -> None:
    answer = engine.wire.post(f"/containers/{box}/update", {"CpuPercent": 5}, status=200)
    assert answer.json() == {"Warnings": ["linux does not support CPU percent. Percent discarded."]}


@pytest.mark.operation(UPDATE)
def test_no_such_container(engine: Engine) -> None:
    assert refused(engine, "no-such") == (404, "No such container: no-such")


@pytest.mark.operation(UPDATE)
@pytest.mark.since("1.55")
def test_throttled_devices(engine: Engine, box: str) -> None:
    status, text = refused(engine, box, BlkioDeviceReadBps=[{"Path": "/dev/no-such", "Rate": 1000}])
    assert (status, "stat /dev/no-such: no such file or directory" in text) == (500, True)
