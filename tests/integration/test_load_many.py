"""Many containers at once: all of them work, they cost what they may, and nothing of them stays."""

import time
from collections.abc import Iterator

import pytest

from tests.integration.daemon import Daemon, running_daemon, wait_until
from tests.integration.loadkit import (
    NO_NETWORK,
    abort_attach,
    at_once,
    family,
    open_files,
    pss,
    rss,
    shim_of,
)

pytestmark = pytest.mark.root

RUNNING, CREATED, ATTACHES = 200, 2000, 10_000
# KiB; what is measured on a quiet machine is in docs/benchmarks.md, this is what no change may go beyond.
PER_RUNNING, PER_CREATED = 3 << 10, 48
SPARE = 4  # descriptors that a first use of something opens for good


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        daemon.image()
        first = daemon.run(["true"])  # warm: what the first container makes stays
        daemon.call("POST", f"/containers/{first}/wait")
        daemon.call("DELETE", f"/containers/{first}")
        yield daemon


def removed(daemon: Daemon, containers: list[str]) -> None:
    at_once(lambda container: daemon.call("DELETE", f"/containers/{container}?force=1"), containers)


def test_running_at_once(daemon: Daemon) -> None:
    census, files, memory = daemon.at_rest(), daemon.descriptors(), pss(family(daemon.pid))
    begin = time.monotonic()
    containers = at_once(lambda n: daemon.run(["sleep", "10000"], f"run{n}"), range(RUNNING))
    took = time.monotonic() - begin
    try:
        listed = daemon.call("GET", "/containers/json")
        assert len(listed) == RUNNING
        networks = [daemon.inspect(container)["NetworkSettings"] for container in containers]
        addresses = {network["Networks"]["bridge"]["IPAddress"] for network in networks}
        assert len(addresses) == RUNNING
        shims = [shim_of(daemon, container) for container in containers]
        assert len(set(shims)) == RUNNING
        inits = {daemon.inspect(container)["State"]["Pid"] for container in containers}
        own = set(family(daemon.pid)) | set(shims)
        each = (pss(own - inits) - memory) / RUNNING
        print(f"{RUNNING} started in {took:.1f} s, PSS {each:.0f} KiB each")
        assert each < PER_RUNNING
        codes = at_once(lambda container: exit_code(daemon, container), containers[::20])
        assert codes == [7] * len(codes)
    finally:
        removed(daemon, containers)
    wait_until(lambda: daemon.census() == census, "everything to be gone", 30)
    wait_until(lambda: daemon.descriptors() <= files + SPARE, "the daemon's descriptors", 30)


def exit_code(daemon: Daemon, container: str) -> int:
    """Of an exec in a container that runs among the others."""
    exec_id = daemon.call("POST", f"/containers/{container}/exec", {"Cmd": ["sh", "-c", "exit 7"]})["Id"]
    daemon.call("POST", f"/exec/{exec_id}/start", {"Detach": True})
    wait_until(lambda: not daemon.call("GET", f"/exec/{exec_id}/json")["Running"], "the exec's end", 60)
    return int(daemon.call("GET", f"/exec/{exec_id}/json")["ExitCode"])


def test_created(daemon: Daemon) -> None:
    census, files, memory = daemon.at_rest(), daemon.descriptors(), rss(daemon.pid)
    begin = time.monotonic()
    containers = at_once(lambda n: daemon.create(["true"], f"made{n}", HostConfig=NO_NETWORK), range(CREATED))
    took = time.monotonic() - begin
    try:
        each = (rss(daemon.pid) - memory) / CREATED
        print(f"{CREATED} created in {took:.1f} s, RSS {each:.1f} KiB each, {rss(daemon.pid)} KiB in all")
        assert daemon.descriptors() <= files + 8  # none for a container that does not run
        assert each < PER_CREATED
        assert daemon.call("GET", "/containers/json") == []
        begin = time.monotonic()
        listed = daemon.call("GET", "/containers/json?all=1")
        print(f"listed in {time.monotonic() - begin:.2f} s")
        assert {entry["Id"] for entry in listed} == set(containers)
        assert len(daemon.call("GET", "/containers/json?all=1&limit=5")) == 5
        found = daemon.call("GET", '/containers/json?all=1&filters={"name":["^/made77$"]}')
        assert [entry["Names"] for entry in found] == [["/made77"]]
        assert daemon.inspect("made1234")["Id"] == containers[1234]
        info = daemon.call("GET", "/info")
        assert (info["Containers"], info["ContainersStopped"]) == (CREATED, CREATED)
        daemon.call("POST", f"/containers/{containers[77]}/start")
        assert daemon.call("POST", f"/containers/{containers[77]}/wait")["StatusCode"] == 0
    finally:
        removed(daemon, containers)
    wait_until(lambda: daemon.census() == census, "everything to be gone", 30)
    wait_until(lambda: daemon.descriptors() <= files + SPARE, "the daemon's descriptors", 30)


def test_attaches_that_are_aborted(daemon: Daemon) -> None:
    script = "echo begin; while :; do echo more; sleep 0.2; done"
    container = daemon.run(["sh", "-c", script], OpenStdin=True, HostConfig=NO_NETWORK)
    try:
        shim = shim_of(daemon, container)
        wait_until(lambda: daemon.logs(container), "output")
        files, theirs = daemon.descriptors(), open_files(shim)

        def abort(times: int) -> None:
            assert all(size > 9 for size in at_once(lambda _: abort_attach(daemon, container), range(times)))
            wait_until(lambda: daemon.descriptors() <= files + SPARE, "the daemon's descriptors", 30)
            wait_until(lambda: open_files(shim) <= theirs + SPARE, "the shim's descriptors", 30)

        abort(ATTACHES // 3)  # what a first thousand leaves is what allocators keep
        before, shim_before = rss(daemon.pid), rss(shim)
        abort(ATTACHES - ATTACHES // 3)
        after, shim_after = rss(daemon.pid), rss(shim)
        print(f"daemon {before} -> {after} KiB, shim {shim_before} -> {shim_after} KiB")
        assert after - before < 8 << 10
        assert shim_after - shim_before < 1 << 10
        assert daemon.inspect(container)["State"]["Running"]
    finally:
        removed(daemon, [container])
