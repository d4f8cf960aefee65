"""Resources: memory, CPU, PIDs, rlimits, and what a container sees of them."""

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.limits import cgroup_file

START = ("ContainerCreate", "ContainerStart")
MB = 1 << 20


def cgroup(engine: Engine, controller: str, v1: str, v2: str, host: dict[str, object]) -> str:
    """What a container with these limits reads in its own cgroup."""
    return engine.ended("cat", cgroup_file(engine, controller, v1, v2), host=host).out.strip()


@pytest.mark.operation(*START)
def test_memory(engine: Engine, cli: Cli) -> None:
    path = cgroup_file(engine, "memory", "memory.limit_in_bytes", "memory.max")
    assert cli.text("run", "--rm", "--memory", "48m", engine.image, "cat", path) == str(48 * MB)
    unlimited = cli.text("run", "--rm", engine.image, "cat", path)
    assert unlimited in {"max", str((1 << 63) - 4096)}


@pytest.mark.operation(*START)
def test_memory_reservation(engine: Engine) -> None:
    host: dict[str, object] = {"Memory": 64 * MB, "MemoryReservation": 32 * MB}
    assert cgroup(engine, "memory", "memory.soft_limit_in_bytes", "memory.low", host) == str(32 * MB)


@pytest.mark.operation(*START)
def test_out_of_memory(engine: Engine) -> None:
    done = engine.sh("tail -c 400m /dev/zero", host={"Memory": 16 * MB, "MemorySwap": 16 * MB})
    assert done.code == 137
    assert engine.state(done.id)["OOMKilled"] is True


@pytest.mark.operation("ContainerCreate")
def test_memory_minimum(engine: Engine) -> None:
    answer = engine.wire.request(
        "POST", "/containers/create", {"Image": engine.image, "HostConfig": {"Memory": 1000}}
    )
    assert (answer.status, answer.message) == (400, "Minimum memory limit allowed is 6MB")
    answer = engine.wire.request(
        "POST",
        "/containers/create",
        {"Image": engine.image, "HostConfig": {"Memory": 64 * MB, "MemorySwap": 32 * MB}},
    )
    assert (answer.status, answer.message) == (
        400,
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    )


@pytest.mark.operation(*START)
def test_cpus(engine: Engine, cli: Cli) -> None:
    if engine.info["CgroupVersion"] == "2":
        out = cli.text("run", "--rm", "--cpus", "0.5", engine.image, "cat", "/sys/fs/cgroup/cpu.max")
        assert out == "50000 100000"
        return
    out = cli.text(
        "run",
        "--rm",
        "--cpus",
        "0.5",
        engine.image,
        "sh",
        "-c",
        "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us",
    )
    assert out == "50000\n100000"


@pytest.mark.operation(*START)
def test_cpu_shares_and_quota(engine: Engine) -> None:
    if engine.info["CgroupVersion"] == "2":
        assert cgroup(engine, "cpu", "", "cpu.max", {"CpuQuota": 20000, "CpuPeriod": 50000}) == "20000 50000"
        return
    assert cgroup(engine, "cpu", "cpu.shares", "", {"CpuShares": 512}) == "512"
    assert cgroup(engine, "cpu", "cpu.cfs_quota_us", "", {"CpuQuota": 20000, "CpuPeriod": 50000}) == "20000"


@pytest.mark.operation(*START)
def test_cpuset(engine: Engine) -> None:
    assert cgroup(engine, "cpuset", "cpuset.cpus", "cpuset.cpus", {"CpusetCpus": "0"}) == "0"
    assert (
        engine.sh("grep Cpus_allowed_list /proc/self/status", host={"CpusetCpus": "0"}).out.split()[1] == "0"
    )


@pytest.mark.operation("ContainerCreate")
def test_cpu_errors(engine: Engine) -> None:
    many = (engine.info["NCPU"] + 1) * 10**9
    answer = engine.wire.request(
        "POST", "/containers/create", {"Image": engine.image, "HostConfig": {"NanoCpus": many}}
    )
    assert answer.status == 400
    assert answer.message.lower().startswith("range of cpus is from 0.01 to")
    answer = engine.wire.request(
        "POST", "/containers/create", {"Image": engine.image, "HostConfig": {"CpusetCpus": "900"}}
    )
    assert answer.status == 400
    assert "Requested CPUs are not available - requested 900, available: " in answer.message


@pytest.mark.operation(*START)
def test_pids(engine: Engine, cli: Cli) -> None:
    path = cgroup_file(engine, "pids", "pids.max", "pids.max")
    assert cli.text("run", "--rm", "--pids-limit", "33", engine.image, "cat", path) == "33"
    assert cli.text("run", "--rm", engine.image, "cat", path) == "max"
    done = engine.sh("for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo no limit", host={"PidsLimit": 5})
    assert "can't fork" in done.err and "no limit" not in done.out


@pytest.mark.operation(*START)
def test_ulimit(engine: Engine, cli: Cli) -> None:
    out = cli.text(
        "run",
        "--rm",
        "--ulimit",
        "nofile=64:128",
        "--ulimit",
        "core=0",
        engine.image,
        "sh",
        "-c",
        "ulimit -Sn; ulimit -Hn; ulimit -c",
    )
    assert out.split() == ["64", "128", "0"]
    container = engine.create("true", host={"Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}]})
    assert engine.inspect(container)["HostConfig"]["Ulimits"] == [{"Name": "nofile", "Soft": 10, "Hard": 20}]


@pytest.mark.operation("ContainerInspect")
def test_inspect_shows_them(engine: Engine) -> None:
    given = {
        "Memory": 64 * MB,
        "MemorySwap": 128 * MB,
        "MemoryReservation": 32 * MB,
        "NanoCpus": 500_000_000,
        "CpuShares": 256,
        "CpusetCpus": "0",
        "PidsLimit": 50,
        "ShmSize": 1 * MB,
        "OomScoreAdj": 100,
        "BlkioWeight": 0,
    }
    found = engine.inspect(engine.create("true", host=given))["HostConfig"]
    assert {key: found[key] for key in given} == given


@pytest.mark.operation("ContainerInspect")
def test_memory_swap_default_is_double(engine: Engine) -> None:
    found = engine.inspect(engine.create("true", host={"Memory": 32 * MB}))["HostConfig"]
    assert found["MemorySwap"] == 64 * MB
    found = engine.inspect(engine.create("true"))["HostConfig"]
    assert (found["Memory"], found["MemorySwap"], found["PidsLimit"], found["ShmSize"]) == (
        0,
        0,
        None,
        64 * MB,
    )


@pytest.mark.operation(*START)
def test_oom_score_adj(engine: Engine) -> None:
    assert engine.sh("cat /proc/self/oom_score_adj", host={"OomScoreAdj": 321}).out == "321\n"


@pytest.mark.operation("ContainerUpdate")
def test_update(engine: Engine) -> None:
    container = engine.sleeper(host={"Memory": 64 * MB, "MemorySwap": 64 * MB})
    answer = engine.wire.post(
        f"/containers/{container}/update", {"Memory": 48 * MB, "MemorySwap": 48 * MB}, status=200
    )
    assert answer.json()["Warnings"] in (None, [])
    assert engine.inspect(container)["HostConfig"]["Memory"] == 48 * MB
    path = cgroup_file(engine, "memory", "memory.limit_in_bytes", "memory.max")
    assert engine.exec(container, "cat", path).out.strip() == str(48 * MB)
