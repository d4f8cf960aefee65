"""Users and groups by name, from the container's own files.

The files are the image's: opened inside its root by the kernel, no symlink out of it, bounded in size and
read without NSS (CVE-2018-15664's kin: `pwd` would load the container's libraries). Rules and texts are
those of moby's user package as runc and dockerd use it.
"""

from __future__ import annotations

import os
import stat

from runtime.init import paths
from runtime.init.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_ID = 2**31 - 1
# A file larger than this is cut: an image may not make the daemon's host read gigabytes (CVE-2026-47262).
MAX_FILE = 1 << 20
MAX_LINE = 64 << 10


class Resolved:
    """uid, gid: numbers; groups: supplementary ones, without duplicates; home: from passwd, or `/`."""

    __slots__ = ("gid", "groups", "home", "name", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: str, name: str) -> None:
        self.uid, self.gid, self.groups, self.home, self.name = uid, gid, groups, home, name


def resolve(root: int, user: str, additional: Sequence[str] = ()) -> Resolved:
    """Resolve `user` (`name|uid[:group|gid]`, '' is root) and `additional` groups in the tree `root` (fd).

    Raises UserError with dockerd's text.
    """
    return match(read(root, "etc/passwd"), read(root, "etc/group"), user, additional)


def home_of(root: int, uid: int) -> str:
    for entry in _entries(read(root, "etc/passwd"), 7):
        if _number(entry[2]) == uid:
            return entry[5] or "/"
    return "/"


def read(root: int, path: str) -> str:
    """The file's text, at most MAX_FILE bytes; '' when it is missing or no ordinary file."""
    try:
        fd = paths.open_in(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        chunks = []
        left = MAX_FILE
        while left > 0 and (chunk := os.read(fd, left)):
            chunks.append(chunk)
            left -= len(chunk)
        text = b"".join(chunks)
        if left <= 0:  # a cut last line could name another id
            text = text[: text.rfind(b"\n") + 1]
        return text.decode("utf-8", "surrogateescape")
    except OSError:
        return ""
    finally:
        os.close(fd)


def match(passwd: str, group: str, user: str, additional: Sequence[str] = ()) -> Resolved:
    """`resolve` on the files' texts."""
    name, colon, group_name = user.partition(":")
    if colon and (not group_name or ":" in group_name):
        # Docker's parser takes "1:" for group ""; nothing can be meant by it (CVE-2026-46680).
        raise UserError(f"unable to find group {group_name}: no matching entries in group file")
    uid, gid, home, login = _user(passwd, name)
    groups: list[int] = []
    if group_name:
        gid = _group(group, group_name)
    elif login:
        groups = [
            number
            for entry in _entries(group, 4)
            if login in entry[3].split(",") and (number := _number(entry[2])) is not None
        ]
    groups += [_group(group, extra) for extra in additional]
    return Resolved(uid, gid, list(dict.fromkeys(groups)), home, login)


def _user(passwd: str, name: str) -> tuple[int, int, str, str]:
    """(uid, gid, home, login name) of a name or number; digits are always a number."""
    number = _number(name) if name else 0
    by_number = None
    for entry in _entries(passwd, 7):
        uid = _number(entry[2])
        if uid is None:
            continue
        gid = _number(entry[3])
        found = (uid, 0 if gid is None else gid, entry[5] or "/", entry[0])
        if name and entry[0] == name and number is None:
            return found
        if number is not None and by_number is None and uid == number:
            by_number = found
    if by_number is not None:
        return by_number
    if number is None:
        if _looks_numeric(name):
            raise UserError(f"uids and gids must be in range 0-{MAX_ID}")
        raise UserError(f"unable to find user {name}: no matching entries in passwd file")
    return number, 0, "/", ""


def _group(group: str, name: str) -> int:
    number = _number(name)
    if number is not None:
        return number
    for entry in _entries(group, 3):
        found = _number(entry[2])
        if entry[0] == name and found is not None:
            return found
    if _looks_numeric(name):
        raise UserError(f"uids and gids must be in range 0-{MAX_ID}")
    raise UserError(f"unable to find group {name}: no matching entries in group file")


def find_user(passwd: str, name: str) -> tuple[int, int] | None:
    """(uid, gid) of the login name in a passwd file's text; names of digits are names here."""
    for entry in _entries(passwd, 7):
        uid = _number(entry[2])
        if entry[0] == name and uid is not None:
            return uid, _number(entry[3]) or 0
    return None


def find_group(group: str, name: str) -> int | None:
    """The number of the group in a group file's text."""
    for entry in _entries(group, 3):
        if entry[0] == name and (number := _number(entry[2])) is not None:
            return number
    return None


def _entries(text: str, fields: int) -> Iterator[list[str]]:
    for line in text.split("\n"):
        if line and line[0] not in "#\r" and len(line) <= MAX_LINE:
            entry = line.strip().split(":")
            if entry[0]:
                yield entry + [""] * (fields - len(entry))


def _number(text: str) -> int | None:
    """Plain ASCII digits in range, or None: no sign, no blanks, no other scripts' digits."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        return None
    value = int(text)
    return value if value <= MAX_ID else None


def _looks_numeric(text: str) -> bool:
    """Digits that are a number for Go (64 bits), only out of range; others are just a name."""
    text = text.removeprefix("-")
    return text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 2**63
