"""What the server asks of whoever decides who may do what (`compatd.access`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from compatd.http.call import Call
    from compatd.http.head import Head


class Gate(Protocol):
    """One for all connections. Nothing here may wait."""

    def arrived(self, transport: Any) -> Any:
        """A connection's first request: the caller, kept with the connection."""

    def asked(self, caller: Any, operation: str, head: Head) -> Any:
        """A request has come; what is returned goes to `answered`."""

    def check(self, ticket: Any, call: Call) -> None:
        """The request is decoded. Raises an error with `status` and `message`; may set `call.view`."""

    def answered(self, ticket: Any, status: int) -> None:
        """The answer, however it was, is over; status 0: there was none."""
