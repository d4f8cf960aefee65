"""fluentd's forward protocol (version 1), message mode: `[tag, time, record, option]`."""

from __future__ import annotations

import binascii
import os

from runtime.logs import msgpack
from runtime.logs.base import BUFFER
from runtime.logs.messages import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.logs.channel import Channel
    from runtime.logs.messages import Message


def _encoded(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


class Fluentd:
    """Encodes messages; `server` is where they go (see Channel)."""

    def __init__(self, options: dict[str, Any]) -> None:
        """`options`: server, tag, record (names and texts in every record), ack, precise (bool)."""
        self.server: dict[str, Any] = options["server"]
        self._head = b"\x94" + msgpack.text(_encoded(options["tag"]))
        self._record = {_encoded(name): _encoded(value) for name, value in options["record"].items()}
        self._time = msgpack.event_time if options.get("precise") else msgpack.seconds
        self._ack = bool(options.get("ack"))
        self._limit: int = options.get("buffer", BUFFER)
        self._sent: dict[bytes, bytes] = {}  # by ID, what is not acknowledged
        self._unsettled = 0  # bytes of it
        self._heard = b""
        self._channel: Channel | None = None

    def use(self, channel: Channel) -> None:
        """Listen to the server's acknowledgements, and send again what a lost connection had not got."""
        if self._ack:
            self._channel = channel
            channel.received = self._received
            channel.lost = self._lost

    def encode(self, message: Message) -> list[bytes]:
        """The piece of a stream for a message; none while too much is not acknowledged."""
        if self._unsettled > self._limit:
            return []
        record = {b"source": NAMES[message.stream], b"log": message.line, **self._record}
        if message.partial is not None:
            identifier, ordinal, last = message.partial
            record[b"partial_message"] = b"true"
            record[b"partial_id"] = identifier.encode()
            record[b"partial_ordinal"] = b"%d" % ordinal
            record[b"partial_last"] = b"true" if last else b"false"
        options = []
        if self._ack:
            identifier_bytes = binascii.b2a_base64(os.urandom(16), newline=False)
            options.append((b"chunk", identifier_bytes))
        data = (
            self._head
            + self._time(message.at)
            + msgpack.mapping(list(record.items()))
            + msgpack.mapping(options)
        )
        if self._ack:
            self._sent[identifier_bytes] = data
            self._unsettled += len(data)
        return [data]

    def settled(self) -> bool:
        """Whether all that was sent is acknowledged."""
        return not self._sent

    def _received(self, data: bytes) -> None:
        found, self._heard = msgpack.acks(self._heard + data)
        for identifier in found:
            self._unsettled -= len(self._sent.pop(identifier, b""))

    def _lost(self) -> None:
        self._heard = b""
        if self._channel is not None:
            queued = set(map(id, self._channel.queue))
            self._channel.put_back([data for data in self._sent.values() if id(data) not in queued])
