"""What the kernel holds after our messages, seen by other eyes (pyroute2, nft). Needs root."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

from compatd.engine.networks import Networks
from runtime.net import bridge, conntrack, nft, plan, rtnetlink
from tests.integration import net_lab
from tests.integration.net_lab import Lab, container

pytestmark = pytest.mark.root


@pytest.fixture
def lab() -> Iterator[Lab]:
    with net_lab.host_lab() as lab:
        yield lab


def endpoint(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "host_name": f"veth{number:07x}", "name": "eth0", "bridge": "docker0",
        "mac": f"02:42:ac:11:00:{number:02x}",
        "addresses": [f"172.17.0.{number}/16"], "gateway": "172.17.0.1", "mtu": 1400, **changes,
    }  # fmt: skip


def present_namespace() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


def names() -> set[str]:
    with IPRoute() as ip:
        return {link.get_attr("IFLA_IFNAME") for link in ip.get_links()}


def test_bridge_as_others_see_it(lab: Lab) -> None:
    index = bridge.ensure_bridge("docker0", ["172.17.0.1/16"], 1400)
    assert bridge.ensure_bridge("docker0", ["172.17.0.1/16"]) == index
    with IPRoute() as ip:
        (link,) = ip.link("get", index=index)
        assert link.get_attr("IFLA_MTU") == 1400
        assert link.get_attr("IFLA_ADDRESS").startswith("02:42:")
        assert link["flags"] & 1
        (address,) = [a for a in ip.get_addr(index=index) if a["family"] == socket.AF_INET]
        assert (address.get_attr("IFA_ADDRESS"), address["prefixlen"]) == ("172.17.0.1", 16)
        assert address.get_attr("IFA_BROADCAST") == "172.17.255.255"
    bridge.ensure_bridge("docker0", ["10.9.0.1/24"])
    assert bridge.link_addresses("docker0")[:1] == ["10.9.0.1/24"]
    assert bridge.routed_networks() == ["10.9.0.0/24", "198.51.100.0/24"]
    assert bridge.routed_networks(without="docker0") == ["198.51.100.0/24"]
    bridge.delete_link("docker0")
    bridge.delete_link("docker0")
    assert "docker0" not in names()


def test_a_link_that_is_no_bridge_is_left_alone(lab: Lab) -> None:
    with pytest.raises(FileExistsError, match="no bridge"):
        bridge.ensure_bridge("uplink", ["172.17.0.1/16"])


def test_container_side_as_others_see_it(lab: Lab) -> None:
    master = bridge.ensure_bridge("docker0", ["172.17.0.1/16"])
    fd = lab.new_namespace()
    home = present_namespace()
    (made,) = plan.apply(
        {"mode": "new", "endpoints": [endpoint(2)], "sysctls": {"net.ipv4.ip_unprivileged_port_start": "0"}},
        fd,
    )
    assert present_namespace() == home
    with IPRoute() as ip:
        (port,) = ip.get_links(ifname="veth0000002")
        assert port.get_attr("IFLA_MASTER") == master
        data = port.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_SLAVE_DATA")
        assert data.get_attr("IFLA_BRPORT_MODE") == 1  # hairpin
        assert data.get_attr("IFLA_BRPORT_ISOLATED") == 0
    with lab.inside(fd), IPRoute() as ip:
        (eth0,) = ip.get_links(ifname="eth0")
        assert (eth0["index"], eth0.get_attr("IFLA_ADDRESS")) == (made["index"], "02:42:ac:11:00:02")
        assert eth0.get_attr("IFLA_MTU") == 1400
        (route,) = ip.get_default_routes(family=socket.AF_INET)
        assert route.get_attr("RTA_GATEWAY") == "172.17.0.1"
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as f:
            assert f.read() == "0\n"


def test_cve_2020_13401_no_router_advertisements(lab: Lab) -> None:
    bridge.ensure_bridge("docker0", ["172.17.0.1/16"])
    four, six = lab.new_namespace(), lab.new_namespace()
    plan.apply({"mode": "new", "endpoints": [endpoint(2)]}, four)
    addresses = ["172.17.0.3/16", "fd00:17::3/64"]
    plan.apply({"mode": "new", "endpoints": [endpoint(3, addresses=addresses)]}, six)
    for fd, name, expected in (
        (four, "net/ipv6/conf/eth0/disable_ipv6", "1"),
        (six, "net/ipv6/conf/eth0/disable_ipv6", "0"),
        (six, "net/ipv6/conf/eth0/accept_ra", "0"),
        (lab.host, "net/ipv6/conf/docker0/accept_ra", "0"),
    ):
        with lab.inside(fd), open(f"/proc/sys/{name}") as f:
            assert f.read().strip() == expected, name


def test_loopback_only(lab: Lab) -> None:
    fd = lab.new_namespace()
    assert plan.apply({"mode": "new", "endpoints": [], "sysctls": {}}, fd) == []
    with lab.inside(fd), rtnetlink.open_route() as sock:
        assert [(link["name"], link["up"]) for link in rtnetlink.links(sock)] == [("lo", True)]
        assert sorted(rtnetlink.addresses(sock)) == ["127.0.0.1/8", "::1/128"]
    assert plan.apply({"mode": "host"}, lab.host) == []


@pytest.mark.parametrize(
    ("changes", "deed"),
    [
        ({"host_name": "docker0"}, "add veth docker0: File exists"),
        ({"gateway": "10.1.2.3"}, "add route default via 10.1.2.3: Network is unreachable"),
        ({"bridge": "gone0"}, "find link gone0: No such device"),
    ],
)
def test_errors_name_the_deed_and_the_thread_is_home(lab: Lab, changes: dict[str, Any], deed: str) -> None:
    bridge.ensure_bridge("docker0", ["172.17.0.1/16"])
    home = present_namespace()
    before = len(os.listdir("/proc/self/fd"))
    fd = lab.new_namespace()
    with pytest.raises(OSError, match=deed):
        plan.apply({"mode": "new", "endpoints": [endpoint(2, **changes)]}, fd)
    assert present_namespace() == home
    assert len(os.listdir("/proc/self/fd")) == before + 1


def test_table_reads_well_and_is_replaced_at_once(lab: Lab) -> None:
    firewall = nft.Firewall("compatd-test")
    network = nft.Network("docker0", ("172.17.0.0/16",))
    ports = [nft.Binding("0.0.0.0", "tcp", 8080, "172.17.0.2", 80, "web")]
    local = [nft.Binding("127.0.0.1", "udp", 53, "172.17.0.3", 53)]
    firewall.rebuild([network], ports)
    firewall.publish(local)
    firewall.publish(local)  # the same again is no error
    assert sorted(firewall.listing()) == sorted(ports + local)
    with pytest.raises(FileExistsError):
        firewall.publish([ports[0]._replace(container_port=81)])
    if shutil.which("nft"):
        text = subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
        for line in (
            'tcp . 8080 comment "web" : 172.17.0.2 . 80',
            "dnat ip to meta l4proto . th dport map @published",
            'ip saddr 172.17.0.0/16 oifname != "docker0" masquerade comment "docker0 to outside"',
            "iifname . oifname @icc accept",
            'elements = { "docker0" }',
        ):
            assert line in text
    firewall.withdraw([*ports, nft.Binding("0.0.0.0", "tcp", 1, "172.17.0.9", 1)])
    assert firewall.listing() == local
    firewall.rebuild([network, nft.Network("br1", ("172.18.0.0/16",), icc=False)], ports)
    assert firewall.listing() == ports
    firewall.delete()
    assert firewall.listing() == []
    firewall.delete()
    firewall.close()


def test_a_thousand_ports(lab: Lab) -> None:
    firewall = nft.Firewall()
    ports = [nft.Binding("0.0.0.0", "tcp", 20000 + i, "172.17.0.2", 80, "web") for i in range(1000)]
    firewall.rebuild([], ports)
    assert sorted(firewall.listing()) == ports
    firewall.withdraw(ports[::2])
    assert sorted(firewall.listing()) == ports[1::2]
    with pytest.raises(FileNotFoundError, match="no-such-table"):
        nft.Firewall("no-such-table").publish(ports)


def test_failed_batch_changes_nothing(lab: Lab) -> None:
    firewall = nft.Firewall()
    first = nft.Binding("0.0.0.0", "tcp", 80, "172.17.0.2", 80)
    firewall.rebuild([], [first])
    with pytest.raises(FileExistsError):
        firewall.publish(
            [nft.Binding("0.0.0.0", "tcp", 81, "172.17.0.2", 80), first._replace(container_port=1)]
        )
    assert firewall.listing() == [first]


def test_only_the_ports_flows_are_forgotten(lab: Lab) -> None:
    firewall = nft.Firewall()  # its nat chains switch connection tracking on
    firewall.rebuild([], [])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for port in (5353, 5354):
            client.sendto(b"x", ("198.51.100.2", port))
    assert conntrack.forget({5353}) == 1
    assert conntrack.forget({5353}) == 0
    assert conntrack.forget({5354, 1}) == 1


def test_daemon_start_forwards_and_makes_its_bridge(lab: Lab) -> None:
    networks = Networks(net_lab.config(bip="10.77.0.1/24"), net_lab.Tables(), net_lab.Events())
    asyncio.run(networks.open())
    assert networks.inspect("bridge")["IPAM"]["Config"] == [
        {"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.1"}
    ]
    with open("/proc/sys/net/ipv4/ip_forward") as f:
        assert f.read() == "1\n"
    with open("/proc/sys/net/ipv4/conf/docker0/route_localnet") as f:
        assert f.read() == "1\n"
    lease, fd = lab.start(networks, container("one"))
    assert lease.plan["endpoints"][0]["addresses"] == ["10.77.0.2/24"]
    host_name = lease.plan["endpoints"][0]["host_name"]
    assert host_name in names()
    lab.drop(fd)
    net_lab.wait_until(lambda: host_name not in names())  # the kernel removes it in its own time


def test_flushed_rules_come_back_with_the_next_published_port(lab: Lab) -> None:
    networks = Networks(net_lab.config(), net_lab.Tables(), net_lab.Events())
    asyncio.run(networks.open())
    ports = {
        key: [{"HostIp": "", "HostPort": port}] for key, port in (("80/tcp", "8080"), ("81/tcp", "8081"))
    }
    first = networks.plan(container("one", PortBindings={"80/tcp": ports["80/tcp"]}))
    with nft.Firewall() as firewall:
        firewall.delete()
        second = networks.plan(container("two", PortBindings={"81/tcp": ports["81/tcp"]}))
        assert sorted(b.host_port for b in firewall.listing()) == [8080, 8081]
    first.close()
    second.close()
