"""The firewall beside others: flushed rules come back, DOCKER-USER is asked, the host's rules hold. Root."""

import asyncio
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from compatd.engine.networks import Networks
from runtime.net import forward, nft, rtnetlink
from tests.integration import net_lab
from tests.integration.net_lab import Lab, container, serve, talk, unreachable
from tests.integration.test_net_modes import World, published, serving, shim

pytestmark = pytest.mark.root
WEB = published(("80/tcp", "", "8080"))


@pytest.fixture
def lab() -> Iterator[Lab]:
    with net_lab.host_lab() as lab:
        yield lab


def run(*words: str, stdin: str = "") -> str:
    """A program of the host; its output."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"no {words[0]} here")
    return subprocess.run(words, check=True, capture_output=True, text=True, input=stdin).stdout


async def until(true: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + net_lab.TIMEOUT
    while not true():
        assert loop.time() < end, "it did not come"
        await asyncio.sleep(0.01)


def living(lab: Lab, test: Callable[[Networks], Awaitable[None]], **changes: Any) -> None:
    """Runs the test beside a daemon whose event loop runs."""

    async def main() -> None:
        networks = Networks(net_lab.config(**changes), net_lab.Tables(), net_lab.Events())
        await networks.open()
        try:
            await test(networks)
        finally:
            await networks.close()

    asyncio.run(main())


def tables() -> set[str]:
    return set(run("nft", "list", "tables").splitlines())


def test_flushed_ruleset_is_back_at_once(lab: Lab) -> None:
    async def test(networks: Networks) -> None:
        await networks.create({"Name": "apart", "Internal": True})
        web = container("web", NetworkMode="default", **WEB)
        lease, inside = lab.start(networks, web)
        before = run("nft", "list", "table", "ip", "compatd")
        run("nft", "flush", "ruleset")
        await until(lambda: "table ip6 compatd" in tables() and "table ip compatd" in tables())
        assert without_counts(run("nft", "list", "table", "ip", "compatd")) == without_counts(before)
        with lab.inside(inside):
            server = serve(80)
        with server, lab.inside(lab.outside):
            assert talk(server, ("198.51.100.1", 8080)) == "198.51.100.2"
            assert unreachable(("172.17.0.2", 80))
        lease.close()

    living(lab, test)


def without_counts(listing: str) -> list[str]:
    """Sets have no order, counters go on."""
    return sorted(line.partition("counter packets")[0] for line in listing.splitlines())


@pytest.mark.parametrize(
    "damage",
    [
        "delete table ip compatd",
        "flush chain ip compatd forward",
        "delete element ip compatd published { tcp . 8080 }",
        "flush set ip compatd bridges",
    ],
)
def test_cve_2025_54388_what_a_reload_takes_away_is_put_back(lab: Lab, damage: str) -> None:
    async def test(networks: Networks) -> None:
        lease, _ = lab.start(networks, container("web", NetworkMode="default", **WEB))
        before = without_counts(run("nft", "list", "table", "ip", "compatd"))
        run("nft", damage)
        await until(lambda: "table ip compatd" in tables() and listed() == before)
        lease.close()

    def listed() -> list[str]:
        return without_counts(run("nft", "list", "table", "ip", "compatd"))

    living(lab, test)


def test_our_own_changes_are_no_alarm(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    async def test(networks: Networks) -> None:
        web = container("web", NetworkMode="default", **WEB)
        networks.plan(web).close()
        networks.refresh_firewall()
        networks.release(web.id)
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert "put back" not in caplog.text

    living(lab, test)


def iptables(*arguments: str) -> str:
    return run("iptables-nft", *arguments)


@pytest.mark.skipif(shutil.which("iptables-nft") is None, reason="no iptables here")
def test_docker_user_is_asked_first_and_comes_back(lab: Lab) -> None:
    async def test(networks: Networks) -> None:
        lease, inside = lab.start(networks, container("web", NetworkMode="default", **WEB))
        assert iptables("-S", "FORWARD").splitlines() == ["-P FORWARD ACCEPT", "-A FORWARD -j DOCKER-USER"]
        with lab.inside(inside):
            server = serve(80)
        with server:
            with lab.inside(lab.outside):
                assert talk(server, ("198.51.100.1", 8080)) == "198.51.100.2"
            iptables("-I", "DOCKER-USER", "-i", "uplink", "-s", "198.51.100.2", "-j", "DROP")
            with lab.inside(lab.outside):
                assert unreachable(("198.51.100.1", 8080))
            iptables("-F", "DOCKER-USER")
            iptables("-F", "FORWARD")
            await until(lambda: "-A FORWARD -j DOCKER-USER" in iptables("-S", "FORWARD"))
            # What `ufw enable` does to the policy: containers go on.
            iptables("-P", "FORWARD", "DROP")
            await until(lambda: "compatd docker0" in iptables("-S", "FORWARD"))
            with lab.inside(lab.outside):
                assert talk(server, ("198.51.100.1", 8080)) == "198.51.100.2"
            iptables("-P", "FORWARD", "ACCEPT")
            await until(lambda: "compatd docker0" not in iptables("-S", "FORWARD"))
        lease.close()

    living(lab, test)


@pytest.mark.skipif(shutil.which("iptables-nft") is None, reason="no iptables here")
def test_bridges_of_networks_come_and_go_in_a_chain_that_drops(lab: Lab) -> None:
    async def test(networks: Networks) -> None:
        iptables("-P", "FORWARD", "DROP")
        run("ip6tables-nft", "-P", "FORWARD", "DROP")
        id = await networks.create({"Name": "net", "EnableIPv6": True})
        name = f"compatd br-{id[:12]}"
        assert name in iptables("-S", "FORWARD")
        await until(lambda: name in run("ip6tables-nft", "-S", "FORWARD"))
        await networks.remove("net")
        assert name not in iptables("-S", "FORWARD")

    living(lab, test)


@pytest.mark.skipif(shutil.which("iptables-nft") is None, reason="no iptables here")
def test_without_iptables_nothing_is_touched(lab: Lab) -> None:
    async def test(networks: Networks) -> None:
        lease, inside = lab.start(networks, container("web", NetworkMode="default", **WEB))
        assert tables() == set()
        with lab.inside(inside):
            server = serve(80)
        with server, shim(lease), lab.inside(lab.outside):
            assert talk(server, ("198.51.100.1", 8080)) == "172.17.0.1"  # by the relay

    living(lab, test, iptables=False)


@pytest.mark.skipif(shutil.which("iptables-nft") is None, reason="no iptables here")
def test_published_ports_obey_the_hosts_own_rules(lab: Lab) -> None:
    world = World(lab, firewall="respect-host")
    web = world.start("web", **published(("80/tcp", "", "8080"), ("81/tcp", "", "8081")))
    other = world.start("other")
    for port in ("8081", "90"):
        iptables("-A", "INPUT", "-i", "uplink", "-p", "tcp", "--dport", port, "-j", "ACCEPT")
    iptables("-A", "INPUT", "-i", "uplink", "-j", "DROP")
    with serving(lab, web, 80) as closed, serving(lab, web, 81) as opened, shim(web.lease):
        with lab.inside(lab.outside):
            assert unreachable(("198.51.100.1", 8080))
            assert talk(opened, ("198.51.100.1", 8081)) == "172.17.0.1"
        assert talk(closed, ("198.51.100.1", 8080))  # the host itself
        assert talk(closed, ("127.0.0.1", 8080))
        with lab.inside(other.fd):
            assert talk(closed, ("198.51.100.1", 8080))
        iptables("-F", "INPUT")
        with lab.inside(lab.outside):
            assert talk(closed, ("198.51.100.1", 8080)) == "172.17.0.1"


FIREWALLD = """
table inet firewalld
delete table inet firewalld
table inet firewalld {
  chain filter_INPUT {
    type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
    iifname "lo" accept
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    reject with icmpx admin-prohibited
  }
}
"""
"""What firewalld's reload does to its table, in one transaction; its zones know nothing of our bridges."""


def test_firewalld_and_its_reload(lab: Lab) -> None:
    async def test(networks: Networks) -> None:
        lease, inside = lab.start(networks, container("web", NetworkMode="default", **WEB))
        with lab.inside(inside):
            server = serve(80)
        with lab.inside(lab.outside):
            beyond = serve(90)
        here = serve(91)
        with server, beyond, here:
            for _ in range(2):
                run("nft", "-f", "-", stdin=FIREWALLD)
                await until(lambda: "compatd docker0" in run("nft", "list", "table", "inet", "firewalld"))
                with lab.inside(inside):
                    assert talk(beyond, ("198.51.100.2", 90)) == "198.51.100.1"
                    assert talk(here, ("172.17.0.1", 91)) == "172.17.0.2"
                with lab.inside(lab.outside):
                    assert talk(server, ("198.51.100.1", 8080)) == "198.51.100.2"
                    assert unreachable(("198.51.100.1", 91))
                    assert unreachable(("172.17.0.2", 80))
        lease.close()

    living(lab, test)


def test_ports_and_links_of_another_daemon_are_left_alone(lab: Lab) -> None:
    first, second = World(lab), World(lab, bridge="other0")
    first.start("web", **published(("80/tcp", "", "8080")))
    second.start("two", **published(("80/tcp", "", "8081")))
    second.networks.refresh_firewall()
    for table, port in (("compatd", 8080), ("compatd-other0", 8081)):
        with nft.Firewall(table) as firewall:
            assert [b.host_port for b in firewall.listing()] == [port]


def test_everything_is_as_before_after_a_kill(lab: Lab) -> None:
    """A daemon that is killed and one that starts on the same store: rules, bridges, addresses, routes."""
    tables_of = net_lab.Tables()

    def state() -> dict[str, Any]:
        with rtnetlink.open_route() as sock, nft.Firewall() as firewall:
            links = {
                link["index"]: (link["name"], link["up"], link["master"]) for link in rtnetlink.links(sock)
            }
            # Link-local ones come in the kernel's own time.
            addresses = sorted(a for a in rtnetlink.addresses(sock) if not a.startswith("fe80:"))
            return {
                "links": links,
                "addresses": addresses,
                "routes": rtnetlink.routes(sock),
                "ports": sorted(firewall.listing()),
            }

    networks = Networks(net_lab.config(), tables_of, net_lab.Events())
    asyncio.run(networks.open())
    asyncio.run(networks.create({"Name": "net", "EnableIPv6": True}))
    which = container("web", NetworkMode="net", **WEB)
    lab.start(networks, which)
    before = state()
    again = Networks(net_lab.config(), tables_of, net_lab.Events())
    asyncio.run(again.open())
    assert again.adopt(which) is not None
    again.settle()
    assert state() == before


def test_a_chain_of_ours_is_none_of_iptables(lab: Lab) -> None:
    World(lab)
    assert {str(c) for c in forward.chains()} >= {"ip compatd forward", "ip6 compatd forward"}
