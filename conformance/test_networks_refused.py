"""Networks that are refused: drivers, options, addresses, names."""

import re
from typing import Any

import pytest

from conformance.engine import Engine
from conformance.networks import OVERLAP, Made


@pytest.mark.operation("NetworkCreate")
@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"Name": "bridge"}, 403, "operation is not permitted on predefined bridge network "),
        ({"Name": "default"}, 403, "operation is not permitted on predefined default network "),
        ({"Driver": "nope"}, 404, 'plugin "nope" not found'),
        ({"Driver": "host"}, 403, 'only one instance of "host" network is allowed'),
        ({"Driver": "null"}, 403, 'only one instance of "null" network is allowed'),
        ({"Scope": "swarm"}, 403, "cannot create a swarm scoped network when swarm is not active"),
        ({"Ingress": True}, 403, "Ingress network can only be global scope network"),
        ({"IPAM": {"Driver": "nope"}}, 404, 'plugin "nope" not found'),
        ({"ConfigFrom": {"Network": "nope"}}, 404, 'configuration network "nope" does not exist'),
        (
            {"ConfigOnly": True, "Internal": True},
            403,
            "configuration network can only contain network specific fields. Network operator fields like "
            "[ ingress | internal | attachable | scope ] are not supported.",
        ),
        (
            {"ConfigOnly": True, "ConfigFrom": {"Network": "x"}},
            403,
            "a configuration network cannot depend on another configuration network",
        ),
        (
            {"Driver": "macvlan", "Options": {"macvlan_mode": "x"}},
            500,
            "requested macvlan mode 'x' is not valid, 'bridge' mode is the macvlan driver default",
        ),
        (
            {"Driver": "macvlan", "Options": {"parent": "lo"}},
            500,
            "loopback interface is not a valid macvlan parent link",
        ),
        (
            {"Driver": "macvlan", "Options": {"parent": "nope"}},
            500,
            "invalid subinterface vlan name nope, example formatting is eth0.10",
        ),
        (
            {"Driver": "macvlan", "Options": {"parent": "lo.x"}},
            500,
            "unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)",
        ),
        (
            {"Driver": "macvlan", "Options": {"parent": "lo.5000"}},
            500,
            "vlan id must be between 1-4094, received: 5000",
        ),
        (
            {"Driver": "macvlan", "Options": {"parent": "a.b.5"}},
            500,
            "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, "
            "instead received a.b.5",
        ),
        (
            {"Driver": "ipvlan", "Options": {"ipvlan_mode": "x"}},
            500,
            "requested ipvlan mode 'x' is not valid, 'l2' mode is the ipvlan driver default",
        ),
        (
            {"Driver": "ipvlan", "Options": {"parent": "lo"}},
            500,
            "loopback interface is not a valid ipvlan parent link",
        ),
    ],
)
def test_refused(made: Made, body: dict[str, Any], status: int, message: str) -> None:
    answer = made.ask(**body)
    assert (answer.status, answer.message) == (status, message)


@pytest.mark.operation("NetworkCreate")
@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("driver.mtu", "abc", 'strconv.Atoi: parsing "abc": invalid syntax'),
        ("bridge.enable_icc", "maybe", 'strconv.ParseBool: parsing "maybe": invalid syntax'),
        ("bridge.enable_ip_masquerade", "2", 'strconv.ParseBool: parsing "2": invalid syntax'),
        ("bridge.host_binding_ipv4", "x", "nil ip"),
    ],
)
def test_bridge_options_refused(engine: Engine, made: Made, option: str, value: str, why: str) -> None:
    key = "com.docker.network." + option
    answer = made.ask(Options={key: value})
    assert answer.status == engine.pick({"1.24": 500, "1.42": 400})
    assert answer.message == f"failed to parse {key} value: {value} ({why})"


@pytest.mark.operation("NetworkCreate")
@pytest.mark.since("1.44")
@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"Subnet": "10.142.1.1/24"}, "invalid subnet 10.142.1.1/24: it should be 10.142.1.0/24"),
        (
            {"Subnet": "10.142.1.0/24", "Gateway": "10.1.1.1"},
            "invalid gateway 10.1.1.1: parent subnet 10.142.1.0/24 doesn't contain this address",
        ),
        (
            {"Subnet": "10.142.1.0/24", "Gateway": "fd00::1"},
            "invalid gateway fd00::1: parent subnet is an IPv4 block",
        ),
        (
            {"Subnet": "10.142.1.0/24", "IPRange": "10.1.1.0/28"},
            "invalid ip-range 10.1.1.0/28: parent subnet 10.142.1.0/24 doesn't contain ip-range",
        ),
        (
            {"Subnet": "10.142.1.0/24", "IPRange": "10.142.0.0/16"},
            "invalid ip-range 10.142.0.0/16: CIDR block is bigger than its parent subnet 10.142.1.0/24",
        ),
        (
            {"Subnet": "10.142.1.0/24", "IPRange": "10.142.1.1/28"},
            "invalid ip-range 10.142.1.1/28: it should be 10.142.1.0/28",
        ),
        (
            {"Subnet": "10.142.1.0/24", "IPRange": "fd00::/80"},
            "invalid ip-range fd00::/80: parent subnet is an IPv4 block",
        ),
        (
            {"Subnet": "10.142.1.0/24", "AuxiliaryAddresses": {"a": "10.1.0.1"}},
            "invalid auxiliary address a: parent subnet 10.142.1.0/24 doesn't contain this address",
        ),
        (
            {"Subnet": "10.142.1.0/24", "IPRange": "10.1.1.0/28", "Gateway": "10.1.1.1"},
            "* invalid ip-range 10.1.1.0/28: parent subnet 10.142.1.0/24 doesn't contain ip-range\n"
            "* invalid gateway 10.1.1.1: parent subnet 10.142.1.0/24 doesn't contain this address",
        ),
    ],
)
def test_addresses_refused(made: Made, config: dict[str, Any], why: str) -> None:
    answer = made.ask(IPAM={"Config": [config]})
    assert (answer.status, answer.message) == (400, "invalid network config:\n" + why)


@pytest.mark.operation("NetworkCreate")
def test_addresses_that_are_taken(engine: Engine, made: Made) -> None:
    name = made.subnet("10.143.0.0/16")
    for prefix in ("10.143.0.0/16", "10.143.7.0/24", "10.0.0.0/8"):
        answer = made.ask(IPAM={"Config": [{"Subnet": prefix}]})
        assert (answer.status, answer.message) == (403, engine.pick(OVERLAP))
    answer = made.ask(IPAM={"Config": [{"Subnet": "10.143.0.0/16", "IPRange": "10.143.9.0/24"}]})
    assert answer.status == 403
    assert re.fullmatch(
        r"cannot create network [0-9a-f]{64} \(br-[0-9a-f]{12}\): conflicts with network [0-9a-f]{64} "
        r"\(br-[0-9a-f]{12}\): networks have overlapping IPv4",
        answer.message,
    )
    assert name


@pytest.mark.operation("NetworkCreate")
def test_several_subnets_are_not_for_bridges(made: Made) -> None:
    answer = made.ask(IPAM={"Config": [{"Subnet": "10.144.0.0/24"}, {"Subnet": "10.144.1.0/24"}]})
    assert (answer.status, answer.message) == (403, "bridge driver doesn't support multiple subnets")


@pytest.mark.operation("NetworkCreate")
def test_name_that_is_taken(engine: Engine, made: Made) -> None:
    name = made.create()
    answer = made.ask(Name=name, CheckDuplicate=True)
    assert (answer.status, answer.message) == (409, f"network with name {name} already exists")


@pytest.mark.operation("NetworkCreate")
@pytest.mark.parametrize("name", ["", "  "])
def test_empty_name(engine: Engine, made: Made, name: str) -> None:
    answer = made.ask(Name=name)
    assert answer.status == engine.pick({"1.24": 500, "1.42": 400})
    assert answer.message.startswith("invalid name: ")
