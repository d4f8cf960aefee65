"""Networks of a container: bridge, host, none, another's; the files that go with them."""

import contextlib
import ipaddress
import re
import threading
from typing import Any

import pytest

from conformance import netns
from conformance.cli import Cli
from conformance.engine import Engine
from conformance.until import until

START = ("ContainerCreate", "ContainerStart")


def endpoint(engine: Engine, container: str) -> dict[str, Any]:
    return dict(engine.inspect(container)["NetworkSettings"]["Networks"]["bridge"])


@pytest.mark.operation(*START, "NetworkInspect")
def test_bridge(engine: Engine) -> None:
    subnet, gateway = engine.bridge()
    container = engine.sleeper()
    found = endpoint(engine, container)
    address = ipaddress.IPv4Address(found["IPAddress"])
    assert address in subnet and str(address) != gateway
    assert found["Gateway"] == gateway and found["IPPrefixLen"] == subnet.prefixlen
    assert re.fullmatch("[0-9a-f]{64}", found["EndpointID"])
    assert found["NetworkID"] == engine.wire.get("/networks/bridge")["Id"]
    mac = found["MacAddress"]
    out = engine.exec(container, "ip", "-o", "addr", "show", "eth0").out
    assert f"inet {address}/{subnet.prefixlen} brd {subnet.broadcast_address} scope global eth0" in out
    out = engine.exec(container, "ip", "link", "show", "eth0").out
    assert f"link/ether {mac}" in out and ",UP," in out and "mtu 1500" in out
    assert (
        engine.exec(container, "ip", "route")
        .out.splitlines()[0]
        .strip()
        .startswith(f"default via {gateway} dev eth0")
    )
    assert ",UP" in engine.exec(container, "ip", "link", "show", "lo").out
    assert engine.exec(container, "ls", "/sys/class/net").out.split() == ["eth0", "lo"]


@pytest.mark.operation(*START)
def test_containers_reach_each_other(engine: Engine) -> None:
    server = engine.run("sh", "-c", "echo hello >/tmp/index.html; exec httpd -f -p 80 -h /tmp")
    address = endpoint(engine, server)["IPAddress"]
    client = engine.sleeper()
    until(lambda: engine.get_from(client, address, 80).endswith("\r\n\r\nhello\n"))
    assert engine.exec(client, "ping", "-c", "1", "-W", "5", address).code == 0


@pytest.mark.operation(*START)
def test_container_reaches_the_host(engine: Engine) -> None:
    _, gateway = engine.bridge()
    box = engine.sleeper()  # docker0 is up only while somebody is on it
    with netns.listener("0.0.0.0") as sock:
        sock.settimeout(30)
        port = sock.getsockname()[1]
        peers = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, peer = sock.accept()
                peers.append(peer[0])
                connection.sendall(b"from the host\n")
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        out = engine.exec(box, "nc", gateway, str(port)).out
        thread.join()
    assert out == "from the host\n"
    assert peers == [endpoint(engine, box)["IPAddress"]]  # no masquerade on the way to the host


@pytest.mark.operation(*START)
def test_host_reaches_the_container(engine: Engine) -> None:
    server = engine.run("sh", "-c", "echo hello >/tmp/index.html; exec httpd -f -p 80 -h /tmp")
    address = endpoint(engine, server)["IPAddress"]
    assert until(lambda: netns.fetch(address, 80)) == b"hello\n"


@pytest.mark.operation(*START)
@pytest.mark.local
def test_udp_to_a_container(engine: Engine) -> None:
    server = engine.sleeper()
    address = endpoint(engine, server)["IPAddress"]
    with netns.udp_echo(5300, engine.state(server)["Pid"]):
        assert until(lambda: netns.udp_ask(address, 5300, b"hi")) == b"got hi"


@pytest.mark.operation(*START)
def test_addresses_differ_and_come_back(engine: Engine) -> None:
    boxes = [engine.sleeper() for _ in range(3)]
    found = {endpoint(engine, box)["IPAddress"] for box in boxes}
    assert len(found) == 3
    assert len({endpoint(engine, box)["MacAddress"] for box in boxes}) == 3


@pytest.mark.operation(*START, "NetworkInspect")
def test_network_lists_its_containers(engine: Engine) -> None:
    name = engine.name()
    container = engine.sleeper(name=name)
    found = engine.wire.get("/networks/bridge")["Containers"][container]
    mine = endpoint(engine, container)
    assert found["Name"] == name
    assert found["EndpointID"] == mine["EndpointID"]
    assert found["MacAddress"] == mine["MacAddress"]
    assert found["IPv4Address"] == f"{mine['IPAddress']}/{mine['IPPrefixLen']}"
    engine.remove(container)
    assert container not in engine.wire.get("/networks/bridge")["Containers"]


@pytest.mark.operation(*START)
def test_host_network(engine: Engine, cli: Cli) -> None:
    with netns.listener("127.0.0.1") as sock:
        sock.settimeout(30)
        port = sock.getsockname()[1]
        with cli.popen(
            "run", "--rm", "--network", "host", engine.image, "nc", "127.0.0.1", str(port)
        ) as process:
            connection, _ = sock.accept()
            connection.sendall(b"over lo")
            connection.close()
            assert process.communicate(timeout=30)[0] == b"over lo"
    container = engine.sleeper(host={"NetworkMode": "host"})
    found = engine.inspect(container)
    assert list(found["NetworkSettings"]["Networks"]) == ["host"]
    assert found["NetworkSettings"]["Networks"]["host"]["IPAddress"] == ""
    assert re.fullmatch("[0-9a-f]{64}", found["NetworkSettings"]["Networks"]["host"]["NetworkID"])
    assert found["Config"]["Hostname"] == engine.info["Name"]
    assert engine.exec(container, "hostname").out.strip() == engine.info["Name"]


@pytest.mark.operation(*START)
def test_network_none(engine: Engine, cli: Cli) -> None:
    container = cli.text(
        "run", "-d", "--network", "none", engine.image, "sh", "-c", "ls /sys/class/net; ip -o addr; ip route"
    )
    engine.wait(container)
    lines = engine.logs(container)[0].splitlines()
    assert lines[0] == "lo" and all(" lo " in line for line in lines[1:])
    found = engine.inspect(container)["NetworkSettings"]
    assert list(found["Networks"]) == ["none"]
    assert found["Ports"] == {}


@pytest.mark.operation(*START)
def test_network_of_another_container(engine: Engine) -> None:
    first = engine.sleeper()
    second = engine.sleeper(host={"NetworkMode": f"container:{first}"})
    own, other = (engine.exec(box, "readlink", "/proc/self/ns/net").out for box in (first, second))
    assert own == other
    assert engine.exec(second, "hostname").out == f"{first[:12]}\n"
    found = engine.inspect(second)
    assert found["HostConfig"]["NetworkMode"] == f"container:{first}"
    assert found["NetworkSettings"]["Networks"] == {}


@pytest.mark.operation("ContainerCreate", "ContainerStart")
def test_unknown_network(engine: Engine, cli: Cli) -> None:
    done = cli("run", "--rm", "--network", engine.prefix + "-nope", engine.image, "true", check=False)
    assert done.code == 125
    assert f"network {engine.prefix}-nope not found" in done.err


@pytest.mark.operation("ContainerCreate")
def test_what_does_not_go_together(engine: Engine) -> None:
    box = engine.sleeper()
    for host, config in (
        ({"NetworkMode": f"container:{box}"}, {"Hostname": "x"}),
        ({"NetworkMode": f"container:{box}", "PortBindings": {"80/tcp": [{"HostPort": "0"}]}}, {}),
    ):
        answer = engine.wire.request(
            "POST", "/containers/create", {"Image": engine.image, "HostConfig": host, **config}
        )
        assert answer.status == 400
        assert "conflicting options" in answer.message


@pytest.mark.operation(*START)
def test_hosts_file(engine: Engine) -> None:
    container = engine.sleeper(Hostname="given", Domainname="example.org")
    address = endpoint(engine, container)["IPAddress"]
    lines = [line.split() for line in engine.exec(container, "cat", "/etc/hosts").out.splitlines()]
    assert ["127.0.0.1", "localhost"] in lines
    assert ["::1", "localhost", "ip6-localhost", "ip6-loopback"] in lines
    for line in (
        ["fe00::0", "ip6-localnet"],
        ["ff00::0", "ip6-mcastprefix"],
        ["ff02::1", "ip6-allnodes"],
        ["ff02::2", "ip6-allrouters"],
    ):
        assert line in lines or [line[0].replace("::0", "::"), line[1]] in lines
    assert [address, "given.example.org", "given"] in lines


@pytest.mark.operation(*START)
def test_files_can_be_written_and_are_mounts(engine: Engine) -> None:
    container = engine.sleeper()
    mounts = engine.exec(container, "cat", "/proc/mounts").out
    for path in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"):
        assert f" {path} " in mounts
        assert (
            engine.exec(container, "sh", "-c", f"echo '# x' >>{path}; tail -n 1 {path}").out.strip() == "# x"
        )


@pytest.mark.operation(*START)
def test_resolv_conf(engine: Engine) -> None:
    """Of the host's, or public resolvers where the host's are all on loopback."""
    text = engine.sh("cat /etc/resolv.conf").out
    servers = re.findall(r"(?m)^nameserver (\S+)$", text)
    assert servers and not any(ipaddress.ip_address(s).is_loopback for s in servers)


@pytest.mark.operation(*START)
def test_extra_host_gateway(engine: Engine) -> None:
    _, gateway = engine.bridge()
    out = engine.sh("cat /etc/hosts", host={"ExtraHosts": ["up:host-gateway"]}).out
    assert [gateway, "up"] in [line.split() for line in out.splitlines()]


@pytest.mark.operation("NetworkList", "NetworkInspect")
def test_predefined_networks(engine: Engine) -> None:
    found = {n["Name"]: n for n in engine.wire.get("/networks")}
    assert (found["bridge"]["Driver"], found["host"]["Driver"], found["none"]["Driver"]) == (
        "bridge",
        "host",
        "null",
    )
    options = found["bridge"]["Options"]
    assert options["com.docker.network.bridge.default_bridge"] == "true"
    assert options["com.docker.network.bridge.name"]
    assert found["bridge"]["Scope"] == "local" and found["bridge"]["Internal"] is False
    one = engine.wire.get(f"/networks/{found['bridge']['Id']}")
    assert one["Name"] == "bridge"
    answer = engine.wire.request("DELETE", "/networks/bridge")
    assert (answer.status, answer.message) == (403, "bridge is a pre-defined network and cannot be removed")


@pytest.mark.operation(*START)
def test_network_is_new_after_a_restart(engine: Engine) -> None:
    container = engine.sleeper()
    engine.wire.post(f"/containers/{container}/restart", status=204, t=0)
    found = endpoint(engine, container)
    assert f"inet {found['IPAddress']}/" in engine.exec(container, "ip", "-o", "addr", "show", "eth0").out
    engine.wire.post(f"/containers/{container}/kill", status=204)
    engine.wait(container)
    assert endpoint(engine, container)["IPAddress"] == ""


@pytest.mark.operation(*START)
def test_ping_by_a_user(engine: Engine) -> None:
    """Unprivileged ping and low ports, as engines since 20.10 allow them."""
    assert engine.sh("cat /proc/sys/net/ipv4/ping_group_range").out.split() == ["0", "2147483647"]
    assert engine.sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start").out == "0\n"
    container = engine.sleeper(User="user", host={"CapDrop": ["ALL"]})
    assert engine.exec(container, "httpd", "-p", "80").code == 0


@pytest.mark.operation(*START)
def test_host_name_resolves_itself(engine: Engine) -> None:
    container = engine.sleeper()
    address = endpoint(engine, container)["IPAddress"]
    out = engine.exec(container, "ping", "-c", "1", "-W", "5", container[:12]).out
    assert f"({address})" in out
