"""What the gate tells of a caller to those who judge for themselves (BuildKit's calls)."""

from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import pytest

from compatd.access.caller import Caller
from compatd.access.gate import Gate
from compatd.config.access import NO_PRIVILEGED, OWN
from compatd.engine.errors import Forbidden


def gate(*rules: dict[str, Any]) -> Gate:
    config = SimpleNamespace(access=list(rules), audit_log="")
    store = SimpleNamespace(meta=SimpleNamespace(all=lambda: ()))
    events = SimpleNamespace(watchers=[])
    return Gate(SimpleNamespace(config=config, store=store, events=events))


def asked(made: Gate, user: int, operation: str = "Grpc") -> Any:
    """The call after the gate has looked at it."""
    call = SimpleNamespace(
        operation=SimpleNamespace(id=operation), path={}, query={}, body=None, version="1.45", access=None
    )
    head = SimpleNamespace(method="POST", path="/grpc")
    ticket = made.asked(Caller("/run/docker.sock", user, user, 1), operation, head)
    copy_context().run(made.check, ticket, call)  # the caller is a variable of the context
    return call


def test_limits_and_identity() -> None:
    made = gate({"user": "1000", "limits": OWN}, {"user": "root"})
    assert asked(made, 1000).access == (frozenset({OWN}), "uid:1000")
    assert asked(made, 0).access == (frozenset(), "uid:0")
    assert asked(made, 7).access == (frozenset(), "uid:7")


@pytest.mark.parametrize("operation", ["Grpc", "Session"])
def test_who_may_not_build_at_all(operation: str) -> None:
    for limits in ("deny", "read-only"):
        with pytest.raises(Forbidden):
            asked(gate({"limits": limits}), 1000, operation)
    asked(gate({"limits": [OWN, NO_PRIVILEGED]}), 1000, operation)
