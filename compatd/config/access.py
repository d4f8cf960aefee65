"""The `access` rules of daemon.json: who they are about, and how far those may go (docs/access.md)."""

import grp
import os
import pwd
import re
from typing import Any, NamedTuple

DENY = "deny"
READ_ONLY = "read-only"
OWN = "own"
NO_PRIVILEGED = "no-privileged"
NO_HOST_PATHS = "no-host-paths"
NO_HOST_NAMESPACES = "no-host-namespaces"
LIMITS = (DENY, READ_ONLY, OWN, NO_PRIVILEGED, NO_HOST_PATHS, NO_HOST_NAMESPACES)

_KEYS = ("socket", "socket-group", "user", "group", "certificate", "limits")


class Rule(NamedTuple):
    """Who is meant (nobody named in a field: all), and the limits. `number` counts from 1, for messages."""

    number: int
    sockets: frozenset[str] = frozenset()
    users: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()
    certificates: frozenset[str] = frozenset()
    limits: frozenset[str] = frozenset()


def parse(rules: Any) -> tuple[Rule, ...]:
    """Rules from their JSON. Raises ValueError, also for users and groups that are not there."""
    if not isinstance(rules, list):
        raise ValueError("access: a list of rules is needed")
    return tuple(_rule(number, rule) for number, rule in enumerate(rules, 1))


def check(rules: Any) -> list[dict[str, Any]]:
    """The rules as they are, when they can be read. Raises ValueError."""
    parse(rules)
    return list(rules)


def _rule(number: int, rule: Any) -> Rule:
    where = f"access: rule {number}"
    if not isinstance(rule, dict):
        raise ValueError(f"{where}: an object is needed")
    unknown = [key for key in rule if key not in _KEYS]
    if unknown:
        raise ValueError(f"{where}: unknown keys: {', '.join(unknown)} (known: {', '.join(_KEYS)})")
    limits = frozenset(_names(where, rule, "limits"))
    if wrong := sorted(limits - set(LIMITS)):
        raise ValueError(f"{where}: unknown limits: {', '.join(wrong)} (known: {', '.join(LIMITS)})")
    if rule.get("socket-group") and not rule.get("socket"):
        raise ValueError(f"{where}: socket-group needs a socket")
    for name in _names(where, rule, "socket-group"):
        _group(where, name)
    return Rule(
        number,
        frozenset(normal_socket(name) for name in _names(where, rule, "socket")),
        frozenset(_user(where, name) for name in _names(where, rule, "user")),
        frozenset(_group(where, name) for name in _names(where, rule, "group")),
        frozenset(_names(where, rule, "certificate")),
        limits,
    )


def _names(where: str, rule: dict[str, Any], key: str) -> list[str]:
    """One text, or a list of them; an empty list would mean nobody, and say everybody."""
    if key not in rule:
        return []
    value = rule[key]
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) and item for item in values) or (not values and key != "limits"):
        raise ValueError(f"{where}: {key}: a text, or a list of texts, is needed")
    return values


def _user(where: str, name: str) -> int:
    if name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ValueError(f"{where}: unknown user {name}") from None


def _group(where: str, name: str) -> int:
    if name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ValueError(f"{where}: unknown group {name}") from None


def normal_socket(name: str) -> str:
    """One form for `unix:///var/run/x`, `/run/x` and the like; a TCP address is known by its port."""
    if found := re.search(r"^tcp://.*:(\d+)/?$", name):
        return f"tcp:{found[1]}"
    path = name.removeprefix("unix://")
    return path if path.startswith("@") else os.path.realpath(path)


def socket_group(rules: list[dict[str, Any]], host: str) -> str:
    """The owner group that a rule gives the socket at an address of `hosts`, or ""."""
    for rule in rules:
        sockets = rule.get("socket") or []
        for name in sockets if isinstance(sockets, list) else [sockets]:
            if rule.get("socket-group") and normal_socket(name) == normal_socket(host):
                return str(rule["socket-group"])
    return ""
