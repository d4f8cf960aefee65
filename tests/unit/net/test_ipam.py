"""Which subnet, which address."""

import ipaddress

import pytest

from compatd.engine.errors import EngineError, Forbidden, InvalidParameter
from compatd.engine.networks.ipam import DEFAULT_POOLS, AddressSpace, Lease, Pool, ula_pool


def space(*pools: dict[str, object]) -> AddressSpace:
    return AddressSpace(pools or DEFAULT_POOLS)


def lease(subnet: str = "172.17.0.0/29", within: str = "") -> Lease:
    return space().request(subnet, within)


def elect(version: int = 4, *occupied: str, of: AddressSpace | None = None, size: int = 0) -> str:
    return str((of or space()).elect(version, occupied, size).pool.prefix)


def test_dockerds_pools_in_order() -> None:
    all_of_them = space()
    names = [elect(of=all_of_them) for _ in range(31)]
    assert names[:4] == ["172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16", "172.20.0.0/16"]
    assert names[14:16] == ["172.31.0.0/16", "192.168.0.0/20"]
    with pytest.raises(InvalidParameter, match="all predefined address pools have been fully subnetted"):
        elect(of=all_of_them)


@pytest.mark.parametrize(
    ("occupied", "expected"),
    [
        ([], "172.17.0.0/16"),
        (["172.17.0.0/16"], "172.18.0.0/16"),
        (["172.17.200.0/24", "172.18.0.1/32"], "172.19.0.0/16"),
        (["172.16.0.0/12"], "192.168.0.0/20"),
        (["fd00::/8"], "172.17.0.0/16"),
    ],
)
def test_first_pool_that_no_route_leads_to(occupied: list[str], expected: str) -> None:
    assert elect(4, *occupied) == expected


def test_pools_of_the_configuration() -> None:
    mine = space({"base": "10.9.0.0/16", "size": 24}, {"base": "10.8.0.0/23", "size": 24})
    assert [elect(of=mine) for _ in range(3)] == ["10.8.0.0/24", "10.8.1.0/24", "10.9.0.0/24"]
    assert elect(4, "10.9.1.128/25", of=mine) == "10.9.2.0/24"
    nested = space({"base": "10.0.0.0/8", "size": 16}, {"base": "10.1.0.0/16", "size": 24})
    assert [elect(of=nested) for _ in range(3)] == ["10.0.0.0/16", "10.1.0.0/16", "10.2.0.0/16"]
    with pytest.raises(InvalidParameter):
        space({"base": "10.0.0.0/24", "size": 16})


def test_size_of_ones_own() -> None:
    assert elect(size=24) == "172.17.0.0/24"
    assert elect(size=14) == "172.20.0.0/14"
    with pytest.raises(InvalidParameter, match="invalid address pool"):
        elect(size=8)


def test_unique_local_addresses_come_from_the_engines_id() -> None:
    base = ipaddress.IPv6Network(str(ula_pool("some-id")["base"]))
    assert base.prefixlen == 48 and base.subnet_of(ipaddress.IPv6Network("fd00::/8"))
    assert ula_pool("some-id") == ula_pool("some-id") != ula_pool("another-id")
    mine = space(ula_pool("some-id"))
    first, second = (ipaddress.IPv6Network(elect(6, of=mine)) for _ in range(2))
    assert first.prefixlen == 64 and first.subnet_of(base) and second.subnet_of(base) and first != second


def test_pool_of_two_to_the_sixteenth_pieces_is_not_walked() -> None:
    mine = space({"base": "fd12::/16", "size": 64})
    assert elect(6, "fd12::/17", of=mine) == "fd12:8000::/64"


def test_networks_do_not_overlap() -> None:
    mine = space()
    mine.request("10.0.0.0/16")
    for wanted in ("10.0.0.0/16", "10.0.9.0/24", "10.0.0.0/8"):
        with pytest.raises(Forbidden, match=r"^invalid pool request: Pool overlaps with other one on this"):
            mine.request(wanted)
    mine.request("10.1.0.0/16")
    mine.request("fd00::/64")


def test_ranges_share_a_pool() -> None:
    mine = space()
    low, high = mine.request("10.0.0.0/24", "10.0.0.0/28"), mine.request("10.0.0.0/24", "10.0.0.16/28")
    assert [low.take(), high.take()] == ["10.0.0.1", "10.0.0.16"]
    with pytest.raises(Forbidden):
        mine.request("10.0.0.0/24", "10.0.0.16/28")
    with pytest.raises(Forbidden, match="Address already in use"):
        high.take("10.0.0.1")
    mine.release(low)
    assert mine.request("10.0.0.0/24", "10.0.0.32/28").pool is high.pool
    mine.release(high)


def test_released_pool_is_given_again() -> None:
    mine = space()
    one = mine.elect(4, [])
    mine.elect(4, [])
    mine.release(one)
    assert elect(of=mine) == "172.17.0.0/16"


def test_lowest_free_address_comes_first() -> None:
    mine = lease()
    assert [mine.take() for _ in range(4)] == ["172.17.0.1", "172.17.0.2", "172.17.0.3", "172.17.0.4"]
    mine.pool.release("172.17.0.3")
    mine.pool.release("172.17.0.2")
    assert [mine.take() for _ in range(3)] == ["172.17.0.2", "172.17.0.3", "172.17.0.5"]


def test_pool_ends_before_the_broadcast_address() -> None:
    mine = lease()
    assert [mine.take() for _ in range(6)][-1] == "172.17.0.6"
    with pytest.raises(EngineError, match="no available addresses on this pool"):
        mine.take()
    mine.pool.release("172.17.0.4")
    assert mine.take() == "172.17.0.4"


def test_small_and_large_pools() -> None:
    two = lease("10.0.0.0/31")
    assert [two.take(), two.take()] == ["10.0.0.0", "10.0.0.1"]
    six = lease("fd00::/64")
    assert [six.take(), six.take()] == ["fd00::1", "fd00::2"]
    assert six.take("fd00::0:9") == "fd00::9"


def test_given_addresses() -> None:
    mine = lease()
    assert mine.take("172.17.0.2") == "172.17.0.2"
    assert [mine.take(), mine.take()] == ["172.17.0.1", "172.17.0.3"]
    for taken in ("172.17.0.2", "172.17.0.0", "172.17.0.7"):
        with pytest.raises(Forbidden, match=r"^Address already in use$"):
            mine.take(taken)
    with pytest.raises(InvalidParameter, match="requested address is out of range"):
        mine.take("10.0.0.1")


def test_range_gives_only_its_part() -> None:
    part = lease("172.17.0.0/16", "172.17.9.0/30")
    assert [part.take() for _ in range(4)] == ["172.17.9.0", "172.17.9.1", "172.17.9.2", "172.17.9.3"]
    with pytest.raises(EngineError):
        part.take()
    assert part.take("172.17.3.3") == "172.17.3.3"  # by name also the rest
    whole = lease("172.17.0.0/30", "172.17.0.0/30")
    assert whole.take() == "172.17.0.1"


def test_status_counts_what_is_reserved() -> None:
    mine = lease("172.17.0.0/16")
    mine.take()
    mine.take()
    # one container: the recorded engine says 4 and 65532
    assert mine.pool.status(None) == {"IPsInUse": 4, "DynamicIPsAvailable": 65532}
    part = ipaddress.ip_network("172.17.0.0/30")
    assert mine.pool.status(part) == {"IPsInUse": 4, "DynamicIPsAvailable": 1}
    assert Pool(ipaddress.ip_network("fd00::/48")).status(None) == {
        "IPsInUse": 1, "DynamicIPsAvailable": (1 << 64) - 1,
    }  # fmt: skip
