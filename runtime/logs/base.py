"""What every log of a container offers to the shim's streams."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes that a server may be behind; the size of Docker's ring buffer (`mode=non-blocking`).
BUFFER = 1_000_000


class LogError(Exception):
    """A log driver cannot be started; the text is Docker Engine's for its client."""


class BaseLog:
    """Both streams of a container on their way to a log. Trouble with the log never stops the container."""

    #: No more should be written for now: the log's other side is slower than the container.
    full = False
    #: Called when a full log has room again.
    on_room: Callable[[], None] | None = None

    def write(self, stream: int, data: bytes) -> None:
        """Add output of stream 1 or 2, in any pieces."""

    def finish(self, stream: int) -> None:
        """The stream has ended: its last line needs no newline."""

    def close(self) -> None:
        """Write out what is pending and close; a second call does nothing."""
