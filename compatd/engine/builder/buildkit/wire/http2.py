"""HTTP/2 on any stream of bytes, for gRPC, at either end.

`h2` does headers, settings, pings and the states of streams. DATA and WINDOW_UPDATE frames go by it, for each
costs it some 0.1 ms: for a gigabyte in grpc-go's frames of 16 KiB that would be seven seconds.

Flow control. Out: a sender waits for both windows, and for the connection to take what is unsent. In: a
stream gets room again while less than QUEUE bytes of it wait for the handler; so does the connection, unless
all its streams together hold more than HELD.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable

from h2.errors import ErrorCodes
from h2.events import (
    Event,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error, ProtocolError

from compatd.engine.builder.buildkit.wire.settings import FRAME, begin
from compatd.engine.builder.buildkit.wire.streams import (
    UNSENT,
    ByteStream,
    ConnectionLost,
    Headers,
    Http2Stream,
)

log = logging.getLogger(__name__)

CONNECTION_WINDOW = 16 << 20
HELD = 64 << 20  # bytes of all streams, whole and begun, before the connection gets no more room
RESETS = 500  # that a client may break off of unfinished streams; each that ends well gives one back

_READ = 256 << 10
_AT_ONCE = 512  # frames, before others have the event loop
_LEAST = 65535  # RFC 9113, 6.9.2: windows before anybody has said anything
_MOST = (1 << 31) - 1
_DATA, _HEADERS, _PUSH, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 5, 7, 8, 9
_END_STREAM, _END_HEADERS, _PADDED = 1, 4, 8
_FRAME = struct.Struct(">HBBBI")


class Connection:
    """One connection; `run` lives as long as it does.

    max_message: bytes of a message that is taken. on_request: called with each stream that a client opens;
    this is the server's end then. `lost`, `why`: it has ended; `leaving`: the peer takes no new streams.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        max_message: int,
        on_request: Callable[[Http2Stream], None] | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.max_message = max_message
        self.streams: dict[int, Http2Stream] = {}
        self.lost = False
        self.why = ""
        self.leaving = False
        self.held = 0
        self.unsent = 0
        self.out_window = _LEAST
        self._bytes = stream
        self._on_request = on_request
        self._on_change = on_change
        self._in_left = CONNECTION_WINDOW
        self._owed = 0
        self._out: list[bytes | memoryview] = []
        self._writable: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._rest = b""
        self._preface = 24 if on_request else 0
        self._in_headers = False
        self._resets = RESETS
        self._ending = False
        self._h2 = begin(client=on_request is None)
        self._flush_h2()
        self.write_window(0, CONNECTION_WINDOW - _LEAST)

    # life

    async def run(self) -> None:
        """Reads and writes until either end closes."""
        tasks = {asyncio.ensure_future(self._read_all()), asyncio.ensure_future(self._write_all())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._lose()
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionError):
                    log.error("HTTP/2 connection ended by an error", exc_info=outcome)

    def close(self, code: int = ErrorCodes.NO_ERROR, why: str = "") -> None:
        """GOAWAY, and the end when that is sent."""
        if not self.lost and not self._ending:
            self._ending = True
            self.why = self.why or why
            try:
                self._h2.close_connection(code)
            except H2Error:
                pass
            self._flush_h2()
            self._wake_writer()

    def _lose(self) -> None:
        if self.lost:
            return
        self.lost = True
        for stream in list(self.streams.values()):
            stream.wake()
            if stream.on_reset is not None:
                stream.on_reset()
        self._changed()

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()

    async def _read_all(self) -> None:
        while data := await self._bytes.read(_READ):
            try:
                while not self._received(data):
                    data = b""
                    await asyncio.sleep(0)
            except H2Error as error:
                self._broken(error)
            if self._ending:
                await asyncio.Future()  # the writer ends it
            if self.unsent > UNSENT * 2:  # it asks and does not read the answers
                self._drained = asyncio.get_running_loop().create_future()
                await self._drained

    def _broken(self, error: H2Error) -> None:
        log.debug("HTTP/2 connection broken: %s", error)
        self.why = self.why or f"connection error: {error}"
        self.close(getattr(error, "error_code", ErrorCodes.PROTOCOL_ERROR))

    async def _write_all(self) -> None:
        while True:
            if not self._out:
                if self._ending:
                    await self._bytes.close()
                    return
                self._writable = asyncio.get_running_loop().create_future()
                await self._writable
                continue
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            await self._bytes.write(bytes(data))
            self.unsent = sum(map(len, self._out))
            if self._drained is not None and not self._drained.done():
                self._drained.set_result(None)
            for stream in list(self.streams.values()):
                stream.wake_sender()

    def _wake_writer(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # in

    def _received(self, data: bytes) -> bool:
        """Takes what has come; False when there is more of it than may be done at once."""
        if self._preface:
            early = data[: self._preface]
            self._preface -= len(early)
            self._handle(self._h2.receive_data(early))
            data = data[len(early) :]
        if self._rest:
            data = self._rest + data
        view, at, length, work = memoryview(data), 0, len(data), 0
        while length - at >= 9 and not self._ending and work < _AT_ONCE:
            high, low, kind, flags, number = _FRAME.unpack_from(data, at)
            size = high << 8 | low
            if size > FRAME:
                raise ProtocolError(f"frame of {size} bytes")
            stop = at + 9 + size
            if stop > length:
                break
            work += 1
            if kind == _DATA:
                self._data(number & _MOST, flags, view[at + 9 : stop])
            elif kind == _WINDOW_UPDATE and size == 4 and not self._in_headers:
                self._window(number & _MOST, int.from_bytes(view[at + 9 : stop], "big") & _MOST)
            elif kind == _GOAWAY and size >= 8 and not self._in_headers:
                self.leaving = True  # h2 would take it for the end of streams that go on
                self._changed()
            else:
                if kind in (_HEADERS, _PUSH, _CONTINUATION):
                    self._in_headers = not flags & _END_HEADERS
                work += 15  # h2 takes so much longer
                self._handle(self._h2.receive_data(view[at:stop]))
            at = stop
        self._rest = data[at:]
        return work < _AT_ONCE

    def _data(self, number: int, flags: int, content: memoryview) -> None:
        size = len(content)
        if self._in_headers or not number:
            raise ProtocolError("DATA where none may be")
        self._in_left -= size
        self._owed += size
        if self._in_left < 0:
            raise ProtocolError("flow control window exceeded")
        if flags & _PADDED:
            if not size or content[0] >= size:
                raise ProtocolError("padding longer than its frame")
            content = content[1 : size - content[0]]
        stream = self.streams.get(number)
        if stream is None:
            if number > max(self._h2.highest_inbound_stream_id, self._h2.highest_outbound_stream_id):
                raise ProtocolError(f"DATA on idle stream {number}")
            self.give_room()
        elif stream.ended_in:
            raise ProtocolError(f"DATA on stream {number}, which has ended")
        else:
            stream.feed(content, size)
            if stream.in_left < 0:
                raise ProtocolError("flow control window exceeded")
        if flags & _END_STREAM:
            self._handle(self._h2.receive_data(_FRAME.pack(0, 0, _DATA, _END_STREAM, number)))

    def give_room(self) -> None:
        """Lets the peer send more, on all streams together, when that is due."""
        if self._owed >= CONNECTION_WINDOW // 4 and self.held <= HELD:
            self._in_left += self._owed
            self.write_window(0, self._owed)
            self._owed = 0

    def _window(self, number: int, more: int) -> None:
        if not more:
            raise ProtocolError("window update of 0")
        if number:
            stream = self.streams.get(number)
            if stream is None:
                return
            stream.out_window += more
            if stream.out_window > _MOST:
                stream.break_off(ErrorCodes.FLOW_CONTROL_ERROR)
            stream.wake_sender()
            return
        self.out_window += more
        if self.out_window > _MOST:
            raise ProtocolError("flow control window overflow")
        for stream in list(self.streams.values()):
            stream.wake_sender()

    def _handle(self, events: list[Event]) -> None:
        window = self._h2.remote_settings.initial_window_size
        self._flush_h2()
        for event in events:
            if isinstance(event, RequestReceived):
                assert self._on_request is not None and event.stream_id is not None
                stream = self._add(event.stream_id)
                stream.headers = _decoded(event.headers)
                self._on_request(stream)
            elif isinstance(event, ResponseReceived | TrailersReceived | StreamEnded | StreamReset):
                found = self.streams.get(event.stream_id or 0)
                if found is not None:
                    self._stream_event(found, event)
        if window != self._peer_window:
            for stream in self.streams.values():
                stream.out_window += window - self._peer_window
                stream.wake_sender()
            self._peer_window = window

    _peer_window = _LEAST

    def _stream_event(self, stream: Http2Stream, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            stream.headers = _decoded(event.headers)
        elif isinstance(event, TrailersReceived):
            stream.trailers = _decoded(event.headers)
        elif isinstance(event, StreamEnded):
            stream.ended_in = True
            self._resets = min(RESETS, self._resets + 1)
        elif isinstance(event, StreamReset) and stream.reset is None:
            stream.reset = int(event.error_code or 0)
            if stream.on_reset is not None:
                stream.on_reset()
            if self._on_request is not None and not stream.ended_out:
                self._resets -= 1
                if self._resets < 0:
                    self.close(ErrorCodes.ENHANCE_YOUR_CALM, "too many streams were broken off")
        stream.wake()

    def _add(self, number: int) -> Http2Stream:
        stream = self.streams[number] = Http2Stream(self, number, self._peer_window)
        return stream

    # out

    def open(self, headers: Headers) -> Http2Stream:
        """A new stream, by the client. Raises ConnectionLost."""
        if self.lost or self.leaving or self._ending:
            raise ConnectionLost(self.why or "the connection is closing")
        stream = self._add(self._h2.get_next_available_stream_id())
        self.send_headers(stream.number, headers, end=False)
        return stream

    @property
    def room_for_streams(self) -> bool:
        """The peer takes one more."""
        return len(self.streams) < self._h2.remote_settings.max_concurrent_streams

    def forget(self, stream: Http2Stream) -> None:
        """The stream is over."""
        stream.drop()
        self.streams.pop(stream.number, None)
        self.give_room()
        self._changed()

    def send_headers(self, number: int, headers: Headers, *, end: bool) -> None:
        """A head, or trailers."""
        try:
            self._h2.send_headers(number, headers, end_stream=end)
        except ProtocolError as error:  # the stream is gone meanwhile
            log.debug("headers of stream %d not sent: %s", number, error)
        self._flush_h2()

    def end_stream(self, number: int) -> None:
        """This side sends no more."""
        try:
            self._h2.end_stream(number)
        except ProtocolError as error:
            log.debug("stream %d not ended: %s", number, error)
        self._flush_h2()

    def reset_stream(self, number: int, code: int) -> None:
        """RST_STREAM."""
        try:
            self._h2.reset_stream(number, code)
        except ProtocolError as error:
            log.debug("stream %d not reset: %s", number, error)
        self._flush_h2()

    def write_data(self, number: int, data: memoryview) -> None:
        """DATA frames, for which there is room."""
        most = min(self._h2.remote_settings.max_frame_size, FRAME)
        for at in range(0, len(data), most):
            chunk = data[at : at + most]
            size = len(chunk)
            self._out += (_FRAME.pack(size >> 8, size & 255, _DATA, 0, number), chunk)
            self.unsent += size + 9
        self._wake_writer()

    def write_window(self, number: int, more: int) -> None:
        """WINDOW_UPDATE."""
        self._write(_FRAME.pack(0, 4, _WINDOW_UPDATE, 0, number) + more.to_bytes(4, "big"))

    def _flush_h2(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self._write(data)

    def _write(self, data: bytes) -> None:
        self._out.append(data)
        self.unsent += len(data)
        self._wake_writer()


def _decoded(headers: object) -> Headers:
    assert isinstance(headers, list)
    return [
        (name.decode("ascii", "replace"), value.decode("utf-8", "surrogateescape")) for name, value in headers
    ]
