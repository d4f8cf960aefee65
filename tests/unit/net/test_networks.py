"""What a container gets of its networks and gives back; bridge and firewall are fakes."""

from pathlib import Path

import pytest

from compatd.engine.errors import Conflict, EngineError, Forbidden, InvalidParameter, NotFound
from compatd.engine.networks import table_name
from runtime.net import nft
from tests.integration.net_lab import container
from tests.unit.net.netkit import Kernel, World, bindings


def test_default_bridge(world: World) -> None:
    lease = world.plan("web", PortBindings=bindings("80/tcp", ("", "8080")))
    (endpoint,) = lease.plan["endpoints"]
    on_bridge = lease.settings["Networks"]["bridge"]
    assert endpoint == {
        "kind": "bridge", "host_name": "veth" + on_bridge["EndpointID"][:7], "name": "eth0",
        "bridge": "docker0", "mac": "02:42:ac:11:00:02", "addresses": ["172.17.0.2/16"],
        "gateway": "172.17.0.1", "gateway6": None, "mtu": 1500, "hairpin": True, "isolated": False,
        "sysctls": {},
    }  # fmt: skip
    assert lease.plan["mode"] == "new"
    assert len(lease.holds) == 2
    assert lease.settings["Ports"]["80/tcp"] == [
        {"HostIp": "0.0.0.0", "HostPort": "8080"},
        {"HostIp": "::", "HostPort": "8080"},
    ]
    assert world.firewall.ports == [nft.Binding("0.0.0.0", "tcp", 8080, "172.17.0.2", 80, "web")]
    assert world.events.seen == [
        ("network", "connect", on_bridge["NetworkID"],
         {"container": container("web").id, "name": "bridge", "type": "bridge"}),
    ]  # fmt: skip


def test_release_gives_everything_back(world: World) -> None:
    web = container("web", PortBindings=bindings("80/tcp", ("", "8080")))
    world.networks.plan(web).close()
    world.networks.release(web.id)
    world.networks.release(web.id)  # again is nothing
    assert world.firewall.ports == []
    assert world.tables.endpoints.rows == {}
    assert [action for _, action, _, _ in world.events.seen] == ["connect", "disconnect"]
    again = world.plan("other", PortBindings=bindings("80/tcp", ("", "8080")))
    assert again.settings["IPAddress"] == "172.17.0.2"


def test_port_of_another_container(world: World) -> None:
    world.plan("one", PortBindings=bindings("80/tcp", ("127.0.0.1", "18099")))
    with pytest.raises(EngineError) as raised:
        world.plan("rec-port", PortBindings=bindings("80/tcp", ("127.0.0.1", "18099")))
    head, _, tail = raised.value.message.partition(" (")
    endpoint_id, _, reason = tail.partition("): ")
    assert head == (
        "failed to set up container networking: "
        "driver failed programming external connectivity on endpoint rec-port"
    )
    assert len(bytes.fromhex(endpoint_id)) == 32
    assert reason == "Bind for 127.0.0.1:18099 failed: port is already allocated"
    assert raised.value.status == 500


def test_failure_leaves_nothing(world: World) -> None:
    world.plan("one", PortBindings=bindings("80/tcp", ("", "8081")))
    before = (dict(world.tables.endpoints.rows), list(world.firewall.ports), len(world.events.seen))
    with pytest.raises(EngineError):
        world.plan(
            "two", PortBindings={**bindings("80/tcp", ("", "8080")), **bindings("81/tcp", ("", "8081"))}
        )
    world.firewall.fail = OSError(1, "add elements")
    with pytest.raises(EngineError, match="external connectivity"):
        world.plan("two", PortBindings=bindings("80/tcp", ("", "8080")))
    world.firewall.fail = None
    assert (world.tables.endpoints.rows, world.firewall.ports, len(world.events.seen)) == before
    assert (
        world.plan("two", PortBindings=bindings("80/tcp", ("", "8080"))).settings["IPAddress"] == "172.17.0.3"
    )


def test_exposed_and_published_ports(world: World) -> None:
    lease = world.plan("web", exposed={"80/tcp": {}, "443": {}}, PublishAllPorts=True)
    assert {key: len(found) for key, found in lease.settings["Ports"].items()} == {"80/tcp": 2, "443/tcp": 2}
    assert world.plan("quiet", exposed={"80/tcp": {}}).settings["Ports"] == {"80/tcp": None}


def test_mac_address_of_the_request(world: World) -> None:
    lease = world.plan("new", {"bridge": {"MacAddress": "02:42:AC:11:00:98"}})
    assert lease.plan["endpoints"][0]["mac"] == "02:42:ac:11:00:98"


def test_address_of_ones_own_is_for_user_networks(world: World) -> None:
    with pytest.raises(InvalidParameter, match="user-specified IP address is supported on user-defined"):
        world.plan("fixed", {"bridge": {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}})
    with pytest.raises(InvalidParameter, match="network-scoped aliases are only supported for user-defined"):
        world.plan("fixed", {"bridge": {"Aliases": ["a"]}})


def test_host_and_none(world: World) -> None:
    host, none = world.plan("host", NetworkMode="host"), world.plan("none", NetworkMode="none")
    assert host.plan == {"mode": "host"}
    assert host.settings["SandboxKey"] == "/run/docker/netns/default"
    assert host.settings["Networks"]["host"]["NetworkID"] == world.networks.inspect("host")["Id"]
    assert none.plan == {"mode": "new", "endpoints": [], "sysctls": {}}
    assert list(none.settings["Networks"]) == ["none"]
    assert [e[3]["type"] for e in world.events.seen] == ["host", "null"]


def test_another_containers_namespace(world: World, tmp_path: Path) -> None:
    other = container("other", tmp_path)
    known = {other.id: other, "other": other}
    world.networks.find = known.get
    with pytest.raises(Conflict, match="cannot join network namespace of a non running container"):
        world.plan("x", NetworkMode="container:other")
    other.pid = 4711
    x = container("x", NetworkMode="container:" + other.id)
    joined = world.networks.plan(x)
    assert x.config["Hostname"] == other.config["Hostname"]
    assert joined.plan == {"mode": "container", "pid": 4711}
    assert joined.settings == {"SandboxID": "", "SandboxKey": "", "Ports": {}, "Networks": {}}
    with pytest.raises(NotFound, match="No such container: nope"):
        world.plan("x", NetworkMode="container:nope")
    paths = world.networks.write_files(container("x", NetworkMode="container:other"))
    assert paths["hosts"] == tmp_path / "hosts"


def test_unknown_network(world: World) -> None:
    with pytest.raises(NotFound, match=r"^failed to set up container networking: network nope not found$"):
        world.plan("x", NetworkMode="nope")


def test_files_are_written_after_the_plan(world: World, tmp_path: Path) -> None:
    web = container("web", tmp_path)
    world.networks.plan(web)
    paths = world.networks.write_files(web)
    assert paths["hostname"].read_text() == web.id[:12] + "\n"
    assert paths["hosts"].read_text().endswith(f"172.17.0.2\t{web.id[:12]}\n")
    assert "nameserver" in paths["resolv.conf"].read_text()


def test_restart_of_the_daemon_keeps_running_containers_and_frees_the_rest(world: World) -> None:
    lives = container("lives", PortBindings=bindings("80/tcp", ("", "8080")))
    dead = container("dead", PortBindings=bindings("80/tcp", ("", "8081")))
    before = world.networks.plan(lives).settings
    world.networks.plan(dead)
    second = World(world.tables)
    assert second.networks.inspect("bridge")["Id"] == world.networks.inspect("bridge")["Id"]
    assert len(second.firewall.ports) == 2  # nothing is lost while it is not known who lives
    assert second.networks.adopt(lives) == before
    second.networks.settle()
    assert [p.host_port for p in second.firewall.ports] == [8080]
    assert list(second.networks.inspect("bridge")["Containers"]) == [lives.id]
    with pytest.raises(EngineError, match="already allocated"):
        second.plan("x", PortBindings=bindings("80/tcp", ("", "8080")))
    fresh = second.plan("y", PortBindings=bindings("80/tcp", ("", "8081")))
    assert fresh.settings["IPAddress"] == "172.17.0.3"
    assert second.networks.adopt(container("stranger")) is None


def test_list_and_inspect(world: World) -> None:
    world.plan("web")
    names = [n["Name"] for n in world.networks.list()]
    assert names == ["bridge", "host", "none"]
    assert "Containers" not in world.networks.list()[0]
    assert "Containers" in world.networks.list(detailed=True)[0]
    (found,) = world.networks.list({"driver": ["bridge"]})
    assert found["Options"]["com.docker.network.bridge.name"] == "docker0"
    inspected = world.networks.inspect(found["Id"][:12])
    assert inspected["Name"] == "bridge"
    assert inspected["Status"]["IPAM"]["Subnets"]["172.17.0.0/16"]["IPsInUse"] == 4
    assert world.networks.inspect("none")["Status"] == {"IPAM": {}}
    with pytest.raises(NotFound, match=r"^network nope not found$"):
        world.networks.inspect("nope")
    with pytest.raises(NotFound):
        world.networks.inspect("bridge", scope="swarm")
    with pytest.raises(Forbidden, match=r"^bridge is a pre-defined network and cannot be removed$"):
        world.remove("bridge")


def test_daemon_without_a_bridge(kernel: Kernel) -> None:
    world = World(bridge="none")
    assert [n["Name"] for n in world.networks.list()] == ["host", "none"]
    assert world.plan("web").plan["endpoints"] == []  # as dockerd: without a network
    assert world.plan("quiet", NetworkMode="none").plan["endpoints"] == []


def test_each_daemon_has_its_table(kernel: Kernel) -> None:
    assert World().firewall.table == table_name("docker0") == "compatd"
    assert World(bridge="other0").firewall.table == "compatd-other0"
    assert World(iptables=False).firewall.families == ()


def test_settings_of_a_container_that_does_not_run(world: World) -> None:
    idle = world.networks.idle_settings(container("x", NetworkMode="default"))
    assert idle["Networks"]["bridge"]["NetworkID"] == ""
    web = container("web")
    running = world.start(web).settings
    stopped = world.networks.idle_settings(web)
    assert stopped["Networks"]["bridge"]["NetworkID"] == running["Networks"]["bridge"]["NetworkID"]
    assert stopped["IPAddress"] == ""
    joined = world.networks.idle_settings(container("y", NetworkMode="container:web"))
    assert joined["Networks"] == {}
