"""Names on user-defined networks, as programs in containers find them; /etc/resolv.conf and /etc/hosts."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from conformance import dns, networks
from conformance.cli import Cli
from conformance.dns import AAAA, MX, NOERROR, NXDOMAIN, PTR, ask
from conformance.engine import Engine
from conformance.networks import Made, on, sleeper

START = ("ContainerCreate", "ContainerStart")


class Place:
    """A network whose gateway has a DNS server that knows one name; containers on it ask it."""

    def __init__(self, engine: Engine, made: Made, server: dns.Zone, network: str) -> None:
        self.engine, self.made, self.server, self.network = engine, made, server, network

    def run(self, *aliases: str, name: str = "", host: dict[str, Any] | None = None, **more: Any) -> str:
        """A container there."""
        settings = {"Aliases": list(aliases), **more}
        host = {"Dns": ["10.180.0.1"], **(host or {})}
        made = networks.create(self.engine, self.network, {self.network: settings}, name=name, host=host)
        self.engine.start(made)
        return made

    def address(self, container: str, network: str = "") -> str:
        return str(on(self.engine, container)[network or self.network]["IPAddress"])

    def found(self, container: str, name: str, **how: Any) -> list[str]:
        """The addresses of a name for a container."""
        answer = ask(self.engine, container, name, **how)
        assert answer.code == (NOERROR if answer.records else NXDOMAIN)
        return answer.values


@pytest.fixture
def place(engine: Engine, made: Made) -> Iterator[Place]:
    network = made.subnet("10.180.0.0/24")
    # The bridge has its address by now; the server ends before the network goes.
    with dns.serving("10.180.0.1", "out.side", "192.0.2.1") as server:
        yield Place(engine, made, server, network)


@pytest.mark.operation(*START)
def test_what_a_container_is_called(engine: Engine, place: Place) -> None:
    name = engine.name("web")
    one = place.run("an-alias", "Mixed", name=name)
    two, address = place.run(), place.address(one)
    for known in (name, "an-alias", "mixed", "MIXED", one[:12]):
        for full in (known, f"{known}.", f"{known}.{place.network}"):
            answer = ask(engine, two, full)
            assert answer.records == [(dns.A, 600, address)]
            assert answer.flags == 0x8180
    assert place.found(one, name, tcp=True) == [address]
    for unknown in ("an-alias.elsewhere", one[:11], "nope"):
        assert place.found(two, unknown) == []


@pytest.mark.operation(*START)
def test_other_types(engine: Engine, place: Place) -> None:
    name = engine.name("web")
    one = place.run(name=name)
    for kind in (AAAA, MX):
        answer = ask(engine, one, name, kind)
        assert (answer.code, answer.records) == (NOERROR, [])
    back = ".".join(reversed(place.address(one).split("."))) + ".in-addr.arpa"
    assert ask(engine, one, back, PTR).records == [(PTR, 600, f"{name}.{place.network}")]
    for kind in (16, 33, 255):  # TXT, SRV, ANY: other servers may know
        assert ask(engine, one, name, kind).code == NXDOMAIN
    assert [asked for _, asked in place.server.asked] == [name] * 3


@pytest.mark.operation(*START)
def test_ipv6(engine: Engine, made: Made) -> None:
    network = made.create(
        EnableIPv6=True, IPAM={"Config": [{"Subnet": "10.181.0.0/24"}, {"Subnet": "fd00:181::/64"}]}
    )
    box = sleeper(engine, network, Aliases=["six"])
    mine = on(engine, box)[network]
    assert ask(engine, box, "six").values == [mine["IPAddress"]]
    assert ask(engine, box, "six", AAAA).values == [mine["GlobalIPv6Address"]]
    nibbles = "0" * 31 + mine["GlobalIPv6Address"].rpartition(":")[2]
    full = "fd000181" + nibbles[-24:]
    answer = ask(engine, box, ".".join(reversed(full)) + ".ip6.arpa", PTR)
    names = [engine.inspect(box)["Name"][1:], *([] if engine.at_least("1.44") else ["six", box[:12]])]
    assert answer.values[0] in [f"{name}.{network}" for name in names]
    hosts = engine.exec(box, "cat", "/etc/hosts").out
    for address in (mine["IPAddress"], mine["GlobalIPv6Address"]):
        assert f"{address}\t{box[:12]}\n" in hosts


@pytest.mark.operation(*START)
def test_shared_aliases_take_turns(engine: Engine, place: Place) -> None:
    boxes = [place.run("all") for _ in range(3)]
    expected = sorted(place.address(box) for box in boxes)
    firsts = set()
    for _ in range(500):
        answer = ask(engine, boxes[0], "all")
        assert answer.values == expected
        firsts.add(answer.records[0][2])
        if len(firsts) == 3:
            break
    assert len(firsts) == 3
    engine.remove(boxes[2])
    assert place.found(boxes[0], "all") == sorted(place.address(box) for box in boxes[:2])


@pytest.mark.operation(*START)
def test_links(engine: Engine, place: Place) -> None:
    name = engine.name("db")
    one = place.run(name=name)
    two = place.run(Links=[f"{name}:data", f"{name}:store"])
    for known in ("data", "store", f"data.{place.network}", name):
        assert place.found(two, known) == [place.address(one)]
    assert place.found(one, "data") == []


@pytest.mark.operation(*START)
def test_other_names_are_asked_elsewhere(engine: Engine, place: Place) -> None:
    box = place.run()
    answer = ask(engine, box, "out.side")
    assert answer.records == [(dns.A, 5, "192.0.2.1")]
    assert ask(engine, box, "out.side", tcp=True).values == ["192.0.2.1"]
    assert ask(engine, box, "no.where").code == NXDOMAIN
    assert place.server.asked == [("udp", "out.side"), ("tcp", "out.side"), ("udp", "no.where")]


@pytest.mark.operation(*START)
def test_a_name_without_dots_is_kept_when_ndots_is_set(engine: Engine, place: Place) -> None:
    box = place.run(host={"DnsOptions": ["ndots:2"], "DnsSearch": ["corp.example"]})
    answer = ask(engine, box, "nodots")
    assert (answer.code, answer.records) == (NOERROR, [])
    assert ask(engine, box, "nodots.corp.example").code == NXDOMAIN
    assert place.server.asked == [("udp", "nodots.corp.example")]


@pytest.mark.operation(*START)
def test_networks_do_not_know_each_other(engine: Engine, place: Place, made: Made) -> None:
    other = made.subnet("10.182.0.0/24")
    far = sleeper(engine, other, Aliases=["far", "both"])
    near = place.run("both")
    assert place.found(near, "far") == place.found(near, f"far.{other}") == []
    assert place.found(near, "both") == [place.address(near)]
    assert ask(engine, far, "both").values == [place.address(far, other)]


@pytest.mark.operation("NetworkConnect", "NetworkDisconnect")
def test_connect_and_disconnect(engine: Engine, place: Place, made: Made) -> None:
    other = made.subnet("10.182.0.0/24")
    far, near = sleeper(engine, other, Aliases=["far"]), place.run()
    made.connect(place.network, far, Aliases=["guest"])
    here, there = place.address(far), place.address(far, other)
    assert place.found(near, "guest") == [here] and place.found(near, "far") == []
    assert ask(engine, far, "far").values == [there]
    assert ask(engine, far, near[:12]).values == [place.address(near)]
    hosts = engine.exec(far, "cat", "/etc/hosts").out
    assert f"{here}\t{far[:12]}\n" in hosts and f"{there}\t{far[:12]}\n" in hosts
    made.disconnect(place.network, far)
    assert place.found(near, "guest") == []
    if engine.at_least("1.48"):  # older ones took away the first network's line
        hosts = engine.exec(far, "cat", "/etc/hosts").out
        assert here not in hosts and f"{there}\t{far[:12]}\n" in hosts


@pytest.mark.operation("NetworkConnect")
def test_from_the_default_network(engine: Engine, place: Place) -> None:
    near = place.run("near")
    box = engine.sleeper()
    assert "127.0.0.11" not in engine.exec(box, "cat", "/etc/resolv.conf").out
    place.made.connect(place.network, box)
    assert ask(engine, box, "near").values == [place.address(near)]
    assert directives(engine, box)["nameserver"] == ["127.0.0.11"]


@pytest.mark.operation("ContainerRename", "ContainerStop", "ContainerStart")
def test_names_follow_their_container(engine: Engine, place: Place) -> None:
    old, new = engine.name("old"), engine.name("new")
    box, near = place.run(name=old), place.run()
    assert place.found(near, old) == [place.address(box)]
    engine.wire.post(f"/containers/{box}/rename", status=204, name=new)
    assert place.found(near, new) == [place.address(box)]
    assert place.found(near, old) == []
    engine.wire.post(f"/containers/{box}/stop", status=204, t=0)
    assert place.found(near, new) == []
    taken = place.run()  # likely the address that it had
    engine.start(box)
    assert place.found(near, new) == [place.address(box)] != [place.address(taken)]


@pytest.mark.operation("ContainerInspect")
@pytest.mark.since("1.44")
def test_names_are_shown(engine: Engine, place: Place) -> None:
    name = engine.name("web")
    box = place.run("one", "two", name=name)
    assert on(engine, box)[place.network]["DNSNames"] == [name, "one", "two", box[:12]]


def directives(engine: Engine, container: str) -> dict[str, list[str]]:
    """/etc/resolv.conf, word → values of its lines."""
    found: dict[str, list[str]] = {}
    for line in engine.exec(container, "cat", "/etc/resolv.conf").out.splitlines():
        if line and not line.startswith("#"):
            word, *values = line.split()
            found.setdefault(word, []).extend(values)
    return found


@pytest.mark.operation(*START)
def test_resolv_conf(engine: Engine, made: Made, place: Place) -> None:
    box = place.run(host={"DnsSearch": ["a.example", "b.example"], "DnsOptions": ["rotate", "ndots:3"]})
    assert directives(engine, box) == {
        "nameserver": ["127.0.0.11"],
        "search": ["a.example", "b.example"],
        "options": ["rotate", "ndots:3"],
    }
    plain = directives(engine, place.run())
    assert plain["nameserver"] == ["127.0.0.11"] and "ndots:0" in plain["options"]
    one = directives(engine, place.run(host={"DnsSearch": ["."]}))
    assert "search" not in one


@pytest.mark.operation(*START)
@pytest.mark.since("1.45")
def test_resolv_conf_tells_where_it_comes_from(engine: Engine, place: Place) -> None:
    box = place.run(host={"DnsSearch": ["a.example"]})
    text = engine.exec(box, "cat", "/etc/resolv.conf").out
    assert text.startswith("# Generated by Docker Engine.\n# This file can be edited; ")
    assert re.search(r"(?m)^# Based on host file: '/etc/resolv.conf' \(internal resolver\)$", text)
    assert text.endswith(
        "# ExtServers: [10.180.0.1]\n# Overrides: [nameservers search]\n# Option ndots from: internal\n"
    )
    legacy = engine.exec(engine.sleeper(), "cat", "/etc/resolv.conf").out
    assert re.search(r"(?m)^# Based on host file: '\S+' \(legacy\)$", legacy)


@pytest.mark.operation("NetworkConnect")
@pytest.mark.since("1.45")
def test_an_edited_resolv_conf_is_kept(engine: Engine, place: Place) -> None:
    box = engine.sleeper()
    engine.exec(box, "sh", "-c", "echo nameserver 192.0.2.7 >/etc/resolv.conf")
    place.made.connect(place.network, box)
    assert directives(engine, box) == {"nameserver": ["192.0.2.7"]}


@pytest.mark.operation(*START)
def test_programs_in_containers(engine: Engine, place: Place, cli: Cli) -> None:
    """busybox's, by its own resolver."""
    name = engine.name("web")
    options = ("--network", place.network, "--dns", "10.180.0.1")
    cli.text("run", "-d", "--name", name, "--network-alias", "www", *options, engine.image, "sleep", "1000")
    address = place.address(name)
    script = f"nslookup -type=a www; ping -c 1 -W 10 {name}.{place.network}; nslookup -type=a out.side"
    out = cli.text("run", "--rm", "--link", f"{name}:friend", *options, engine.image, "sh", "-c", script)
    assert f"Address: {address}" in out and f"({address})" in out and "Address: 192.0.2.1" in out
    command = ("nslookup", "-type=a", "friend")
    out = cli.text("run", "--rm", "--link", f"{name}:friend", *options, engine.image, *command)
    assert f"Address: {address}" in out
