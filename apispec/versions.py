"""API versions: order, the supported range, and what a client outside of it is told.

The rules and texts are those of a Docker Engine that serves 1.24 to 1.56 (an engine of today starts at 1.40;
the older ones are served for old clients).
"""

from functools import lru_cache, total_ordering
from typing import Any


@lru_cache(maxsize=256)
def _key(text: str) -> tuple[int, ...]:
    parts = [int(part) if part.isdigit() else 0 for part in text.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


@total_ordering
class Version:
    """An API version such as ``1.41``; ordered by its numbers, so 1.9 < 1.41. Compares with strings too.

    Parts that are no numbers count as 0 and missing ones too, as in the engine ("1.2.3" is before "1.24").
    """

    __slots__ = ("key", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.key = _key(text)

    def __eq__(self, other: Any) -> bool:
        if isinstance(other, Version):
            return self.key == other.key
        return self.key == _key(other) if isinstance(other, str) else NotImplemented

    def __lt__(self, other: Any) -> bool:
        if isinstance(other, Version):
            return self.key < other.key
        return self.key < _key(other) if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Version({self.text!r})"


MIN = Version("1.24")
MAX = Version("1.56")
PLAIN_TEXT_BEFORE = Version("1.24")
OLDER = Version("1.22")
"""What skopeo, podman and buildah of before 2024 ask a daemon for images with, those of Debian 12 too: it is
served beside the supported range and not told of."""


class VersionError(ValueError):
    """The client's version is out of range. Status 400; ``plain`` says that the body is text, not JSON."""

    def __init__(self, message: str, *, plain: bool) -> None:
        super().__init__(message)
        self.message = message
        self.plain = plain


def negotiate(text: str | None, *, minimum: Version = MIN, maximum: Version = MAX) -> Version:
    """The version that a request speaks: ``text`` is what follows ``/v`` in its path, None when unversioned.

    Raises VersionError. Clients from before 1.24 expect errors as plain text.
    """
    if text is None:
        return maximum
    version = Version(text)
    if version < minimum and not (version == OLDER and minimum == MIN):
        raise VersionError(
            f"client version {text} is too old. Minimum supported API version is {minimum}, "
            "please upgrade your client to a newer version",
            plain=version < PLAIN_TEXT_BEFORE,
        )
    if version > maximum:
        raise VersionError(
            f"client version {text} is too new. Maximum supported API version is {maximum}", plain=False
        )
    return version
