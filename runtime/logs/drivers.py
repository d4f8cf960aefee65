"""The drivers that take messages: `local`, and servers with a local cache beside them for `docker logs`.

Imported only for containers that have one: the shim of a json-file log carries none of this.
"""

from __future__ import annotations

import sys

from runtime.logs import local
from runtime.logs.base import BUFFER, BaseLog, LogError
from runtime.logs.file import LogFile
from runtime.logs.messages import Message, Now, Splitter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.shim.loop import Loop


class LocalFile:
    """Records of the `local` format in a file that rotates."""

    def __init__(self, options: dict[str, Any]) -> None:
        """`options`: path, max_size, max_file, compress, attrs. Raises OSError."""
        self._attrs = local.encode_attrs(options.get("attrs") or {})
        self._file = LogFile(
            options["path"], options["max_size"], options["max_file"], bool(options["compress"])
        )
        self._failed = False

    def log(self, messages: list[Message]) -> None:
        """Append; trouble is reported once, not raised."""
        try:
            self._file.write_records(local.encode_all(messages, self._attrs))
            self._failed = False
        except OSError as error:
            if not self._failed:
                print(f"shim: writing the log: {error}", file=sys.stderr)
            self._failed = True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Remote:
    """A server's encoder and the channel to it."""

    def __init__(self, options: dict[str, Any], loop: Loop, log: BaseLog) -> None:
        """Connects, unless the driver is to do so later (`async`). Raises LogError."""
        from runtime.logs.channel import Channel

        self._driver = _driver(options)
        lossy = options.get("mode") == "non-blocking"

        def room() -> None:
            if log.on_room is not None:
                log.on_room()

        server = self._driver.server
        self._patience = 1.0 if server.get("async") else 5.0
        self._channel = Channel(
            loop,
            server,
            limit=options.get("buffer", BUFFER),
            lossy=lossy or bool(server.get("async")),
            on_room=room,
        )
        if hasattr(self._driver, "use"):
            self._driver.use(self._channel)
        if options["driver"] == "journald":
            from runtime.logs.journald import send_file

            self._channel.oversized = send_file
        if server.get("async"):
            return
        try:
            self._channel.open()
        except LogError as error:
            raise LogError(server.get("failure", "{}").replace("{}", str(error))) from None

    @property
    def full(self) -> bool:
        """The server takes less than the container writes."""
        return self._channel.full

    def log(self, messages: list[Message]) -> None:
        """Send."""
        for message in messages:
            for data in self._driver.encode(message):
                self._channel.send(data)

    def close(self) -> None:
        """Close when all is sent, or after some seconds."""
        self._channel.close(self._patience, getattr(self._driver, "settled", None))


def _driver(options: dict[str, Any]) -> Any:
    name = options["driver"]
    if name == "syslog":
        from runtime.logs.syslog import Syslog

        return Syslog(options)
    if name == "gelf":
        from runtime.logs.gelf import Gelf

        return Gelf(options)
    if name == "fluentd":
        from runtime.logs.fluentd import Fluentd

        return Fluentd(options)
    if name == "journald":
        from runtime.logs.journald import Journald

        return Journald(options)
    raise LogError(f"logger: no log driver named '{name}' is registered")


class MessageLog(BaseLog):
    """A log that is made of messages."""

    def __init__(self, options: dict[str, Any], loop: Loop) -> None:
        """`options`: `log` of ShimConfig. Raises LogError, OSError."""
        now = Now()
        self._splitters = {stream: Splitter(stream, now) for stream in (1, 2)}
        self._files: list[LocalFile] = []
        self._remote: Remote | None = None
        if options["driver"] == "local":
            self._files.append(LocalFile(options))
            return
        self._remote = Remote(options, loop, self)
        if options.get("cache"):
            try:
                self._files.append(LocalFile(options["cache"]))
            except BaseException:
                self._remote.close()
                raise

    @property
    def full(self) -> bool:  # type: ignore[override]
        """The server takes less than the container writes."""
        return self._remote is not None and self._remote.full

    def write(self, stream: int, data: bytes) -> None:
        """Add output of stream 1 or 2."""
        self._log(self._splitters[stream].feed(data))

    def finish(self, stream: int) -> None:
        """The stream has ended."""
        self._log(self._splitters[stream].finish())

    def _log(self, messages: list[Message]) -> None:
        if not messages:
            return
        for file in self._files:
            file.log(messages)
        if self._remote is not None:
            self._remote.log(messages)

    def close(self) -> None:
        """Write out what is pending and close."""
        files, self._files = self._files, []
        remote, self._remote = self._remote, None
        for file in files:
            file.close()
        if remote is not None:
            remote.close()
