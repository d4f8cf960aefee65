"""What the daemon tells the resolver of containers and endpoints."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compatd.engine.networks import names, resolvconf
from compatd.engine.networks.model import Endpoint
from compatd.engine.networks.names import Names, dns_names

CONFIG = SimpleNamespace(dns=[], dns_search=[], dns_opts=[], host_gateway_ips=[])


class FakeResolver:
    """Notes what it is told."""

    def __init__(self, runtime: Any) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.known: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.told.append((name, *arguments))

    def expect(self, sandbox: dict[str, Any]) -> dict[str, Any]:
        self.known.add(sandbox["container"])
        return {"socket": "/s", "sandbox": sandbox}

    def has(self, container: str) -> bool:
        return container in self.known

    async def change(self, sandbox: dict[str, Any]) -> None:
        self.known.add(sandbox["container"])
        self.told.append(("change", sandbox))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Names:
    monkeypatch.setattr(names, "Resolver", FakeResolver)
    (tmp_path / "host").write_text("nameserver 127.0.0.53\n")
    monkeypatch.setattr(resolvconf, "RESOLV_CONF", tmp_path / "host")
    return Names(CONFIG, None)


def told(world: Names) -> list[tuple[Any, ...]]:
    return world._resolver.told  # type: ignore[attr-defined,no-any-return]


def container(folder: Path | None = None, **host_config: Any) -> Any:
    return SimpleNamespace(
        id="0123456789abcdef", name="/web", config={"Hostname": "0123456789ab"}, pid=7, dir=folder,
        host_config={"NetworkMode": "net", **host_config},
    )  # fmt: skip


def endpoint(network: str = "net", **fields: Any) -> Endpoint:
    return Endpoint("e-" + network, "0123456789abcdef", "web", "id-" + network, network, "s", "k", **fields)


def test_names_in_their_order_each_once() -> None:
    me = container()
    assert dns_names(me, None) == ["web", "0123456789ab"]
    assert dns_names(me, {"Aliases": ["a", "web", "b", "a"]}) == ["web", "a", "b", "0123456789ab"]
    me.config["Hostname"] = "other"
    assert dns_names(me, {}) == ["web", "0123456789ab", "other"]


def test_a_starting_container(world: Names) -> None:
    ends = [
        endpoint("net", default4=True, request={"Links": ["db:data", "cache"]}),
        endpoint("bridge"),
        endpoint("two"),
    ]
    plan = world.plan(container(), ends)
    assert plan == {
        "socket": "/s",
        "sandbox": {
            "container": "0123456789abcdef",
            "endpoints": [
                {"id": "e-net", "network": "id-net", "links": {"data": "db", "cache": "cache"}},
                {"id": "e-two", "network": "id-two", "links": {}},
            ],
            "servers": [["127.0.0.53", True]],
            "forward": True,
            "ndots": False,
        },
    }


@pytest.mark.parametrize("network", ["bridge", "host", "none"])
def test_networks_without_names(world: Names, network: str) -> None:
    assert world.plan(container(), [endpoint(network)]) is None
    world.up(container(), endpoint(network))
    assert told(world) == []


def test_given_servers_and_options(world: Names) -> None:
    plan = world.plan(container(Dns=["9.9.9.9"], DnsOptions=["ndots:1"]), [endpoint()])
    assert plan is not None
    assert plan["sandbox"]["servers"] == [["9.9.9.9", False]] and plan["sandbox"]["ndots"]
    assert not plan["sandbox"]["forward"]


def test_endpoints_come_and_go(world: Names) -> None:
    end = endpoint(address="172.18.0.2", address6="fd00::2", dns_names=["web", "www"])
    world.up(container(), end)
    world.down(end)
    world.sandbox_gone("0123456789abcdef")
    assert told(world) == [
        (
            "add",
            {
                "endpoint": "e-net", "network": "id-net", "network_name": "net", "names": ["web", "www"],
                "v4": "172.18.0.2", "v6": "fd00::2",
            },
        ),
        ("remove", "e-net"),
        ("gone", "0123456789abcdef"),
    ]  # fmt: skip


def test_at_a_daemons_start(world: Names) -> None:
    world.adopt(container(), [endpoint("bridge"), endpoint()])
    world.settle()
    assert [entry[0] for entry in told(world)] == ["adopt", "add", "settle"]


async def changed(world: Names, me: Any, *ends: Endpoint) -> None:
    await world.changed(me, ends)


def test_the_first_network_with_names_of_a_running_container(world: Names, tmp_path: Path) -> None:
    import asyncio

    me = container(tmp_path, NetworkMode="bridge")
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    asyncio.run(changed(world, me, endpoint("bridge")))
    assert told(world) == [] and "192.0.2.1" in (tmp_path / "resolv.conf").read_text()
    asyncio.run(changed(world, me, endpoint("bridge"), endpoint()))
    assert "nameserver 127.0.0.11\n" in (tmp_path / "resolv.conf").read_text()
    (tmp_path / "resolv.conf").write_text("mine\n")
    asyncio.run(changed(world, me, endpoint("bridge")))
    assert (tmp_path / "resolv.conf").read_text() == "mine\n"
    assert [len(sandbox["endpoints"]) for _, sandbox in told(world)] == [1, 0]
