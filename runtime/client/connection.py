"""One SOCK_SEQPACKET connection of the daemon to a shim or worker, on the event loop."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from runtime.client.types import RuntimeError_
from runtime.shim import wire

Message = dict[str, Any]


class Connection:
    """Requests with answers, and messages that nobody asked for (`on_event(message, fds)`).

    `on_close` is called once when the other side has gone, not after `close`.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_event: Callable[[Message, list[int]], None],
        on_close: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._receiver = wire.Receiver()
        self._on_event = on_event
        self._on_close = on_close
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._queue: deque[tuple[wire.Packet, list[int]]] = deque()
        self._writing = False
        self.closed = False
        self._loop.add_reader(sock, self._readable)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send, or queue when the socket is full; the descriptors may be closed by the caller at once."""
        split, memfd = wire.packets(message, list(fds))
        packets = [(packet, [memfd] if memfd in packet[1] else []) for packet in split]
        if not self._queue and not self.closed:
            try:
                while packets:
                    wire.send_packet(self._sock, packets[0][0])
                    wire.close_all(packets.pop(0)[1])
            except BlockingIOError:
                pass
            except OSError:
                # The reader finds the end; nothing that waits gets an answer.
                for _, owned in packets:
                    wire.close_all(owned)
                return
        for (data, rights), owned in packets:
            copies = [os.dup(fd) for fd in rights]
            wire.close_all(owned)
            self._queue.append(((data, copies), copies))
        if self._queue and not self._writing:
            self._writing = True
            self._loop.add_writer(self._sock, self._writable)

    async def call(self, op: str, fds: Sequence[int] = (), **arguments: Any) -> Message:
        """Ask and wait for the answer. Raises RuntimeError_ with the shim's text, kind `Gone` without one."""
        if self.closed:
            raise RuntimeError_("the container's monitor is gone", "Gone")
        number = next(self._numbers)
        future = self._waiting[number] = self._loop.create_future()
        try:
            self.send({**arguments, "op": op, "id": number}, fds)
            answer: Message = await future
        finally:
            self._waiting.pop(number, None)
        if "error" in answer:
            raise RuntimeError_(answer["error"], answer.get("kind", "StartError"))
        return answer

    async def ask(self, op: str, seconds: float, **arguments: Any) -> Message:
        """As `call`, for at most `seconds`: RuntimeError_ of kind `Hung` without an answer till then."""
        try:
            async with asyncio.timeout(seconds):
                return await self.call(op, **arguments)
        except TimeoutError:
            raise RuntimeError_("the container's monitor does not answer", "Hung") from None

    async def persist(self, op: str, seconds: float, fds: Sequence[int] = (), **arguments: Any) -> Message:
        """As `call`, for what may take long while the other side is well: it is asked how it is again and
        again. RuntimeError_ of kind `Hung` when it does not say so within `seconds`."""
        task = asyncio.ensure_future(self.call(op, fds, **arguments))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever else tells it
        try:
            while not (await asyncio.wait({task}, timeout=seconds))[0]:
                await self.ask("state", seconds)
            return await task
        finally:
            task.cancel()

    def _writable(self) -> None:
        while self._queue:
            packet, copies = self._queue[0]
            try:
                wire.send_packet(self._sock, packet)
            except BlockingIOError:
                return
            except OSError:
                break
            self._queue.popleft()
            wire.close_all(copies)
        self._stop_writing()

    def _stop_writing(self) -> None:
        for _, copies in self._queue:
            wire.close_all(copies)
        self._queue.clear()
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._sock)

    def _readable(self) -> None:
        # A few at a time, so that one busy shim does not hold up the loop.
        for _ in range(16):
            try:
                got = self._receiver.receive(self._sock)
            except BlockingIOError:
                return
            except (EOFError, OSError):
                self.close()
                self._on_close()
                return
            if got is not None:
                self._dispatch(*got)
            if self.closed:
                return

    def _dispatch(self, message: Message, fds: list[int]) -> None:
        number = message.get("id")
        if number is None:
            self._on_event(message, fds)
            return
        wire.close_all(fds)
        future = self._waiting.get(number)
        if future is not None and not future.done():
            future.set_result(message)

    def close(self) -> None:
        """Close; whoever waits for an answer gets RuntimeError_ of kind `Gone`."""
        if self.closed:
            return
        self.closed = True
        self._stop_writing()
        self._loop.remove_reader(self._sock)
        self._receiver.close()
        self._sock.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(RuntimeError_("the container's monitor is gone", "Gone"))
