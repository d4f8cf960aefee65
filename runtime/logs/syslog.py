"""Messages for syslog servers: the local form, RFC 3164 and RFC 5424, as Docker Engine writes them.

The tag takes the place of the program's name in all of them.
"""

from __future__ import annotations

import os
import time

from runtime.logs import dial
from runtime.logs.base import LogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.logs.messages import Message

_SEVERITIES = {1: 6, 2: 3}  # informational, error
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: Where syslog listens on this machine, in the order in which it is looked for.
_LOCAL = tuple(
    (kind, path) for kind in ("unixgram", "unix") for path in ("/dev/log", "/var/run/syslog", "/var/run/log")
)


def stamp(at: int) -> str:
    """RFC 3164's time, in local time: `Jan  2 15:04:05` (`at`: ns)."""
    now = time.localtime(at // 1_000_000_000)
    clock = f"{now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02}"
    return f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:2} {clock}"


def rfc3339(at: int, *, micro: bool) -> str:
    """Local time with its zone: `2026-01-02T15:04:05+01:00`, with six digits of the second if `micro`."""
    seconds, fraction = divmod(at, 1_000_000_000)
    now = time.localtime(seconds)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", now)
    if micro:
        text += f".{fraction // 1000:06}"
    minutes = now.tm_gmtoff // 60
    if not minutes:
        return text + "Z"
    hours, rest = divmod(abs(minutes), 60)
    return f"{text}{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"


class Syslog:
    """Encodes messages; `server` is where they go (see Channel)."""

    def __init__(self, options: dict[str, Any]) -> None:
        """`options`: server, tag, facility (a number), format (``, rfc3164, rfc5424, rfc5424micro)."""
        self.server: dict[str, Any] = options["server"]
        self._facility = options["facility"] << 3
        self._format = options["format"]
        self._counted = self.server["network"] == "tcp+tls" and self._format.startswith("rfc5424")
        self._tag = options["tag"]
        self._host = os.uname().nodename
        self._pid = os.getpid()
        if not self.server["network"]:
            self.server = {**self.server, **_find_local()}

    def encode(self, message: Message) -> list[bytes]:
        """The datagrams, or pieces of a stream, for a message; an empty line is none."""
        if not message.line:
            return []
        priority = self._facility | _SEVERITIES[message.stream]
        tag, pid, host = self._tag, self._pid, self._host
        now = time.time_ns()
        if self._format.startswith("rfc5424"):
            moment = rfc3339(now, micro=self._format == "rfc5424micro")
            head = f"<{priority}>1 {moment} {host} {tag} {pid} {tag} - "
        elif self._format:
            head = f"<{priority}>{stamp(now)} {host} {tag}[{pid}]: "
        else:
            head = f"<{priority}>{stamp(now)} {tag}[{pid}]: "
        text = head.encode("utf-8", "surrogateescape") + message.line + b"\n"
        return [b"%d %b" % (len(text), text)] if self._counted else [text]


def _find_local() -> dict[str, str]:
    for network, path in _LOCAL:
        try:
            dial.dial(network, path).close()
        except LogError:
            continue
        return {"network": network, "address": path}
    raise LogError("Unix syslog delivery error")
