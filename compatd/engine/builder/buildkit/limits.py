"""What callers with limits may ask of BuildKit: pure functions of limits and messages.

Here is what is asked in so many words. What a Dockerfile asks (`RUN --network=host`, `--security=insecure`)
the executor grants only with the entitlement that `Control/Solve` names, which is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from compatd.config.access import (
    NO_HOST_NAMESPACES,
    NO_HOST_PATHS,
    NO_PRIVILEGED,
    OWN,
)
from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError

CONFINED = frozenset((NO_PRIVILEGED, NO_HOST_PATHS, NO_HOST_NAMESPACES))

CONTROL, BRIDGE = "/moby.buildkit.v1.Control/", "/moby.buildkit.v1.frontend.LLBBridge/"

_EVERYBODYS = frozenset(f"{CONTROL}{name}" for name in ("Prune", "UpdateBuildHistory"))


class Peer(NamedTuple):
    """Who is at the other end of a connection: the limits of the rule about it, and whose things it makes.

    `limits` is empty and `identity` "" where no rule is about the caller.
    """

    limits: frozenset[str] = frozenset()
    identity: str = ""

    @property
    def owner(self) -> str | None:
        """Whose sessions and builds it may use: None for anybody's (`Sessions.of`)."""
        return self.identity if OWN in self.limits else None


def guard(peer: Peer, path: str, message: Message | None) -> None:
    """Before a call, and with each message of it. Raises GrpcError."""
    limits = peer.limits
    if not limits:
        return
    if OWN in limits:
        limits |= {NO_PRIVILEGED, NO_HOST_PATHS}
        if path in _EVERYBODYS:
            raise _refused(f"{path} concerns everybody's: only own containers are allowed")
    if message is None or not limits & CONFINED:
        return
    if path == f"{CONTROL}Solve":
        _entitlements(limits, message.Entitlements)
        _attributes(limits, message.FrontendAttrs)
    elif path == f"{BRIDGE}Solve":
        _attributes(limits, message.FrontendOpt)


def _entitlements(limits: frozenset[str], names: tuple[str, ...] | list[str]) -> None:
    for name in names:
        if name == "network.host" and NO_HOST_NAMESPACES not in limits:
            continue
        raise _refused(f"the entitlement {name} is not allowed")


def _attributes(limits: frozenset[str], attributes: Mapping[str, str]) -> None:
    if attributes.get("cgroup-parent"):
        raise _refused("a parent cgroup is not allowed")
    if attributes.get("force-network-mode") == "host" and NO_HOST_NAMESPACES in limits:
        raise _refused("the host's network is not allowed")


def _refused(text: str) -> GrpcError:
    return GrpcError(Code.PERMISSION_DENIED, f"authorization denied by an access rule: {text}")
