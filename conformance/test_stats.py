"""stats: one answer, streams, and what `docker stats` makes of them; top with arguments of ps."""

import contextlib
from collections.abc import Generator
from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.until import until

STATS = "ContainerStats"
TOP = "ContainerTop"
MB = 1 << 20
NEVER = "0001-01-01T00:00:00Z"
NO_CPU = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}
BLOCK = {
    "io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive", "io_service_time_recursive",
    "io_wait_time_recursive", "io_merged_recursive", "io_time_recursive", "sectors_recursive",
}  # fmt: skip
V1_MEMORY = {"cache", "rss", "mapped_file", "pgfault", "hierarchical_memory_limit", "total_rss", "total_unevictable"}  # fmt: skip # noqa: E501
V2_MEMORY = {"anon", "file", "slab", "pgfault", "workingset_activate", "thp_fault_alloc"}
FIELDS = {
    "read", "preread", "cpu_stats", "precpu_stats", "memory_stats", "pids_stats", "blkio_stats", "num_procs",
    "storage_stats", "name", "id",
}  # fmt: skip


def sample(engine: Engine, container: str, **query: Any) -> Any:
    return engine.wire.get(f"/containers/{container}/stats", stream=False, **query)


def stream(engine: Engine, container: str) -> Generator[Any, None, None]:
    yield from engine.wire.lines(f"/containers/{container}/stats")


@pytest.mark.operation(STATS)
def test_one_answer(engine: Engine) -> None:
    name = engine.name()
    container = engine.sleeper(name=name, host={"Memory": 64 * MB, "PidsLimit": 40})
    found = sample(engine, container)
    assert set(found) - {"os_type"} == FIELDS | {"networks"}
    assert (found["id"], found["name"]) == (container, f"/{name}")
    assert NEVER < found["preread"] < found["read"]
    for cpu in (found["cpu_stats"], found["precpu_stats"]):
        assert cpu["cpu_usage"]["total_usage"] > 0
        assert cpu["system_cpu_usage"] > cpu["cpu_usage"]["total_usage"]
        assert cpu["online_cpus"] == engine.info["NCPU"]
        assert set(cpu["throttling_data"]) == {"periods", "throttled_periods", "throttled_time"}
        per_cpu = cpu["cpu_usage"].get("percpu_usage")
        if engine.info["CgroupVersion"] == "1":
            assert sum(per_cpu) == cpu["cpu_usage"]["total_usage"]
        else:
            assert per_cpu is None
    assert found["cpu_stats"]["system_cpu_usage"] > found["precpu_stats"]["system_cpu_usage"]
    assert found["pids_stats"] == {"current": 1, "limit": 40}
    assert set(found["blkio_stats"]) == BLOCK
    assert (found["num_procs"], found["storage_stats"]) == (0, {})


@pytest.mark.operation(STATS)
def test_memory(engine: Engine) -> None:
    container = engine.sleeper(host={"Memory": 64 * MB})
    memory = sample(engine, container)["memory_stats"]
    assert memory["limit"] == 64 * MB and 0 < memory["usage"] < 64 * MB
    v1 = engine.info["CgroupVersion"] == "1"
    assert (V1_MEMORY if v1 else V2_MEMORY) <= set(memory["stats"])
    if v1:
        assert len(memory["stats"]) == 32 and memory["max_usage"] >= memory["usage"]
        assert memory["stats"]["hierarchical_memory_limit"] == 64 * MB
    free = sample(engine, engine.sleeper())["memory_stats"]
    assert free["limit"] == engine.info["MemTotal"]


@pytest.mark.operation(STATS)
def test_one_shot(engine: Engine, box: str) -> None:
    found = sample(engine, box, **{"one-shot": True})
    assert (found["preread"], found["precpu_stats"]) == (NEVER, NO_CPU)
    assert found["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    found = sample(engine, box, version="1.40", **{"one-shot": True})  # not yet known
    assert found["preread"] > NEVER


@pytest.mark.operation(STATS)
@pytest.mark.parametrize("kind", ["created", "exited"])
def test_not_running(engine: Engine, kind: str) -> None:
    container = engine.create("true") if kind == "created" else engine.sh("true").id
    name = engine.inspect(container)["Name"]
    found = sample(engine, container)
    found.pop("os_type", None)
    assert found == {
        "id": container,
        "name": name,
        "read": NEVER,
        "preread": NEVER,
        "cpu_stats": NO_CPU,
        "precpu_stats": NO_CPU,
        "memory_stats": {},
        "pids_stats": {},
        "blkio_stats": dict.fromkeys(BLOCK),
        "num_procs": 0,
        "storage_stats": {},
    }


@pytest.mark.operation(STATS)
def test_paused(engine: Engine) -> None:
    container = engine.sleeper()
    engine.wire.post(f"/containers/{container}/pause", status=204)
    assert sample(engine, container, **{"one-shot": True})["pids_stats"]["current"] == 1


@pytest.mark.operation(STATS)
def test_no_such_container(engine: Engine) -> None:
    for stream in (True, False):
        answer = engine.wire.request("GET", "/containers/no-such/stats", stream=stream)
        assert (answer.status, answer.message) == (404, "No such container: no-such")


@pytest.mark.operation(STATS)
def test_networks(engine: Engine) -> None:
    container = engine.sleeper()
    engine.exec(container, "ip", "link", "set", "lo", "up")
    networks = sample(engine, container, **{"one-shot": True})["networks"]
    assert list(networks) == ["eth0"]
    assert set(networks["eth0"]) == {
        f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped")
    }
    _, gateway = engine.bridge()
    engine.exec(container, "ping", "-c", "2", "-W", "5", gateway)
    assert sample(engine, container, **{"one-shot": True})["networks"]["eth0"]["tx_packets"] >= 2
    joined = engine.sleeper(host={"NetworkMode": f"container:{container}"})
    assert list(sample(engine, joined, **{"one-shot": True})["networks"]) == ["eth0"]


@pytest.mark.operation(STATS)
@pytest.mark.parametrize("mode", ["host", "none"])
def test_no_networks(engine: Engine, mode: str) -> None:
    container = engine.sleeper(host={"NetworkMode": mode})
    assert "networks" not in sample(engine, container, **{"one-shot": True})


@pytest.mark.operation(STATS)
def test_stream(engine: Engine) -> None:
    container = engine.sleeper()
    with contextlib.closing(stream(engine, container)) as samples:
        first, second = next(samples), next(samples)
        assert (first["preread"], first["precpu_stats"]) == (NEVER, NO_CPU)
        assert (second["preread"], second["precpu_stats"]) == (first["read"], first["cpu_stats"])
        assert second["cpu_stats"]["system_cpu_usage"] > first["cpu_stats"]["system_cpu_usage"]
        engine.wire.post(f"/containers/{container}/kill", status=204)
        ended = next(one for one in samples if one["read"] == NEVER)
        assert (ended["id"], ended["memory_stats"]) == (container, {})
        engine.remove(container)
        assert all(one["read"] == NEVER for one in samples)  # and it ends


@pytest.mark.operation(STATS)
def test_stream_has_no_type_and_one_answer_has(engine: Engine, box: str) -> None:
    with engine.wire.open("GET", f"/containers/{box}/stats") as response:
        assert response.headers.get("Content-Type") is None
        assert response.readline().endswith(b"}\n")
    answer = engine.wire.request("GET", f"/containers/{box}/stats", stream=False)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.operation(STATS)
def test_a_loop_uses_its_cpu(engine: Engine) -> None:
    container = engine.run("sh", "-c", "while :; do :; done", host={"NanoCpus": 200_000_000})
    found = sample(engine, container)
    now, before = found["cpu_stats"], found["precpu_stats"]
    assert now["cpu_usage"]["total_usage"] > before["cpu_usage"]["total_usage"]
    assert now["throttling_data"]["periods"] > 0


@pytest.mark.operation(STATS)
def test_docker_stats(engine: Engine, cli: Cli) -> None:
    one, two = engine.sleeper(host={"Memory": 32 * MB}), engine.sleeper()
    form = "{{.ID}} {{.MemUsage}} {{.PIDs}} {{.NetIO}} {{.CPUPerc}}"

    def told() -> bool:
        """The command line waits for two seconds, which need not be enough for every engine."""
        out = cli.text("stats", "--no-stream", "--no-trunc", "--format", form)
        lines = {line.split()[0]: line for line in out.splitlines()}
        assert {one, two} <= set(lines)
        fields = lines[one].split()
        return fields[2:5] == ["/", "32MiB", "1"] and fields[-1].endswith("%")

    until(told)
    stopped = engine.create("true")
    out = cli.text("stats", "--no-stream", "--all", "--no-trunc", "--format", "{{.ID}}")
    assert {one, two, stopped} <= set(out.split())


@pytest.mark.operation(STATS)
def test_dockerpy(engine: Engine, box: str) -> None:
    container = engine.docker.containers.get(box)
    assert container.stats(stream=False)["precpu_stats"]["system_cpu_usage"] > 0
    assert next(container.stats(decode=True))["id"] == box


@pytest.mark.operation(TOP)
def test_top_with_arguments(engine: Engine, cli: Cli) -> None:
    container = engine.sleeper()
    pid = str(engine.state(container)["Pid"])
    lines = cli.text("top", container, "aux").splitlines()
    assert lines[0].split()[:2] == ["USER", "PID"] and lines[1].split()[1] == pid
    assert lines[1].endswith("sleep 1000")
    lines = cli.text("top", container, "-o", "pid,comm").splitlines()
    assert [line.split() for line in lines] == [["PID", "COMMAND"], [pid, "sleep"]]
    # ps cannot have its forest and -q together: all processes are asked for then
    assert cli.text("top", container, "axf").splitlines()[1].split()[0] == pid
    assert len(cli.text("top", container, "-eLf").splitlines()) == 2


@pytest.mark.operation(TOP)
def test_top_shows_all_processes_of_the_container(engine: Engine) -> None:
    container = engine.run("sh", "-c", "sleep 1000 & sleep 1001 & wait")
    engine.docker.api.exec_start(engine.docker.api.exec_create(container, "sleep 1002"), detach=True)
    found = engine.wire.get(f"/containers/{container}/top", ps_args="-o pid,args")
    commands = {process[1] for process in found["Processes"]}
    assert {"sleep 1000", "sleep 1001", "sleep 1002"} <= commands


@pytest.mark.operation(TOP)
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("-o comm", "Couldn't find PID field in ps output"),
        ("-o pid= -o comm", "Couldn't find PID field in ps output"),
        ("-o x=PID", 'specifying "x=PID" is not allowed'),
        ("bogus", "ps: error: unsupported option (BSD syntax)"),
        ("aux; id", "ps: error: unsupported option (BSD syntax)"),
        ("-C no-such", "ps: exit status 1"),
    ],
)
def test_top_errors(engine: Engine, box: str, arguments: str, text: str) -> None:
    answer = engine.wire.request("GET", f"/containers/{box}/top", ps_args=arguments)
    assert (answer.status, answer.message) == (500, text)
