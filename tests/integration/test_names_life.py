"""The resolver's life: it outlives the daemon, is replaced when it dies, and ends when nobody needs it."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.integration import nameskit
from tests.integration.daemon import Daemon, running_daemon, wait_until
from tests.integration.nameskit import addresses, becomes, network, sleeper

pytestmark = pytest.mark.root


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with running_daemon("--live-restore") as daemon:
        daemon.image()
        yield daemon


def resolver(daemon: Daemon) -> int:
    pid = nameskit.resolver(daemon)
    assert pid is not None
    return pid


def gone(daemon: Daemon) -> None:
    wait_until(lambda: nameskit.resolver(daemon) is None, "the resolver to end")


def test_names_are_answered_while_the_daemon_is_dead(daemon: Daemon) -> None:
    network(daemon, "net")
    one, first = sleeper(daemon, "one", "net")
    two, second = sleeper(daemon, "two", "net", "mate")
    pid = resolver(daemon)
    daemon.kill()
    assert addresses(one, "mate") == [second] and addresses(two, "one") == [first]
    daemon.start()
    assert addresses(one, "mate") == [second] and resolver(daemon) == pid
    # It is the new daemon's now.
    _, third = sleeper(daemon, "three", "net", "mate")
    assert addresses(one, "mate") == sorted([second, third])
    daemon.call("DELETE", "/containers/two?force=1")
    assert addresses(one, "mate") == [third]


def test_a_container_that_ends_without_a_daemon_is_let_go(daemon: Daemon) -> None:
    network(daemon, "net")
    one, first = sleeper(daemon, "one", "net")
    sleeper(daemon, "two", "net")
    pid, container = resolver(daemon), daemon.inspect("two")["State"]["Pid"]
    open_before = nameskit.descriptors(pid)
    daemon.kill()
    os.kill(container, signal.SIGKILL)
    becomes(one, "two", [], "the name to go with its container")
    wait_until(lambda: nameskit.descriptors(pid) < open_before - 2, "the sockets to be closed")
    assert addresses(one, "one") == [first]
    daemon.start()
    assert addresses(one, "two") == [] and addresses(one, "one") == [first]


def test_a_resolver_that_dies_is_replaced(daemon: Daemon) -> None:
    network(daemon, "net")
    one, first = sleeper(daemon, "one", "net")
    sleeper(daemon, "two", "net")
    pid = resolver(daemon)
    for _ in range(2):
        os.kill(pid, signal.SIGKILL)
        becomes(one, "one", [first], "answers of a new resolver")
        assert addresses(one, "one", tcp=True) == [first]
        assert resolver(daemon) != pid
        pid = resolver(daemon)
    _, third = sleeper(daemon, "three", "net")
    assert addresses(one, "three") == [third]


def test_both_may_die(daemon: Daemon) -> None:
    network(daemon, "net")
    one, first = sleeper(daemon, "one", "net")
    daemon.kill()
    os.kill(resolver(daemon), signal.SIGKILL)
    gone(daemon)
    assert addresses(one, "one", seconds=0.3) is None
    daemon.start()
    becomes(one, "one", [first], "answers of a new resolver")


def test_a_stopped_daemon_leaves_it_to_containers_that_live_on(daemon: Daemon) -> None:
    network(daemon, "net")
    one, first = sleeper(daemon, "one", "net")
    container = daemon.inspect("one")["State"]["Pid"]
    assert daemon.stop() == 0
    assert addresses(one, "one") == [first]
    os.kill(container, signal.SIGKILL)
    gone(daemon)


def test_it_ends_with_a_daemon_that_has_no_container(daemon: Daemon) -> None:
    network(daemon, "net")
    sleeper(daemon, "one", "net")
    resolver(daemon)
    daemon.call("DELETE", "/containers/one?force=1")
    assert daemon.stop() == 0
    gone(daemon)
    assert not (daemon.exec_root / "compatd/resolver.sock").exists()


def test_a_start_while_there_is_none_waits_for_it(daemon: Daemon) -> None:
    network(daemon, "net")
    sleeper(daemon, "one", "net")
    for name in ("two", "three"):
        os.kill(resolver(daemon), signal.SIGKILL)
        netns, address = sleeper(daemon, name, "net")
        becomes(netns, name, [address], "the new container's names")
        wait_until(lambda: nameskit.resolver(daemon), "the new resolver")
