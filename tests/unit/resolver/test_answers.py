"""Names: which answer a container gets, and that it gets none about networks that it is not on."""

from typing import Any

import pytest

from runtime.resolver import message
from runtime.resolver.answers import View
from runtime.resolver.records import Records
from tests.unit.resolver.dnskit import Answer, query, read, record, sandbox


def records(*added: dict[str, Any]) -> Records:
    found = Records()
    for entry in added:
        found.add(entry)
    return found


def ask(view: View, name: str, kind: int = message.A) -> Answer | None:
    raw = view.answer(message.parse(query(name, kind)), 512)
    quick = view.quick(query(name, kind, id=0x4321))
    if raw is None:
        assert quick is None
        return None
    # Kept ready, an answer is the same one, for another ID.
    assert quick is not None and quick[:2] == b"\x43\x21" and sorted(quick[2:]) == sorted(raw[2:])
    return read(raw)


def addresses(view: View, name: str, kind: int = message.A) -> list[str] | None:
    answer = ask(view, name, kind)
    if answer is None:
        return None
    assert answer.code == message.NOERROR
    assert all(ttl == 600 for _, ttl, _ in answer.records)
    return sorted(answer.addresses)


BOTH = record("e1", ["web", "www", "0123456789ab"], "172.18.0.2", "fd00::2")
FOUR = record("e2", ["db", "www"], "172.18.0.3")
ELSEWHERE = record("e3", ["web", "far"], "172.19.0.2", network="n2")


def test_names_aliases_and_short_ids() -> None:
    view = View(records(BOTH, FOUR), sandbox("n1"))
    for name in ("web", "WEB", "web.", "0123456789ab", "web.n1-name", "0123456789ab.n1-name"):
        assert addresses(view, name) == ["172.18.0.2"]
    assert addresses(view, "www") == ["172.18.0.2", "172.18.0.3"]
    assert addresses(view, "web", message.AAAA) == ["fd00::2"]
    for name in ("nope", "web.other", "web.n2-name", "b", ""):
        assert addresses(view, name) is None


def test_a_name_without_an_address_of_the_family_is_answered_empty() -> None:
    view = View(records(FOUR, record("e", ["six"], v6="fd00::6")), sandbox("n1"))
    assert addresses(view, "db", message.AAAA) == []
    assert addresses(view, "six") == []
    assert addresses(view, "db", message.MX) == addresses(view, "six", message.MX) == []


@pytest.mark.parametrize("kind", [message.SRV, 16, 255, 6, 65])
def test_other_types_are_asked_elsewhere(kind: int) -> None:
    assert addresses(View(records(BOTH), sandbox("n1")), "web", kind) is None


def test_who_is_not_on_a_network_knows_nothing_of_it() -> None:
    known = records(BOTH, ELSEWHERE)
    assert addresses(View(known, sandbox("n1")), "far") is None
    assert addresses(View(known, sandbox()), "web") is None
    assert addresses(View(known, sandbox("n3")), "web") is None
    assert ask(View(known, sandbox("n1")), "2.0.19.172.in-addr.arpa", message.PTR) is None


def test_a_name_on_several_networks_is_that_of_the_first() -> None:
    known = records(BOTH, ELSEWHERE)
    assert addresses(View(known, sandbox("n1", "n2")), "web") == ["172.18.0.2"]
    assert addresses(View(known, sandbox("n2", "n1")), "web") == ["172.19.0.2"]
    assert addresses(View(known, sandbox("n1", "n2")), "web.n2-name") == ["172.19.0.2"]
    # An address of the family on the second network does not count: the first has the name.
    assert addresses(View(known, sandbox("n2", "n1")), "web", message.AAAA) == []


def test_dots_in_names_of_containers_and_networks() -> None:
    dotted = {**record("e", ["a.b"], "10.0.0.1", network="x"), "network_name": "c.d"}
    plain = {**record("f", ["a"], "10.0.0.2", network="y"), "network_name": "b.c.d"}
    view = View(records(dotted, plain), sandbox("x", "y"))
    assert addresses(view, "a.b") == addresses(view, "a.b.c.d") == ["10.0.0.1"]
    assert addresses(View(records(plain), sandbox("x", "y")), "a.b.c.d") == ["10.0.0.2"]
    raw = query("x", message.A).replace(b"\x01x\0", b"\x03a.b\0")  # one label with a dot in it
    assert view.answer(message.parse(raw), 512) is None


def test_links() -> None:
    links = {"Data": "db", "web": "db", "lost": "gone"}
    view = View(records(BOTH, FOUR), sandbox("n1", links=links))
    assert addresses(view, "data") == addresses(view, "web") == ["172.18.0.3"]
    assert addresses(view, "data.n1-name") == ["172.18.0.3"]
    assert addresses(view, "lost") is None
    assert addresses(View(records(BOTH, FOUR), sandbox("n1")), "data") is None


def test_addresses_take_turns() -> None:
    many = [record(f"e{i}", ["all"], f"172.18.0.{i}") for i in range(1, 5)]
    view = View(records(*many), sandbox("n1"))
    firsts = {read(view.answer(message.parse(query("all")), 512)).addresses[0] for _ in range(200)}
    quick = {read(view.quick(query("all"))).addresses[0] for _ in range(200)}
    assert firsts == quick == {f"172.18.0.{i}" for i in range(1, 5)}


def test_very_many_addresses_take_turns_and_are_cut_to_what_fits() -> None:
    many = [record(f"e{i}", ["all"], f"172.18.{i}.1") for i in range(100)]
    view = View(records(*many), sandbox("n1"))
    answers = [read(view.answer(message.parse(query("all")), 512)) for _ in range(50)]
    assert all(answer.flags & 0x0200 and len(answer.records) == 30 for answer in answers)
    assert len({answer.addresses[0] for answer in answers}) > 5
    assert view.quick(query("all")) is None
    assert len(read(view.answer(message.parse(query("all")), message.MOST)).records) == 100


def test_an_address_that_two_have_is_told_once() -> None:
    view = View(records(FOUR, record("e", ["db"], "172.18.0.3")), sandbox("n1"))
    assert addresses(view, "db") == ["172.18.0.3"]


@pytest.mark.parametrize("name", ["2.0.18.172.in-addr.arpa", "2." + "0." * 29 + "d.f.ip6.arpa"])
def test_names_of_addresses(name: str) -> None:
    answer = ask(View(records(BOTH), sandbox("n1")), name, message.PTR)
    assert answer is not None
    assert answer.records == [(message.PTR, 600, b"\3web\7n1-name\0")]


@pytest.mark.parametrize("name", ["3.0.18.172.in-addr.arpa", "2.0.18.172.other.arpa", "2.0.18.172", "arpa"])
def test_addresses_without_a_name(name: str) -> None:
    assert ask(View(records(BOTH), sandbox("n1")), name, message.PTR) is None


def test_changes_are_seen_at_once() -> None:
    known = records(BOTH)
    view = View(known, sandbox("n1"))
    assert addresses(view, "web") == ["172.18.0.2"]
    known.add({**BOTH, "v4": "172.18.0.9", "names": ["new"]})
    assert addresses(view, "web") is None and addresses(view, "new") == ["172.18.0.9"]
    known.remove("e1")
    known.remove("e1")
    assert addresses(view, "new") is None and known.networks == {}
    view.update(sandbox("n2"))
    known.add(ELSEWHERE)
    assert addresses(view, "web") == ["172.19.0.2"]
    known.clear()
    assert addresses(view, "web") is None


def test_a_bad_record_changes_nothing() -> None:
    known = records(BOTH)
    with pytest.raises(OSError, match="illegal"):
        known.add({**BOTH, "v4": "not an address"})
    assert addresses(View(known, sandbox("n1")), "web") == ["172.18.0.2"]


def test_ndots_keeps_names_without_dots_inside() -> None:
    view = View(records(BOTH), sandbox("n1", ndots=True))
    for kind in (message.A, message.AAAA):
        answer = view.answer(message.parse(query("nope", kind)), 512)
        assert read(answer).records == [] and read(answer).code == message.NOERROR
    assert view.answer(message.parse(query("nope", message.MX)), 512) is None
    assert view.answer(message.parse(query("no.pe")), 512) is None


def test_servers_of_internal_networks() -> None:
    servers = [["192.0.2.1", True], ["127.0.0.11", False], ["192.0.2.2", False]]
    view = View(records(), sandbox("n1", servers=servers))
    assert [s.address for s in view.servers()] == ["192.0.2.1", "192.0.2.2"]
    view.update(sandbox("n1", servers=servers, forward=False))
    assert [s.address for s in view.servers()] == ["192.0.2.2"]
    view.update(sandbox("n1", servers=[[f"192.0.2.{i}", True] for i in range(9)]))
    assert len(view.servers()) == 3


def test_few_answers_are_kept_ready_whatever_is_asked() -> None:
    view = View(records(BOTH), sandbox("n1"))
    for i in range(5000):
        name = "".join(c.upper() if i >> bit & 1 else c for bit, c in enumerate("0123456789ab"))
        view.answer(message.parse(query(name, size=513 + i)), 513 + i)
    assert 100 < len(view._ready) < 4000
