"""The shim's event loop: epoll, timers, ended children. asyncio would cost each shim 0.6 MB."""

from __future__ import annotations

import os
import select
import sys
import time

from runtime.shim import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
#: Always reported, also for descriptors that are watched for nothing else.
HANGUP = select.EPOLLHUP | select.EPOLLERR


class Loop:
    """Calls handlers of ready descriptors, `handler(events)`, until `stop()`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._stopped = False

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call `handler` when `fd` is ready for `events`; again for a watched one changes both."""
        if fd in self._handlers:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Watch `fd` no longer; to be called before it is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once after `seconds`."""
        self._timers.append((time.monotonic() + seconds, call))

    def on_children(self, call: Callable[[], None]) -> None:
        """Call after one or more children have ended, and once at the start for those before."""
        ready, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signals.handle(signals.SIGCHLD, lambda number, frame: None)
        signals.set_wakeup_fd(wake, warn_on_full_buffer=False)

        def handle(events: int) -> None:
            try:
                os.read(ready, 4096)
            except BlockingIOError:
                pass
            call()

        self.watch(ready, READ, handle)
        self.later(0, call)

    def stop(self) -> None:
        """Let `run` return after the handlers at hand."""
        self._stopped = True

    def run(self) -> None:
        """Serve. A handler that raises is reported on stderr and does not stop the others."""
        while not self._stopped:
            self.turn()

    def turn(self, timeout: float = -1.0) -> None:
        """Wait for something (at most `timeout` seconds; below zero: for ever) and handle it."""
        if self._timers:
            next_one = max(min(when for when, _ in self._timers) - time.monotonic(), 0)
            timeout = next_one if timeout < 0 else min(timeout, next_one)
        for fd, events in self._epoll.poll(timeout):
            handler = self._handlers.get(fd)
            if handler is not None:
                self._call(handler, events)
        if self._timers:
            now = time.monotonic()
            due = [call for when, call in self._timers if when <= now]
            self._timers = [timer for timer in self._timers if timer[0] > now]
            for timer_call in due:
                self._call(timer_call)

    def _call(self, function: Callable[..., None], *arguments: int) -> None:
        try:
            function(*arguments)
        except Exception:
            sys.excepthook(*sys.exc_info())
