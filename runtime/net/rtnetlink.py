"""Links, addresses and routes by raw rtnetlink(7) messages.

Functions that make a `Request` do nothing by themselves: several of them go to `NetlinkSocket.run`
in one write. Standard library only: it is loaded into every shim.
"""

import ipaddress
import socket
import struct
from typing import Any

from runtime.net.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NetlinkSocket,
    Request,
    attr,
    attr_str,
    attr_u8,
    attr_u32,
    attributes,
    nested,
)

NETLINK_ROUTE = 0
# linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST = 254, 3, 0, 1
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 1, 4, 5, 6
RTM_F_CLONED = 0x200
# linux/if_link.h, linux/if_addr.h
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_FD = 1, 3, 4, 10, 18, 28
IFLA_LINK, IFLA_TXQLEN = 5, 13
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 4, 33
VETH_INFO_PEER = 1
IFLA_MACVLAN_MODE, IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS, IFLA_VLAN_ID = 1, 1, 2, 1
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_NODAD = 2
IFF_UP = 1

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")


def open_route() -> NetlinkSocket:
    """A socket for this module's requests, in the calling thread's network namespace."""
    return NetlinkSocket(NETLINK_ROUTE)


def mac_bytes(mac: str) -> bytes:
    """`02:42:ac:11:00:02` as six bytes. Raises ValueError."""
    raw = bytes.fromhex(mac.replace(":", "").replace("-", ""))
    if len(raw) != 6:
        raise ValueError(f"invalid MAC address: {mac}")
    return raw


def add_veth(
    host_name: str,
    peer_name: str,
    *,
    netns_fd: int,
    master: int | None = None,
    mac: str | None = None,
    mtu: int | None = None,
) -> Request:
    """A veth pair: `host_name` here, up and a port of `master` (an interface index), the peer in `netns_fd`.

    The peer gets its name, MAC address and MTU, and stays down. Needs nothing but this one message.
    """
    peer = [_LINK.pack(0, 0, 0, 0, 0), attr_str(IFLA_IFNAME, peer_name), attr_u32(IFLA_NET_NS_FD, netns_fd)]
    peer.append(attr_u32(IFLA_TXQLEN, 0))  # as dockerd's
    if mac:
        peer.append(attr(IFLA_ADDRESS, mac_bytes(mac)))
    parts = [_LINK.pack(0, 0, 0, IFF_UP, IFF_UP), attr_str(IFLA_IFNAME, host_name)]
    parts.append(attr_u32(IFLA_TXQLEN, 0))
    if mtu:
        peer.append(attr_u32(IFLA_MTU, mtu))
        parts.append(attr_u32(IFLA_MTU, mtu))
    if master is not None:
        parts.append(attr_u32(IFLA_MASTER, master))
    data = nested(IFLA_INFO_DATA, nested(VETH_INFO_PEER, *peer))
    parts.append(nested(IFLA_LINKINFO, attr_str(IFLA_INFO_KIND, "veth"), data))
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, b"".join(parts), f"add veth {host_name}")


def add_macvlan(
    name: str, parent: int, mode: str, *, netns_fd: int, mac: str | None = None, mtu: int | None = None
) -> Request:
    """A macvlan on the link with index `parent`, made in `netns_fd`; mode as in MACVLAN_MODES. Stays down."""
    data = attr_u32(IFLA_MACVLAN_MODE, MACVLAN_MODES[mode])
    return _sub_link("macvlan", name, parent, data, netns_fd=netns_fd, mac=mac, mtu=mtu)


def add_ipvlan(
    name: str, parent: int, mode: str, flag: str = "bridge", *, netns_fd: int, mtu: int | None = None
) -> Request:
    """An ipvlan on the link with index `parent`, made in `netns_fd`; it has its parent's MAC address."""
    data = attr(IFLA_IPVLAN_MODE, struct.pack("=H", IPVLAN_MODES[mode]))
    data += attr(IFLA_IPVLAN_FLAGS, struct.pack("=H", IPVLAN_FLAGS[flag]))
    return _sub_link("ipvlan", name, parent, data, netns_fd=netns_fd, mtu=mtu)


def add_vlan(name: str, parent: int, number: int) -> Request:
    """An 802.1q sub-interface of the link with index `parent`. Stays down."""
    return _sub_link("vlan", name, parent, attr(IFLA_VLAN_ID, struct.pack("=H", number)))


def add_dummy(name: str) -> Request:
    """A link that leads nowhere. Stays down."""
    return _sub_link("dummy", name, 0, b"")


def _sub_link(
    kind: str,
    name: str,
    parent: int,
    data: bytes,
    *,
    netns_fd: int = -1,
    mac: str | None = None,
    mtu: int | None = None,
) -> Request:
    body = _LINK.pack(0, 0, 0, 0, 0) + attr_str(IFLA_IFNAME, name)
    if parent:
        body += attr_u32(IFLA_LINK, parent)
    if netns_fd >= 0:
        body += attr_u32(IFLA_NET_NS_FD, netns_fd)
    if mac:
        body += attr(IFLA_ADDRESS, mac_bytes(mac))
    if mtu:
        body += attr_u32(IFLA_MTU, mtu)
    info = attr_str(IFLA_INFO_KIND, kind)
    body += nested(IFLA_LINKINFO, info, nested(IFLA_INFO_DATA, data)) if data else nested(IFLA_LINKINFO, info)
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"add {kind} {name}")


def set_bridge_port(name: str, *, hairpin: bool, isolated: bool) -> Request:
    """Settings of a bridge's port: `hairpin` sends frames back where they came from; `isolated` ports
    reach the bridge itself but not each other (that is icc=false without br_netfilter)."""
    data = nested(
        IFLA_INFO_SLAVE_DATA, attr_u8(IFLA_BRPORT_MODE, hairpin), attr_u8(IFLA_BRPORT_ISOLATED, isolated)
    )
    info = nested(IFLA_LINKINFO, attr_str(IFLA_INFO_SLAVE_KIND, "bridge"), data)
    body = _LINK.pack(0, 0, 0, 0, 0) + attr_str(IFLA_IFNAME, name) + info
    return Request(RTM_NEWLINK, 0, body, f"set bridge port {name}")


def add_bridge(name: str, mac: str | None = None) -> Request:
    """A bridge; with a MAC address given it keeps that one instead of its lowest port's."""
    body = _LINK.pack(0, 0, 0, 0, 0) + attr_str(IFLA_IFNAME, name)
    if mac:
        body += attr(IFLA_ADDRESS, mac_bytes(mac))
    body += nested(IFLA_LINKINFO, attr_str(IFLA_INFO_KIND, "bridge"))
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"add bridge {name}")


def set_link(name: str, *, up: bool | None = None, mtu: int | None = None) -> Request:
    """Brings a link up or down and sets its MTU in bytes."""
    flags, change = (IFF_UP if up else 0), (0 if up is None else IFF_UP)
    body = _LINK.pack(0, 0, 0, flags, change) + attr_str(IFLA_IFNAME, name)
    if mtu:
        body += attr_u32(IFLA_MTU, mtu)
    return Request(RTM_NEWLINK, 0, body, f"set link {name}")


def delete_link(name: str) -> Request:
    """Deletes a link; of a veth pair both ends go."""
    body = _LINK.pack(0, 0, 0, 0, 0) + attr_str(IFLA_IFNAME, name)
    return Request(RTM_DELLINK, 0, body, f"delete link {name}")


def add_address(index: int, address: str) -> Request:
    """An address with prefix length (`172.17.0.2/16`, `fd00::2/64`); one that is there already is kept."""
    interface = ipaddress.ip_interface(address)
    packed = interface.ip.packed
    if isinstance(interface, ipaddress.IPv4Interface):
        parts = attr(IFA_LOCAL, packed) + attr(IFA_ADDRESS, packed)
        if interface.network.prefixlen < 31:
            parts += attr(IFA_BROADCAST, interface.network.broadcast_address.packed)
        family = socket.AF_INET
    else:
        parts = attr(IFA_LOCAL, packed) + attr(IFA_ADDRESS, packed) + attr_u32(IFA_FLAGS, IFA_F_NODAD)
        family = socket.AF_INET6
    head = _ADDRESS.pack(family, interface.network.prefixlen, 0, RT_SCOPE_UNIVERSE, index)
    flags = NLM_F_CREATE | NLM_F_EXCL
    return Request(RTM_NEWADDR, flags, head + parts, f"add address {address}", may_exist=True)


def delete_address(index: int, address: str) -> Request:
    """Removes an address given as for `add_address`."""
    interface = ipaddress.ip_interface(address)
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    head = _ADDRESS.pack(family, interface.network.prefixlen, 0, 0, index)
    return Request(RTM_DELADDR, 0, head + attr(IFA_LOCAL, interface.ip.packed), f"delete address {address}")


def add_route(index: int, gateway: str | None, destination: str = "", *, version: int = 4) -> Request:
    """A route in the main table; no destination is the default route (`0.0.0.0/0`, or `::/0` where the
    gateway or, without one, `version` says so)."""
    parts = attr_u32(RTA_OIF, index)
    length = 0
    if gateway:
        hop = ipaddress.ip_address(gateway)
        version = hop.version
        parts += attr(RTA_GATEWAY, hop.packed)
    if destination:
        network = ipaddress.ip_network(destination)
        version, length = network.version, network.prefixlen
        parts += attr(RTA_DST, network.network_address.packed)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    scope = RT_SCOPE_UNIVERSE if gateway else 253  # RT_SCOPE_LINK
    head = _ROUTE.pack(family, length, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0)
    what = f"add route {destination or 'default'} via {gateway}"
    return Request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, head + parts, what)


def links(sock: NetlinkSocket) -> list[dict[str, Any]]:
    """All links: {"index", "name", "up", "mac", "mtu", "master" (index or 0), "kind" ("" for physical)}."""
    found = []
    for kind, body in sock.dump(RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0), "list links"):
        if kind != RTM_NEWLINK:
            continue
        _, _, index, flags, _ = _LINK.unpack_from(body)
        a = attributes(body[16:])
        info = attributes(a.get(IFLA_LINKINFO, b""))
        found.append(
            {
                "index": index,
                "name": a[IFLA_IFNAME].rstrip(b"\0").decode(),
                "up": bool(flags & IFF_UP),
                "mac": a.get(IFLA_ADDRESS, b"").hex(":"),
                "mtu": _u32(a.get(IFLA_MTU)),
                "master": _u32(a.get(IFLA_MASTER)),
                "kind": info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode(),
            }
        )
    return found


def addresses(sock: NetlinkSocket, index: int = 0) -> list[str]:
    """Addresses with prefix length, of all links or of one."""
    found = []
    for kind, body in sock.dump(RTM_GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0), "list addresses"):
        _, length, _, _, link = _ADDRESS.unpack_from(body)
        if kind != RTM_NEWADDR or (index and link != index):
            continue
        a = attributes(body[8:])
        packed = a.get(IFA_LOCAL) or a[IFA_ADDRESS]
        found.append(f"{ipaddress.ip_address(packed)}/{length}")
    return found


def routes(sock: NetlinkSocket, family: int = socket.AF_INET) -> list[dict[str, Any]]:
    """The main table's routes of one family.

    As {"destination": "10.0.0.0/8" ("0.0.0.0/0" or "::/0": default), "index", "gateway"}.
    """
    return [_decode_route(body, family) for body in _main_table(sock, family)]


def default_routes(sock: NetlinkSocket) -> list[Request]:
    """The default routes of both families as requests that make them again."""
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        for body in _main_table(sock, family):
            if body[1] == 0 and body[7] == RTN_UNICAST and _u32(attributes(body[12:]).get(RTA_OIF)):
                head = body[:4] + bytes((RT_TABLE_MAIN,)) + body[5:8] + bytes(4)
                kept = b"".join(
                    attr(kind, value)
                    for kind, value in attributes(body[12:]).items()
                    if kind in (RTA_OIF, RTA_GATEWAY, RTA_PRIORITY)
                )
                what = "add the default route again"
                found.append(Request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, head + kept, what))
    return found


def delete_route(route: Request) -> Request:
    """Removes the route that a request of `add_route` or `default_routes` makes."""
    return Request(RTM_DELROUTE, 0, route.body, "delete the default route")


def _main_table(sock: NetlinkSocket, family: int) -> list[bytes]:
    head = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    answers = sock.dump(RTM_GETROUTE, head, "list routes")
    return [
        body
        for kind, body in answers
        if kind == RTM_NEWROUTE
        and body[0] == family
        and body[4] == RT_TABLE_MAIN
        and not _ROUTE.unpack_from(body)[8] & RTM_F_CLONED
    ]


def _decode_route(body: bytes, family: int) -> dict[str, Any]:
    a = attributes(body[12:])
    size = 4 if family == socket.AF_INET else 16
    destination = ipaddress.ip_address(a.get(RTA_DST, bytes(size)))
    return {
        "destination": f"{destination}/{body[1]}",
        "index": _u32(a.get(RTA_OIF)),
        "gateway": str(ipaddress.ip_address(a[RTA_GATEWAY])) if RTA_GATEWAY in a else None,
    }


def _u32(raw: bytes | None) -> int:
    return int(struct.unpack("=I", raw)[0]) if raw else 0
