"""`POST /containers/{id}/attach`: a stream socket to a container that runs, or to its next start."""

import socket
from typing import TYPE_CHECKING

from compatd.engine.containers import exits
from compatd.engine.containers.model import Container
from compatd.engine.containers.signals import parse_detach_keys
from compatd.engine.errors import Conflict, EngineError, InvalidParameter
from runtime.client import Attachment, AttachOptions, RuntimeError_
from runtime.shim.detach import DetachKeys

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

__all__ = ["AttachOptions", "InputWatch", "check", "close_stream", "open_stream", "stream_ended"]

_EXIT_FOLLOWS = 0.5
"""Seconds; the shim tells of an exit in the same moment in which it closes the streams."""


def check(containers: "Containers", reference: str, detach_keys: str) -> tuple[Container, bytes]:
    """The container and the keys, before the connection is taken over.

    Raises InvalidParameter, NotFound, Conflict for a paused or restarting container.
    """
    try:
        keys = parse_detach_keys(detach_keys) if detach_keys else b""
    except ValueError:
        raise InvalidParameter(f"Invalid detach keys ({detach_keys}) provided") from None
    container = containers.find(reference)
    if container.state.paused:
        raise Conflict(f"container {reference} is paused, unpause the container before attach")
    if container.state.restarting:
        raise Conflict(f"container {reference} is restarting, wait until the container is running")
    return container, keys


async def open_stream(
    containers: "Containers", container: Container, options: AttachOptions
) -> socket.socket:
    """A non-blocking socket; the caller closes it. Its output ends when the container does.

    Before a start the socket waits for it; `close_stream` takes it back.
    """
    async with container.lock:
        if not container.state.running:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            container.pending.append((ours, Attachment(theirs, options)))
            return ours
    try:
        opened: socket.socket = await containers.runtime.attach(container.id, options)
    except RuntimeError_ as error:
        if error.kind == "Gone":  # it ended just now
            ours, theirs = socket.socketpair()
            theirs.close()
            ours.setblocking(False)
            return ours
        raise EngineError(f"cannot attach to container {container.id}: {error.message}") from error
    return opened


def close_stream(container: Container, ours: socket.socket) -> None:
    """Give a stream up; one that still waits for a start is taken back."""
    kept = []
    for waiting, attachment in container.pending:
        if waiting is ours:
            attachment.sock.close()
        else:
            kept.append((waiting, attachment))
    container.pending = kept
    ours.close()


class InputWatch:
    """Looks at what a client sends, to know why its stream has ended when it does.

    `detached`: the keys came, on a terminal. `ended`: the client sends no more.
    """

    def __init__(self, *, tty: bool = False, keys: bytes = b"") -> None:
        self._keys = DetachKeys(keys) if tty else None
        self.detached = self.ended = False

    def saw(self, data: bytes) -> None:
        """More of the input, before it is passed on; b"" at its end."""
        if not data:
            self.ended = True
        elif self._keys is not None and not self.detached:
            self.detached = self._keys.feed(data)[1]


async def stream_ended(containers: "Containers", container: Container, watch: InputWatch) -> None:
    """A stream's output has ended: a client that hears of it finds the container stopped.

    Else the client has detached by keys, or its input, which was all that held it, has ended.
    """
    if watch.detached:
        containers.emit(container, "detach")
        return
    passed_on = container.config["StdinOnce"] and not container.tty
    if not watch.ended or passed_on:
        await exits.stopped(container, _EXIT_FOLLOWS)
