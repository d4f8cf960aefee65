"""`--chown` taken apart. Source: moby/buildkit client/llb (WithUser), moby daemon/builder/dockerfile."""

import re
from typing import Any

from compatd.engine.builder.errors import BuildError

Json = dict[str, Any]

_NUMBER = re.compile(r"[-+]?[0-9]+", re.ASCII)
_MAX = 2**63


def _part(text: str) -> str | int:
    """A number as Go's Atoi reads it, else a name."""
    if _NUMBER.fullmatch(text) and len(text) < 21 and -_MAX <= int(text) < _MAX:
        return int(text)
    return text


def parse(text: str, *, classic: bool) -> Json | None:
    """What `runtime.storage.buildowner.resolve` takes; None for no --chown.

    Raises BuildError (classic only).
    """
    if not text:
        return None
    user, colon, group = text.partition(":")
    if classic:
        if group.count(":"):
            raise BuildError(mapping(f"invalid chown string format: {text}"))
        return {"user": _part(user), "group": _part(group) if colon else None, "strict": True}
    # What is left empty is root, and only a whole group that is not there is passed over
    return {
        "user": _part(user) if user else 0,
        "group": (_part(group) if group else 0) if colon else None,
        "strict": False,
    }


def mapping(text: str) -> str:
    """The classic builder's words around what is wrong with an owner."""
    return f"unable to convert uid/gid chown string to host mapping: {text}"


def named(owner: Json | None) -> bool:
    """Whether names have to be looked up."""
    return owner is not None and any(isinstance(owner[part], str) for part in ("user", "group"))
