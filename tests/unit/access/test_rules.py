"""Rules: how they are read, whom they are about, and that every operation has a place in the policy."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from apispec.operations import OPERATIONS
from compatd.access.audit import Audit
from compatd.access.caller import Caller, of_transport
from compatd.access.owners import CALLER, Owners
from compatd.access.policy import ALWAYS, CHANGES, LOOKS, WHOLE, Policy
from compatd.access.views import Views
from compatd.config import ConfigError, load
from compatd.config.access import DENY, LIMITS, OWN, READ_ONLY, Rule, parse, socket_group
from tests.unit.access.world import IDS, ME, OTHER, World, refused


def test_every_operation_has_its_place() -> None:
    for name in OPERATIONS:
        places = [name in ALWAYS, name in LOOKS, name in CHANGES]
        assert places.count(True) == 1 or (not any(places) and name.startswith(WHOLE)), name
    for name in LOOKS:
        assert OPERATIONS[name].method in ("GET", "HEAD") or name == "ContainerWait"


def test_read_only_and_deny() -> None:
    for name in OPERATIONS:
        if name in LOOKS or name in ALWAYS:
            assert refused({READ_ONLY}, name, path="mine") == "", name
        else:
            assert refused({READ_ONLY}, name, {}, "mine"), name
        assert bool(refused({DENY}, name, {}, "mine")) == (name not in ALWAYS), name


def test_rules_are_read(tmp_path: Path) -> None:
    rules = parse(
        [
            {"user": ["root", "1234"]},
            {"group": "root", "limits": "read-only"},
            {"socket": "unix:///run/../run/ci.sock", "socket-group": "0", "limits": ["own", "no-privileged"]},
            {"socket": "tcp://0.0.0.0:2376", "certificate": "ann", "limits": []},
            {"limits": ["deny"]},
        ]
    )
    assert rules[0] == Rule(1, users=frozenset({0, 1234}))
    assert rules[1] == Rule(2, groups=frozenset({0}), limits=frozenset({READ_ONLY}))
    assert rules[2].sockets == {os.path.realpath("/run/ci.sock")}
    assert (rules[3].sockets, rules[3].certificates) == ({"tcp:2376"}, {"ann"})
    assert socket_group([{"socket": "/run/x", "socket-group": "ci"}], "unix:///run/x") == "ci"
    assert socket_group([{"socket": "/run/x", "socket-group": "ci"}], "unix:///run/y") == ""


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({}, "access: a list of rules is needed"),
        (["x"], "access: rule 1: an object is needed"),
        ([{}, {"users": "x"}], "access: rule 2: unknown keys: users (known: socket, "),
        ([{"limits": ["readonly"]}], "access: rule 1: unknown limits: readonly (known: deny, read-only, "),
        ([{"user": []}], "access: rule 1: user: a text, or a list of texts, is needed"),
        ([{"user": 0}], "access: rule 1: user: a text"),
        ([{"user": "no such user"}], "access: rule 1: unknown user no such user"),
        ([{"group": "no such group"}], "access: rule 1: unknown group no such group"),
        ([{"socket-group": "root"}], "access: rule 1: socket-group needs a socket"),
    ],
)
def test_rules_that_cannot_be_read(tmp_path: Path, rules: Any, text: str) -> None:
    import json

    file = tmp_path / "daemon.json"
    file.write_text(json.dumps({"access": rules}))
    if rules == {}:
        with pytest.raises(ValueError, match=text):
            parse(rules)
        return
    with pytest.raises(ConfigError) as error:
        load({}, str(file))
    assert f"daemon.json: {text}" in str(error.value)


def test_whom_a_rule_is_about() -> None:
    ann = Caller("/run/a.sock", 1000, 1000, 1, frozenset({50}))
    over_tls = Caller("tcp:2376", certificate="ann", remote="10.0.0.1:1")
    assert ann.matches(Rule(1))
    assert ann.matches(Rule(1, users=frozenset({1000}), groups=frozenset({50, 60})))
    assert ann.matches(Rule(1, groups=frozenset({1000})))
    assert not ann.matches(Rule(1, users=frozenset({1000}), groups=frozenset({60})))
    assert not ann.matches(Rule(1, sockets=frozenset({"/run/b.sock"})))
    assert over_tls.matches(Rule(1, sockets=frozenset({"tcp:2376"}), certificates=frozenset({"ann"})))
    assert not over_tls.matches(Rule(1, users=frozenset({0, 1000})))
    assert ann.identity(Rule(1)) == ann.identity(None) == "uid:1000"
    assert ann.identity(Rule(1, sockets=frozenset({"/run/a.sock"}))) == "/run/a.sock uid:1000"
    assert over_tls.identity(None) == "certificate:ann"


class Transport:
    """What is asked of an accepted connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def get_extra_info(self, name: str) -> Any:
        facts = {"socket": self.sock, "sockname": self.sock.getsockname(), "peername": ("10.0.0.1", 7)}
        return facts.get(name)


def test_the_caller_is_the_kernel_s_word(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(path))
        listener.listen()
        client.connect(str(path))
        accepted, _ = listener.accept()
        with accepted:
            found = of_transport(Transport(accepted))
    assert (found.uid, found.gid, found.pid) == (os.geteuid(), os.getegid(), os.getpid())
    assert found.socket == os.path.realpath(path)
    assert found.groups == frozenset(os.getgroups())
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = of_transport(Transport(server))
        assert found == Caller(f"tcp:{server.getsockname()[1]}", remote="10.0.0.1:7")


class Meta(dict[str, Any]):
    """A table of the store."""

    put = dict.__setitem__
    delete = dict.__delitem__

    def all(self) -> Any:
        return list(self.items())


def test_owners_are_noted_and_outlive_the_daemon() -> None:
    meta = Meta({"engine": {"ID": "x"}})
    owners = Owners(meta)
    token = CALLER.set(ME)
    try:
        owners.heard("container", "create", "c0")
        assert owners.of("container", "c0") == ""
        owners.use(frozenset({OWN}))
        owners.heard("container", "create", "c1")
        owners.heard("volume", "create", "v1")
        owners.heard("image", "create", "i1")
    finally:
        CALLER.reset(token)
    owners.heard("container", "create", "c2")
    again = Owners(meta)
    assert [again.of("container", name) for name in ("c1", "c2")] == [ME, ""]
    assert again.of("volume", "v1") == ME
    again.heard("container", "destroy", "c1")
    assert again.of("container", "c1") == ME  # events about it are still on their way
    assert Owners(meta).of("container", "c1") == ""


def test_answers_without_others_things() -> None:
    known = {
        ("container", IDS["mine"]): ME,
        ("container", IDS["others"]): OTHER,
        ("volume", "v"): ME,
        ("network", "m" * 64): ME,
    }
    views = Views(Policy(frozenset({OWN}), ME, World()), lambda kind, name: known.get((kind, name), ""))
    mine, others = {"Id": IDS["mine"]}, {"Id": IDS["others"]}
    query: dict[str, Any] = {"limit": 1}
    view = views.of("ContainerList", query)
    assert view is not None
    assert view([others, mine, mine]) == [mine]
    assert query == {"limit": None, "all": True}
    volumes = [{"Name": "v"}, {"Name": "w"}, {"Name": "s", "Labels": {"compatd.access.shared": ""}}]
    assert [item["Name"] for item in views.volumes({"Volumes": volumes})["Volumes"]] == ["v", "s"]
    networks = [{"Id": letter * 64, "Containers": {IDS["mine"]: 1, IDS["others"]: 2}} for letter in "bmo"]
    assert [item["Id"][0] for item in views.networks(networks)] == ["b", "m"]
    assert views.networks(networks)[0]["Containers"] == {IDS["mine"]: 1}
    usage = views.usage({"Containers": [mine, others], "VolumeUsage": {"Items": volumes}, "Images": [1]})
    assert usage["Containers"] == [mine]
    assert len(usage["VolumeUsage"]["Items"]) == 2
    assert usage["Images"] == [1]

    def event(kind: str, actor: str, **attributes: str) -> bool:
        value = {"Type": kind, "Actor": {"ID": actor, "Attributes": attributes}}
        return views.event(value) is not None

    assert event("container", IDS["mine"])
    assert not event("container", IDS["others"])
    assert event("network", "b" * 64, container=IDS["mine"])
    assert not event("network", "b" * 64, container=IDS["others"])
    assert not event("network", "o" * 64)
    assert event("image", "x")


def test_the_audit_log_is_root_s_and_can_be_moved(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    audit = Audit(str(path))
    audit.write("request", {"uid": 1})
    assert path.stat().st_mode & 0o777 == 0o600
    path.rename(tmp_path / "old")
    audit.reopen()
    audit.write("answer", {"uid": 2})
    assert '"event": "answer", "uid": 2}' in path.read_text()
    assert '"uid": 1' in (tmp_path / "old").read_text()
    audit.close()
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(OSError, match="link"):
        Audit(str(link))
    Audit("").write("request", {})


def test_all_limits_are_documented() -> None:
    text = (Path(__file__).parents[3] / "docs/access.md").read_text()
    for limit in LIMITS:
        assert f"`{limit}`" in text
