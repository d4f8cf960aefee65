"""Which subnet, which address."""

import ipaddress

import pytest

from compatd.engine.errors import EngineError, Forbidden
from compatd.engine.networks.addresses import DEFAULT_POOLS, AddressPool, elect, subnets


def test_dockerds_pools_in_order() -> None:
    names = [str(s) for s in subnets(DEFAULT_POOLS)]
    assert names[:4] == ["172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16", "172.20.0.0/16"]
    assert names[14:16] == ["172.31.0.0/16", "192.168.0.0/20"]
    assert len(names) == 31


@pytest.mark.parametrize(
    ("occupied", "expected"),
    [
        ([], "172.17.0.0/16"),
        (["172.17.0.0/16"], "172.18.0.0/16"),
        (["172.17.200.0/24", "172.18.0.1/32"], "172.19.0.0/16"),
        (["172.16.0.0/12"], "192.168.0.0/20"),
    ],
)
def test_first_pool_that_no_route_leads_to(occupied: list[str], expected: str) -> None:
    assert str(elect(DEFAULT_POOLS, occupied)) == expected


def test_no_pool_left() -> None:
    with pytest.raises(EngineError, match="fully subnetted"):
        elect([{"base": "10.0.0.0/24", "size": 24}], ["10.0.0.0/8"])


def pool(subnet: str = "172.17.0.0/29", gateway: str = "172.17.0.1") -> AddressPool:
    return AddressPool(ipaddress.IPv4Network(subnet), gateway)


def test_lowest_free_address_comes_first() -> None:
    addresses = pool()
    assert [addresses.allocate() for _ in range(3)] == ["172.17.0.2", "172.17.0.3", "172.17.0.4"]
    addresses.release("172.17.0.3")
    addresses.release("172.17.0.2")
    assert addresses.allocate() == "172.17.0.2"
    assert addresses.allocate() == "172.17.0.3"
    assert addresses.allocate() == "172.17.0.5"


def test_pool_ends_before_the_broadcast_address() -> None:
    addresses = pool()
    given = [addresses.allocate() for _ in range(5)]
    assert given[-1] == "172.17.0.6"
    with pytest.raises(EngineError, match="no available IPv4 addresses"):
        addresses.allocate()
    addresses.release("172.17.0.4")
    assert addresses.allocate() == "172.17.0.4"


def test_gateway_is_never_given_even_in_the_middle() -> None:
    addresses = pool(gateway="172.17.0.3")
    addresses.release("172.17.0.3")
    assert [addresses.allocate() for _ in range(3)] == ["172.17.0.1", "172.17.0.2", "172.17.0.4"]


def test_reserved_addresses() -> None:
    addresses = pool()
    addresses.reserve("172.17.0.2")
    assert addresses.allocate() == "172.17.0.3"
    with pytest.raises(Forbidden):
        addresses.reserve("172.17.0.2")
    with pytest.raises(Forbidden):
        addresses.reserve("10.0.0.1")
    assert addresses.taken == 3


def test_fixed_cidr_gives_only_its_part() -> None:
    part = AddressPool(
        ipaddress.IPv4Network("172.17.0.0/16"), "172.17.0.1", ipaddress.IPv4Network("172.17.9.0/30")
    )
    assert [part.allocate() for _ in range(4)] == ["172.17.9.0", "172.17.9.1", "172.17.9.2", "172.17.9.3"]
    with pytest.raises(EngineError):
        part.allocate()
    whole = AddressPool(
        ipaddress.IPv4Network("172.17.0.0/30"), "172.17.0.1", ipaddress.IPv4Network("172.17.0.0/30")
    )
    assert whole.allocate() == "172.17.0.2"
