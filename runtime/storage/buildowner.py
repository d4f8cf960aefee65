"""`--chown`:
names looked up in the files of the image that is copied into, never by the host's or a library.
"""

from __future__ import annotations

from runtime.init import users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

_MASK = 0xFFFFFFFF


class UnknownOwner(Exception):
    """No such user or group; the text is the classic builder's (BuildKit takes root then)."""


def resolve(root: int, told: Json) -> tuple[int, int]:
    """(uid, gid) in the tree `root` (an fd).

    "user": a name or a number; "group": that, or null for the user's own; "strict": raise UnknownOwner for a
    name that is not there (the classic builder, whose user's own group is the one called as the user).
    """
    user, group, strict = told["user"], told["group"], told["strict"]
    if strict and group is None:
        group = user
    uid, gid = 0, 0
    if isinstance(user, int):
        uid = gid = user
    elif found := users.find_user(users.read(root, "etc/passwd"), user):
        uid, gid = found
    elif strict:
        raise UnknownOwner(f"can't find uid for user {user}: no such user: {user}")
    if isinstance(group, int):
        gid = group
    elif group is not None:
        number = users.find_group(users.read(root, "etc/group"), group)
        if number is not None:
            gid = number
        elif strict:
            raise UnknownOwner(f"can't find gid for group {group}: no such group: {group}")
    return _id(uid), _id(gid)


def _id(number: int) -> int:
    """As the kernel takes what a Dockerfile says; -1 would leave it as it was made, by root."""
    number &= _MASK
    return 0 if number == _MASK else number
