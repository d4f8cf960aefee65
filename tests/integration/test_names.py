"""Names on user-defined networks, asked from within the containers; other servers; hostile clients."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import nameskit
from tests.integration.daemon import Daemon, running_daemon, wait_until
from tests.integration.nameskit import addresses, becomes, network, sleeper

pytestmark = pytest.mark.root

#: What the daemon sees as the host's: a resolver on loopback, which only the host's namespace reaches.
RESOLV_CONF = "nameserver 127.0.0.54\nsearch lan.example\n"
_WITH_FILE = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("names")
    (folder / "resolv.conf").write_text(RESOLV_CONF)
    daemon = Daemon(folder / "d")
    (folder / "d").mkdir()
    daemon.prefix = ["unshare", "-m", "sh", "-c", _WITH_FILE, str(folder / "resolv.conf")]
    try:
        daemon.start()
        daemon.image()
        yield daemon
    except BaseException:
        print(daemon.log.read_text()[-6000:])
        raise
    finally:
        daemon.destroy()


@pytest.fixture(scope="module")
def two(daemon: Daemon) -> list[tuple[str, str]]:
    network(daemon, "pair")
    return [sleeper(daemon, name, "pair", "both", f"alias-{name}") for name in ("one", "two")]


def test_names_by_udp_and_tcp(two: list[tuple[str, str]]) -> None:
    (netns, one), (_, second) = two
    for tcp in (False, True):
        assert addresses(netns, "two", tcp=tcp) == [second]
        assert addresses(netns, "alias-two.pair", tcp=tcp) == [second]
        assert addresses(netns, "both", tcp=tcp) == sorted([one, second])


def test_port_53_is_the_containers_own(two: list[tuple[str, str]]) -> None:
    (netns, _), (_, second) = two
    with nameskit.inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind(("0.0.0.0", 53))
        assert addresses(netns, "two") == [second]


def test_the_hosts_loopback_resolver_is_asked_from_the_host(
    daemon: Daemon, two: list[tuple[str, str]]
) -> None:
    netns = two[0][0]
    assert addresses(netns, "out.side") == []  # nobody is there
    with nameskit.serving(f"/run/netns/{daemon.name}", "127.0.0.54", "192.0.2.1") as server:
        assert addresses(netns, "out.side") == ["192.0.2.1"]
        assert addresses(netns, "out.side", tcp=True) == ["192.0.2.1"]
        assert server.asked == ["udp", "tcp"]
        network(daemon, "closed", Internal=True)
        inner, address = sleeper(daemon, "inner", "closed")
        assert addresses(inner, "inner") == [address]
        assert addresses(inner, "secret.data.example") == []
        assert server.asked == ["udp", "tcp"]
        # With a second network it is not closed any more, and is again without.
        daemon.call("POST", "/networks/pair/connect", {"Container": "inner"})
        assert addresses(inner, "out.side") == ["192.0.2.1"]
        assert addresses(inner, "two") == [two[1][1]]
        daemon.call("POST", "/networks/pair/disconnect", {"Container": "inner"})
        assert addresses(inner, "out.side") == addresses(inner, "two") == []


def test_given_servers_are_asked_from_the_container(daemon: Daemon, two: list[tuple[str, str]]) -> None:
    other, address = two[1]
    netns, _ = sleeper(daemon, "given", "pair", Dns=[address], DnsOptions=["ndots:2"])
    with nameskit.serving(other, "0.0.0.0", "192.0.2.2") as server:
        assert addresses(netns, "out.side") == ["192.0.2.2"]
        assert addresses(netns, "out.side", tcp=True) == ["192.0.2.2"]
        assert addresses(netns, "nodots") == []
        assert server.asked == ["udp", "tcp"]


def test_a_network_is_seen_by_its_containers_only(daemon: Daemon, two: list[tuple[str, str]]) -> None:
    network(daemon, "apart")
    netns, address = sleeper(daemon, "lonely", "apart", "both")
    assert addresses(netns, "both") == [address]
    assert addresses(netns, "one") == addresses(netns, "one.pair") == []
    assert address not in (addresses(two[0][0], "both") or [])


def test_a_container_of_the_default_network_gets_a_resolver_when_it_is_connected(
    daemon: Daemon, two: list[tuple[str, str]]
) -> None:
    netns, _ = sleeper(daemon, "late", "bridge")
    assert addresses(netns, "one", seconds=0.3) is None
    daemon.call("POST", "/networks/pair/connect", {"Container": "late"})
    assert addresses(netns, "one") == [two[0][1]]
    folder = daemon.data_root / "containers" / daemon.inspect("late")["Id"]
    assert "nameserver 127.0.0.11\n" in (folder / "resolv.conf").read_text()
    assert addresses(netns, "out.side") == []  # asked, and nobody is there


def test_a_new_name_is_answered_and_the_old_one_is_not(daemon: Daemon, two: list[tuple[str, str]]) -> None:
    _, address = sleeper(daemon, "old-name", "pair")
    assert addresses(two[0][0], "old-name") == [address]
    daemon.call("POST", "/containers/old-name/rename?name=new-name")
    assert addresses(two[0][0], "new-name") == [address]
    assert addresses(two[0][0], "old-name") == []


def test_nothing_is_left_of_a_container(daemon: Daemon, two: list[tuple[str, str]]) -> None:
    pid = nameskit.resolver(daemon)
    assert pid is not None
    wait_until(lambda: _quiet(pid), "the resolver to be at rest")
    before = nameskit.descriptors(pid)
    for _ in range(3):
        netns, address = sleeper(daemon, "short", "pair")
        assert addresses(two[0][0], "short") == [address]
        assert nameskit.descriptors(pid) == before + 3
        daemon.call("DELETE", "/containers/short?force=1")
        assert addresses(two[0][0], "short") == []
        wait_until(lambda: nameskit.descriptors(pid) == before, "the sockets to be closed")
        assert not Path(netns).exists()
    assert nameskit.resolver(daemon) == pid


def _quiet(pid: int) -> bool:
    first = nameskit.descriptors(pid)
    nameskit.pause()
    return nameskit.descriptors(pid) == first


def test_hostile_clients_harm_nobody(daemon: Daemon, two: list[tuple[str, str]]) -> None:
    (netns, one), (other, _) = two
    pid = nameskit.resolver(daemon)
    with nameskit.inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.connect(("127.0.0.11", 53))
        for size in (0, 1, 11, 12, 13, 512, 4000, 9000, 65000):
            for _ in range(50):
                sock.send(os.urandom(size))
        for _ in range(5000):
            sock.send(nameskit.query("flood.example"))
        becomes(other, "one", [one], "an answer to others")
    becomes(netns, "one", [one], "an answer to the one who asks too much")
    clients = []
    for _ in range(300):
        sock = nameskit.inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        sock.settimeout(20)
        sock.connect(("127.0.0.11", 53))
        sock.send(b"\0")
        clients.append(sock)
    assert addresses(netns, "one", tcp=True) == addresses(other, "one", tcp=True) == [one]
    for sock in clients:
        sock.close()
    assert nameskit.resolver(daemon) == pid


def test_the_resolver_is_small(daemon: Daemon, two: list[tuple[str, str]]) -> None:
    pid = nameskit.resolver(daemon)
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    private = sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))
    assert private < 16 * 1024


def test_a_shared_namespace_has_the_owners_resolver(daemon: Daemon, two: list[tuple[str, str]]) -> None:
    container = daemon.run(["sleep", "100000"], HostConfig={"NetworkMode": "container:one"})
    assert addresses(nameskit.netns_of(daemon, container), "two") == [two[1][1]]


def test_start_of_a_daemon_without_networks_needs_no_resolver() -> None:
    with running_daemon() as plain:
        plain.image()
        plain.run(["sleep", "100000"])
        assert nameskit.resolver(plain) is None
