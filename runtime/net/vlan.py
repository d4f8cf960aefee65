"""Parents of macvlan and ipvlan networks: VLAN sub-interfaces and links that lead nowhere."""

import socket

from runtime.net import rtnetlink
from runtime.net.netlink import NetlinkSocket


def ensure_parent(name: str) -> bool:
    """Makes sure that the parent link is there and up; answers whether this call has made it.

    `eth0.5` is made as VLAN 5 of eth0. Raises OSError: ENODEV with the link's name where there is none,
    EINVAL for a VLAN number that cannot be.
    """
    if _exists(name):
        return False
    base, number = split(name)
    if not _exists(base):
        raise OSError(19, f"find link {base}: No such device")
    with rtnetlink.open_route() as sock:
        sock.run([rtnetlink.add_vlan(name, socket.if_nametoindex(base), number)])
        _up(sock, name)
    return True


def ensure_dummy(name: str) -> bool:
    """Makes sure that the dummy link `dm-…` is there and up; answers whether this call has made it."""
    if _exists(name):
        return False
    with rtnetlink.open_route() as sock:
        sock.run([rtnetlink.add_dummy(name)])
        _up(sock, name)
    return True


def split(name: str) -> tuple[str, int]:
    """`eth0.5` as link and VLAN number. Raises OSError (ENODEV, EINVAL)."""
    base, dot, number = name.rpartition(".")
    if not dot or not base or not number.isdecimal():
        raise OSError(19, f"find link {name}: No such device")
    if not 1 <= int(number) <= 4094:
        raise OSError(22, f"add vlan {name}: the VLAN number must be from 1 to 4094")
    return base, int(number)


def _up(sock: NetlinkSocket, name: str) -> None:
    try:
        sock.run([rtnetlink.set_link(name, up=True)])
    except OSError:
        sock.run([rtnetlink.delete_link(name)])
        raise


def _exists(name: str) -> bool:
    try:
        return bool(socket.if_nametoindex(name))
    except OSError:
        return False
