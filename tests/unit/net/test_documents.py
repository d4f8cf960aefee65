"""Shapes that clients see, as a real engine answers them (API 1.56; IDs shortened)."""

from compatd.engine.networks import documents
from compatd.engine.networks.model import Endpoint, Network, Publication, Subnet


def endpoint(**changes: object) -> Endpoint:
    e = Endpoint(
        id="e" * 64,
        container_id="c" * 64,
        container_name="web",
        network_id="n" * 64,
        network_name="bridge",
        sandbox_id="5" * 64,
        sandbox_key="/run/docker/netns/555555555555",
        mac="02:42:ac:11:00:02",
        address="172.17.0.2",
        prefix_length=16,
        gateway="172.17.0.1",
        exposed=["80/tcp", "443/tcp"],
        publications=[Publication("0.0.0.0", 8080, "tcp", 80), Publication("::", 8080, "tcp", 80)],
    )
    for name, value in changes.items():
        setattr(e, name, value)
    return e


IDLE = {
    "IPAMConfig": None, "Links": None, "Aliases": None, "DriverOpts": None, "GwPriority": 0,
    "NetworkID": "", "EndpointID": "", "Gateway": "", "IPAddress": "", "MacAddress": "", "IPPrefixLen": 0,
    "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DNSNames": None,
}  # fmt: skip


def test_settings_of_a_running_container_on_the_default_bridge() -> None:
    e = endpoint()
    settings = documents.settings([e], e.sandbox_id, e.sandbox_key)
    on_bridge = {
        **IDLE, "NetworkID": "n" * 64, "EndpointID": "e" * 64, "Gateway": "172.17.0.1",
        "IPAddress": "172.17.0.2", "MacAddress": "02:42:ac:11:00:02", "IPPrefixLen": 16,
    }  # fmt: skip
    legacy = {key: on_bridge[key] for key in on_bridge if key in settings}
    assert settings == {
        "SandboxID": "5" * 64,
        "SandboxKey": "/run/docker/netns/555555555555",
        "Ports": {
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
            "443/tcp": None,
        },
        "Networks": {"bridge": on_bridge},
        **legacy,
    }
    assert sorted(legacy) == [
        "EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen",
        "IPv6Gateway", "MacAddress",
    ]  # fmt: skip


def test_settings_after_the_exit_keep_only_the_networks_id() -> None:
    settings = documents.idle_settings({"bridge": {"NetworkID": "n" * 64, "MacAddress": "02:42:ac:11:00:99"}})
    assert settings["Networks"] == {"bridge": {**IDLE, "NetworkID": "n" * 64}}
    assert (settings["SandboxID"], settings["SandboxKey"], settings["Ports"]) == ("", "", {})
    assert settings["IPAddress"] == settings["EndpointID"] == ""


def test_settings_before_the_first_start() -> None:
    settings = documents.idle_settings({"none": {}})
    assert settings == {"SandboxID": "", "SandboxKey": "", "Ports": {}, "Networks": {"none": IDLE}}
    asked = {"IPAMConfig": {"IPv4Address": "10.0.0.9"}, "Aliases": ["a"], "MacAddress": "02:42:ac:11:00:99"}
    assert documents.idle_settings({"mine": asked})["Networks"] == {"mine": {**IDLE, **asked}}


def test_settings_on_several_networks() -> None:
    second = endpoint(
        id="f" * 64, network_name="other", address="", gateway="", address6="fd00::2", prefix_length6=64,
        gateway6="fd00::1", exposed=["80/tcp"], publications=[], dns_names=["web"],
        request={"GwPriority": 7},
    )  # fmt: skip
    settings = documents.settings([second, endpoint()], "s", "k")
    assert list(settings["Networks"]) == ["bridge", "other"]
    found = settings["Networks"]["other"]
    assert (found["GlobalIPv6Address"], found["GlobalIPv6PrefixLen"]) == ("fd00::2", 64)
    assert (found["IPv6Gateway"], found["IPAddress"], found["GwPriority"]) == ("fd00::1", "", 7)
    assert found["DNSNames"] == ["web"]
    assert len(settings["Ports"]["80/tcp"]) == 2


def test_ports_without_translation_have_no_host_port() -> None:
    ports = documents.port_map([], [Publication("0.0.0.0", 0, "tcp", 80)])
    assert ports == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": ""}]}


def test_network_resource() -> None:
    none = Network("none", "n" * 64, "2026-11-23T16:38:46.79456654Z", "null")
    plain = {
        "Name": "none", "Id": "n" * 64, "Created": "2026-11-23T16:38:46.79456654Z", "Scope": "local",
        "Driver": "null", "EnableIPv4": True, "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": None}, "Internal": False,
        "Attachable": False, "Ingress": False, "ConfigFrom": {"Network": ""}, "ConfigOnly": False,
        "Options": {}, "Labels": {},
    }  # fmt: skip
    assert documents.network(none) == plain
    none.subnets = [
        Subnet("10.0.0.0/24", "10.0.0.128/25", "10.0.0.1", {"router": "10.0.0.2"}),
        Subnet("fd00::/64", gateway="fd00::1"),
    ]
    assert documents.network(none)["IPAM"]["Config"] == [
        {
            "Subnet": "10.0.0.0/24", "IPRange": "10.0.0.128/25", "Gateway": "10.0.0.1",
            "AuxiliaryAddresses": {"router": "10.0.0.2"},
        },
        {"Subnet": "fd00::/64", "Gateway": "fd00::1"},
    ]  # fmt: skip


def test_containers_of_a_network() -> None:
    assert documents.attached([(endpoint(), "renamed")]) == {
        "c" * 64: {
            "Name": "renamed", "EndpointID": "e" * 64, "MacAddress": "02:42:ac:11:00:02",
            "IPv4Address": "172.17.0.2/16", "IPv6Address": "",
        }
    }  # fmt: skip


def test_endpoint_survives_the_store() -> None:
    import json

    e = endpoint(request={"IPAMConfig": {}})
    assert Endpoint.load(json.loads(json.dumps(e.document()))) == e
    assert e.host_name == "vetheeeeeee"


def test_network_survives_the_store() -> None:
    import json

    network = Network(
        "mine", "n" * 64, "2026-11-23T16:38:46Z", "bridge", options={"k": "v"}, host_made=True,
        wanted=[Subnet("", "", "")], subnets=[Subnet("10.0.0.0/24", auxiliary={"a": "10.0.0.9"})],
    )  # fmt: skip
    assert Network.load(json.loads(json.dumps(network.document()))) == network
    assert network.bridge == "br-nnnnnnnnnnnn"
