"""The netlink envelope and the messages made of it; no socket is opened."""

import socket
import struct

import pytest

from runtime.net import rtnetlink, vlan
from runtime.net.netlink import NLM_F_ACK, Request, attr, attr_str, attributes, nested, oserror


def test_attribute_is_padded_and_its_length_is_not() -> None:
    assert attr(3, b"abcde") == b"\x09\x00\x03\x00abcde\0\0\0"
    assert attr_str(1, "lo") == b"\x07\x00\x01\x00lo\0\0"


def test_attributes_are_read_back_through_the_nested_flag() -> None:
    data = attr(1, b"x") + nested(2, attr(7, b"inner"))
    found = attributes(data)
    assert found[1] == b"x"
    assert attributes(found[2]) == {7: b"inner"}


@pytest.mark.parametrize("rest", [b"", b"\1", b"\0\0\0\0", b"\3\0\1\0"])
def test_broken_attributes_end_the_list(rest: bytes) -> None:
    assert attributes(attr(1, b"x") + rest) == {1: b"x"}


def test_request_header() -> None:
    data = Request(16, 0x400, b"abcde", "").encode(7, NLM_F_ACK)
    assert struct.unpack_from("=IHHII", data) == (21, 16, 0x405, 7, 0)
    assert len(data) == 24


def test_error_names_the_deed() -> None:
    error = oserror(17, "add bridge docker0")
    assert error.errno == 17
    assert str(error) == "[Errno 17] add bridge docker0: File exists"


def test_veth_message_carries_the_peer() -> None:
    request = rtnetlink.add_veth(
        "veth1234567", "eth0", netns_fd=9, master=3, mac="02:42:ac:11:00:02", mtu=1400
    )
    link = attributes(request.body[16:])
    assert link[rtnetlink.IFLA_IFNAME] == b"veth1234567\0"
    assert link[rtnetlink.IFLA_MASTER] == struct.pack("=I", 3)
    info = attributes(link[rtnetlink.IFLA_LINKINFO])
    assert info[rtnetlink.IFLA_INFO_KIND] == b"veth\0"
    peer = attributes(attributes(info[rtnetlink.IFLA_INFO_DATA])[rtnetlink.VETH_INFO_PEER][16:])
    assert peer[rtnetlink.IFLA_IFNAME] == b"eth0\0"
    assert peer[rtnetlink.IFLA_ADDRESS] == bytes.fromhex("0242ac110002")
    assert peer[rtnetlink.IFLA_NET_NS_FD] == struct.pack("=I", 9)
    assert peer[rtnetlink.IFLA_MTU] == struct.pack("=I", 1400)


@pytest.mark.parametrize("mac", ["", "02:42", "zz:42:ac:11:00:02", "02:42:ac:11:00:02:03"])
def test_bad_mac_is_refused(mac: str) -> None:
    with pytest.raises(ValueError, match=r"MAC|non-hexadecimal"):
        rtnetlink.mac_bytes(mac)


def link_info(request: Request) -> tuple[dict[int, bytes], bytes, dict[int, bytes]]:
    """A link request's attributes, its kind, and the kind's own data."""
    parts = attributes(request.body[16:])
    info = attributes(parts[rtnetlink.IFLA_LINKINFO])
    return parts, info[1], attributes(info.get(2, b""))


def test_links_that_this_kernel_may_not_have() -> None:
    """As iproute2 sends them: modes are 32-bit for macvlan, 16-bit for ipvlan and its flags, as VLAN IDs."""
    parts, kind, data = link_info(rtnetlink.add_macvlan("eth0", 7, "vepa", netns_fd=5, mtu=1400))
    assert (kind, data) == (b"macvlan\0", {1: b"\2\0\0\0"})
    assert (parts[5], parts[28], parts[4]) == (b"\7\0\0\0", b"\5\0\0\0", b"\x78\5\0\0")
    _, kind, data = link_info(rtnetlink.add_ipvlan("eth0", 7, "l3s", "private", netns_fd=5))
    assert (kind, data) == (b"ipvlan\0", {1: b"\2\0", 2: b"\1\0"})
    parts, kind, data = link_info(rtnetlink.add_vlan("eth0.5", 7, 5))
    assert (kind, data, parts[3]) == (b"vlan\0", {1: b"\5\0"}, b"eth0.5\0")
    assert 28 not in parts
    parts, kind, data = link_info(rtnetlink.add_dummy("dm-1"))
    assert (kind, data) == (b"dummy\0", {}) and 5 not in parts


def test_default_routes_of_either_version() -> None:
    four = rtnetlink.add_route(3, None)
    six = rtnetlink.add_route(3, None, version=6)
    assert (four.body[0], six.body[0]) == (socket.AF_INET, socket.AF_INET6)
    assert rtnetlink.add_route(3, "fd00::1").body[0] == socket.AF_INET6
    assert rtnetlink.delete_route(six).body == six.body


def test_names_of_vlans() -> None:
    assert vlan.split("eth0.5") == ("eth0", 5)
    assert vlan.split("br.lan.100") == ("br.lan", 100)
    for name in ("eth0", "eth0.", ".5", "eth0.x", "eth0.4095", "eth0.0"):
        with pytest.raises(OSError, match=r"No such device|1 to 4094"):
            vlan.split(name)
