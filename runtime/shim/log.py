"""A container's log in the shim: chunks of output to entries to the file."""

from __future__ import annotations

import json
import sys

from runtime.logs.base import BaseLog
from runtime.logs.file import LogFile
from runtime.logs.jsonfile import Clock, Encoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.shim.loop import Loop

_NAMES = {1: "stdout", 2: "stderr"}


class Log(BaseLog):
    """Both streams of a container into one file. Trouble with the file never stops the container."""

    def __init__(self, options: dict[str, Any]) -> None:
        """`options`: `log` of ShimConfig. Raises OSError when the file cannot be opened."""
        attrs = options.get("attrs") or {}
        text = go_json(attrs) if attrs else b""
        clock = Clock()
        self._encoders = {stream: Encoder(name, clock, text) for stream, name in _NAMES.items()}
        self._file = LogFile(
            options["path"],
            options.get("max_size", -1),
            options.get("max_file", 1),
            bool(options.get("compress")),
        )
        self._failed = False

    def write(self, stream: int, data: bytes) -> None:
        """Add output of stream 1 or 2."""
        self._write(self._encoders[stream].feed(data))

    def finish(self, stream: int) -> None:
        """The stream has ended: its last line needs no newline."""
        self._write(self._encoders[stream].finish())

    def _write(self, entries: bytes) -> None:
        if not entries:
            return
        try:
            self._file.write(entries)
            self._failed = False
        except OSError as error:
            if not self._failed:  # once, not for every line
                print(f"shim: writing the log: {error}", file=sys.stderr)
            self._failed = True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_log(options: dict[str, Any] | None, loop: Loop | None = None) -> BaseLog | None:
    """The log that ShimConfig asks for; None for no log. Raises LogError, OSError.

    `loop` is needed by all drivers but json-file.
    """
    if not options or options.get("driver") in (None, "none"):
        return None
    if options["driver"] == "json-file":
        return Log(options)
    # Imported here: the shim of a json-file log carries none of it.
    from runtime.logs.drivers import MessageLog

    assert loop is not None
    return MessageLog(options, loop)


def go_json(value: dict[str, str]) -> bytes:
    """A flat object as Go's encoding/json writes it: sorted keys, no spaces, HTML characters escaped."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "surrogateescape")
