"""EndpointSettings of clients: what is wrong with them."""

from typing import Any

import pytest

from compatd.engine.errors import InvalidParameter
from compatd.engine.networks import settings
from compatd.engine.networks.drivers.base import SYSCTLS_OPTION
from compatd.engine.networks.model import Network, Subnet

MINE = Network("mine", "a" * 64, "", "bridge", subnets=[Subnet("10.0.0.0/24"), Subnet("fd00::/64")])


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("bridge", {"IPAMConfig": {"IPv6Address": "fd00::2"}}, "user-specified IP address is supported on"),
        ("host", {"Aliases": ["x"]}, "network-scoped aliases are only supported for user-defined networks"),
        ("mine", {"IPAMConfig": {"IPv4Address": "fd00::2"}}, "invalid IPv4 address: fd00::2"),
        ("mine", {"IPAMConfig": {"IPv4Address": "0.0.0.0"}}, "invalid IPv4 address: 0.0.0.0"),
        ("mine", {"IPAMConfig": {"IPv6Address": "10.0.0.2"}}, "invalid IPv6 address: 10.0.0.2"),
        ("mine", {"IPAMConfig": {"LinkLocalIPs": ["0.0.0.0"]}}, "invalid link-local IP address: 0.0.0.0"),
        ("mine", {"IPAMConfig": {"IPv4Address": "10.0.1.2"}}, "no configured subnet contains IP address 10"),
        (
            "mine",
            {"IPAMConfig": {"IPv6Address": "fd01::2"}},
            "no configured subnet contains IP address fd01:",
        ),
        (
            "mine",
            {"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.eth0.x=1"}},
            "unrecognised network interface sysctl 'net.ipv4.conf.eth0.x=1'",
        ),
    ],
)
def test_refused(name: str, given: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        settings.check(MINE if name == "mine" else None, name, given)
    assert raised.value.message.startswith("invalid endpoint settings:\n" + text)


def test_several_at_once() -> None:
    given = {"Aliases": ["x"], "IPAMConfig": {"IPv4Address": "10.0.0.2"}}
    with pytest.raises(InvalidParameter) as raised:
        settings.check_all(lambda name: None, {"bridge": given, "none": {"Aliases": ["y"]}})
    assert raised.value.message == (
        "* invalid config for network bridge: invalid endpoint settings:\n"
        "\t* user-specified IP address is supported on user-defined networks only\n"
        "\t* network-scoped aliases are only supported for user-defined networks\n"
        "* invalid config for network none: invalid endpoint settings:\n"
        "\tnetwork-scoped aliases are only supported for user-defined networks"
    )


def test_accepted_in_their_usual_form() -> None:
    given = {
        "IPAMConfig": {
            "IPv4Address": "::ffff:10.0.0.9",
            "IPv6Address": "FD00:0::9",
            "LinkLocalIPs": ["FE80::1"],
        },
        "Aliases": ["x"],
        "DriverOpts": {SYSCTLS_OPTION: "net.ipv6.conf.IFNAME.x=1,net.mpls.conf.ifname.y=2"},
    }
    settings.check(MINE, "mine", given)
    assert given["IPAMConfig"] == {
        "IPv4Address": "10.0.0.9",
        "IPv6Address": "fd00::9",
        "LinkLocalIPs": ["fe80::1"],
    }
    settings.check(None, "to-come", {"IPAMConfig": {"IPv4Address": "10.9.9.9"}})
    with pytest.raises(InvalidParameter, match=r"^invalid JSON: ParseAddr"):
        settings.check_all(lambda name: MINE, {"mine": {"IPAMConfig": {"IPv4Address": "10.0.0"}}})
