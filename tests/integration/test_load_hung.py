"""A container whose shim is stopped: others are not held up, and it can be ended."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.daemon import ApiError, Daemon, UnixConnection, running_daemon, wait_until
from tests.integration.loadkit import NO_NETWORK, shim_of

pytestmark = pytest.mark.root

AT_ONCE = 5.0  # seconds: generous, where hanging would be for ever
IN_THE_END = 60.0


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        daemon.image()
        yield daemon


@pytest.fixture
def hung(daemon: Daemon) -> Iterator[str]:
    """A running container whose shim has been stopped."""
    container = daemon.run(["sleep", "10000"], HostConfig=NO_NETWORK)
    shim = shim_of(daemon, container)
    os.kill(shim, signal.SIGSTOP)
    wait_until(
        lambda: Path(f"/proc/{shim}/stat").read_text().rpartition(")")[2].split()[0] == "T", "the stop"
    )
    yield container
    try:
        daemon.call("DELETE", f"/containers/{container}?force=1")
    except ApiError as error:
        assert error.args[0] == 404


def within(seconds: float, call: Callable[[], object]) -> object:
    """The call's answer, which must come in time."""
    begin = time.monotonic()
    answer = call()
    assert time.monotonic() - begin < seconds
    return answer


def gone(daemon: Daemon, container: str) -> bool:
    try:
        daemon.inspect(container)
    except ApiError as error:
        return bool(error.args[0] == 404)
    return False


def test_others_are_not_held_up(daemon: Daemon, hung: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(daemon.call, "POST", f"/containers/{hung}/kill?signal=TERM")
        listed = within(AT_ONCE, lambda: daemon.call("GET", "/containers/json"))
        assert isinstance(listed, list)
        assert [entry["Id"] for entry in listed] == [hung]
        assert within(AT_ONCE, lambda: daemon.inspect(hung)["State"]["Running"]) is True
        assert within(AT_ONCE, lambda: daemon.call("GET", "/info")["ContainersRunning"]) == 1
        other = daemon.run(["sh", "-c", "exit 3"], HostConfig=NO_NETWORK)
        assert daemon.call("POST", f"/containers/{other}/wait")["StatusCode"] == 3
        daemon.call("DELETE", f"/containers/{other}")
        with pytest.raises(ApiError, match="does not answer"):
            waiting.result(IN_THE_END)


def test_top_and_stats_of_it(daemon: Daemon, hung: str) -> None:
    """They need no shim."""
    assert within(AT_ONCE, lambda: len(daemon.call("GET", f"/containers/{hung}/top")["Processes"])) == 1
    stats = within(AT_ONCE, lambda: daemon.call("GET", f"/containers/{hung}/stats?stream=0&one-shot=1"))
    assert isinstance(stats, dict)
    assert stats["pids_stats"]["current"] == 1


def test_attach_and_exec_are_given_up(daemon: Daemon, hung: str) -> None:
    """The client hears why; the container and its shim are as before when that goes on."""

    def attach() -> bytes:
        connection = UnixConnection(daemon.socket)
        connection.request("POST", f"/containers/{hung}/attach?stream=1&stdout=1")
        return connection.getresponse().read()  # an error of attach is text, once the client may stream

    assert re.search(
        rf"cannot attach to container {hung}: .* does not answer", str(within(IN_THE_END, attach))
    )
    made = daemon.call("POST", f"/containers/{hung}/exec", {"Cmd": ["true"]})["Id"]
    with pytest.raises(ApiError, match=f"cannot exec in container {hung}: .* does not answer"):
        within(IN_THE_END, lambda: daemon.call("POST", f"/exec/{made}/start", {"Detach": True}))
    found = daemon.call("GET", f"/exec/{made}/json")
    assert (found["Running"], found["ExitCode"]) == (False, 126)
    os.kill(shim_of(daemon, hung), signal.SIGCONT)
    again = daemon.call("POST", f"/containers/{hung}/exec", {"Cmd": ["sh", "-c", "exit 7"]})["Id"]
    daemon.call("POST", f"/exec/{again}/start", {"Detach": True})
    wait_until(lambda: not daemon.call("GET", f"/exec/{again}/json")["Running"], "the exec's end")
    assert daemon.call("GET", f"/exec/{again}/json")["ExitCode"] == 7


def test_stop(daemon: Daemon, hung: str) -> None:
    pid = daemon.inspect(hung)["State"]["Pid"]
    within(IN_THE_END, lambda: daemon.call("POST", f"/containers/{hung}/stop?t=1"))
    state = daemon.inspect(hung)["State"]
    assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 137, 0)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the process")
    daemon.call("POST", f"/containers/{hung}/start")  # and it is none the worse for it
    assert daemon.inspect(hung)["State"]["Running"]


def test_kill(daemon: Daemon, hung: str) -> None:
    within(IN_THE_END, lambda: daemon.call("POST", f"/containers/{hung}/kill"))
    assert daemon.inspect(hung)["State"]["ExitCode"] == 137


def test_remove_by_force(daemon: Daemon, hung: str) -> None:
    pid, shim = daemon.inspect(hung)["State"]["Pid"], shim_of(daemon, hung)
    within(IN_THE_END, lambda: daemon.call("DELETE", f"/containers/{hung}?force=1"))
    assert gone(daemon, hung)
    wait_until(lambda: not any(Path(f"/proc/{one}").exists() for one in (pid, shim)), "the processes")
    assert not (daemon.exec_root / "compatd/c" / hung).exists()
    wait_until(lambda: not [group for group in daemon.cgroups() if hung in group], "the cgroups")


def test_a_daemon_that_starts_meanwhile(daemon: Daemon, hung: str) -> None:
    daemon.kill()
    within(IN_THE_END, daemon.start)
    assert daemon.inspect(hung)["State"]["Running"]
    os.kill(shim_of(daemon, hung), signal.SIGCONT)
    within(IN_THE_END, lambda: daemon.call("POST", f"/containers/{hung}/stop?t=0"))
    assert daemon.inspect(hung)["State"]["ExitCode"] == 137
