"""Expressions of nf_tables rules, each as the bytes of one list element (linux/netfilter/nf_tables.h).

A rule is a list of these: load something into a register, compare or look it up, then a verdict or NAT.
Registers: 1 is the first 16-byte one; 8, 9, 10 … are its 4-byte quarters, so a concatenated key starts at 1
(= 8) and goes on at 9. Shaped as `nft` writes them so that `nft list ruleset` reads them back.
"""

import struct
from collections.abc import Callable

from runtime.net.netlink import Request, attr, attr_be32, attr_str, nested
from runtime.net.nfnetlink import NF_ACCEPT, NF_DROP, NFT_JUMP

REG, REG_2 = 1, 2
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
DESTINATION_PORT = 2
Rule = Callable[..., Request]
META_MARK, META_IIFNAME, META_OIFNAME, META_L4PROTO = 3, 6, 7, 16
CT_STATE, CT_STATUS = 0, 2
CT_ESTABLISHED_RELATED = 2 | 4
IPS_DST_NAT = 0x20
RTN_LOCAL = 2


def register(offset: int) -> int:
    """The 4-byte register `offset` bytes into a key that begins in REG."""
    return 8 + offset // 4 if offset else REG


def expression(name: str, *parts: bytes) -> bytes:
    """Any expression by its name and attributes."""
    return nested(1, attr_str(1, name), nested(2, *parts))


def payload(base: int, offset: int, size: int, register: int = REG) -> bytes:
    """Loads `size` bytes at `offset` of a header."""
    return expression(
        "payload", attr_be32(1, register), attr_be32(2, base), attr_be32(3, offset), attr_be32(4, size)
    )


def meta(key: int, register: int = REG) -> bytes:
    """Loads what belongs to the packet but is not in it, such as its interface's name."""
    return expression("meta", attr_be32(2, key), attr_be32(1, register))


def compare(value: bytes, *, equal: bool = True) -> bytes:
    """Goes on only when the register equals (or does not equal) `value`."""
    return expression("cmp", attr_be32(1, REG), attr_be32(2, 0 if equal else 1), nested(3, attr(1, value)))


def mask(bits: bytes) -> bytes:
    """Register &= bits."""
    return expression(
        "bitwise",
        attr_be32(1, REG),
        attr_be32(2, REG),
        attr_be32(3, len(bits)),
        nested(4, attr(1, bits)),
        nested(5, attr(1, bytes(len(bits)))),
    )


def lookup(name: str, number: int, *, into: int | None = None, absent: bool = False) -> bytes:
    """Goes on only when the register is in the set (`absent`: is not); of a map the value is loaded."""
    parts = [attr_be32(2, REG)]
    if into is not None:
        parts.append(attr_be32(3, into))
    parts += [attr_str(1, name), attr_be32(4, number)]
    if absent:
        parts.append(attr_be32(5, 1))
    return expression("lookup", *parts)


def interface(key: int, name: str, *, equal: bool = True) -> list[bytes]:
    """`iifname`/`oifname` is, or is not, `name`."""
    return [meta(key), compare(ifname(name), equal=equal)]


def ifname(name: str) -> bytes:
    """An interface name as nf_tables compares it: 16 bytes."""
    return name.encode().ljust(16, b"\0")


def address_in(offset: int, network: bytes, bits: bytes, *, equal: bool = True) -> list[bytes]:
    """The address at `offset` is, or is not, in a network given as address and mask."""
    load = payload(NETWORK_HEADER, offset, len(network))
    if bits.strip(b"\xff"):
        return [load, mask(bits), compare(network, equal=equal)]
    return [load, compare(network, equal=equal)]  # one address; `nft` shows it so


def ct_bits(key: int, bits: int) -> list[bytes]:
    """Any of `bits` is set in the connection's state or status."""
    load = expression("ct", attr_be32(2, key), attr_be32(1, REG))
    return [load, mask(struct.pack("=I", bits)), compare(bytes(4), equal=False)]


def mark_is(value: int, bits: int) -> list[bytes]:
    """The packet's mark, as far as `bits` go, is `value`."""
    load = [meta(META_MARK), mask(struct.pack("=I", bits))]
    return [*(load if bits != 0xFFFFFFFF else load[:1]), compare(struct.pack("=I", value))]


def destination_is_local() -> list[bytes]:
    """`fib daddr type local`: the packet is for an address of this host."""
    fib = expression("fib", attr_be32(3, 2), attr_be32(2, 3), attr_be32(1, REG))
    return [fib, compare(struct.pack("=I", RTN_LOCAL))]


def dnat(family: int, port: int) -> bytes:
    """New destination: the address in REG and the port in register `port`. `family` is NFPROTO_*."""
    return expression("nat", attr_be32(1, 1), attr_be32(2, family), attr_be32(3, REG), attr_be32(5, port))


def snat(family: int, address: bytes) -> list[bytes]:
    """New source: that address."""
    load = expression("immediate", attr_be32(1, REG), nested(2, attr(1, address)))
    return [load, expression("nat", attr_be32(1, 0), attr_be32(2, family), attr_be32(3, REG))]


def masquerade() -> bytes:
    """New source: the address of the interface that the packet leaves by."""
    return expression("masq")


def counter() -> bytes:
    """Counts packets and bytes."""
    return expression("counter")


def verdict(code: int, chain: str = "") -> bytes:
    """Accepts, drops or jumps."""
    parts = [attr(1, struct.pack("!i", code))]
    if chain:
        parts.append(attr_str(2, chain))
    return expression("immediate", attr_be32(1, 0), nested(2, nested(2, *parts)))


def accept() -> bytes:
    """Ends this table's look at the packet; other tables still see it."""
    return verdict(NF_ACCEPT)


def drop() -> bytes:
    """The packet is gone, whatever other tables say."""
    return verdict(NF_DROP)


def jump(chain: str) -> bytes:
    """Goes through another chain and comes back."""
    return verdict(NFT_JUMP, chain)
