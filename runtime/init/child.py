"""The parent's side of a child on its way to execve, and the few words they exchange.

Over a socket pair of packets. Child to parent: `H` (mounts are made, hooks may run; answered with `H`), `R`
+ warnings, and behind a 0 each of the mount points made (ready; with the console's master as SCM_RIGHTS), `E`
+ text (it failed and is gone), `U` + text (the same, for an unknown user: dockerd says that unprefixed).
Parent to child: `G` (execve now). The socket is close-on-exec, so its end of file is the news that execve has
happened.
"""

from __future__ import annotations

import _socket
import os
import sys

from runtime.init.errors import PREFIX, InitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.cgroups import Cgroup

# For `console`: make the pair in the container's own devpts; the master is `Child.console_master` after
# `wait_ready`.
NEW_CONSOLE = -1
_MAX_TEXT = 60_000


def pair() -> tuple[_socket.socket, _socket.socket]:
    # `_socket` and not `socket`: the latter imports selectors and enum.
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    return ours, theirs


class Child:
    """pid: in the host's pid namespace. warnings: what could not be done and was not insisted on; made: mount
    points that were made and are to be told (`options.STUB`), as paths in the root."""

    __slots__ = (
        "_before_pivot",
        "_cgroup",
        "_link",
        "_prefix",
        "_reaped",
        "console_master",
        "made",
        "pid",
        "warnings",
    )

    def __init__(
        self,
        pid: int,
        link: _socket.socket,
        prefix: str = "",
        before_pivot: Callable[[int], None] | None = None,
        cgroup: Cgroup | None = None,
    ) -> None:
        self.pid = pid
        self.console_master = -1
        self.warnings: list[str] = []
        self.made: list[str] = []
        self._link = link
        self._prefix = prefix
        self._before_pivot = before_pivot
        self._reaped = False
        self._cgroup = cgroup

    def fileno(self) -> int:
        """The link's fd: readable when `wait_ready` or `go` would not block."""
        return self._link.fileno()

    def wait_ready(self) -> None:
        """Blocks until all but execve is done.

        Raises InitError with runc's text; the child is gone and reaped then. What `before_pivot` raises goes
        on as it is; the child then waits for `abort`.
        """
        message = self._receive()
        if message[:1] == b"H" and self._before_pivot is not None:
            self._before_pivot(self.pid)
            self._link.send(b"H")
            message = self._receive()
        if message[:1] == b"R":
            warnings, _, made = message[1:].decode("utf-8", "surrogateescape").partition("\0")
            self.warnings = warnings.splitlines()
            self.made = made.split("\0") if made else []
            return
        raise self._failed(message)

    def go(self) -> None:
        """Let execve happen; returns when it has, or when it has failed.

        A program that the kernel refuses (`exec format error`, a missing interpreter) is the container's own
        failure: the text goes to its stderr and its exit code is 255, as with runc. InitError: the child died
        before it could try.
        """
        try:
            self._link.send(b"G")
        except OSError:
            raise self._failed(b"") from None
        message = self._receive()
        self._link.close()
        if message:
            raise self._failed(message)

    def abort(self) -> None:
        """Kill and reap a child that was not let go; nothing when it has failed already."""
        self._link.close()
        if not self._reaped:
            try:
                os.kill(self.pid, 9)
            except ProcessLookupError:
                pass
            self._reap()

    def _receive(self) -> bytes:
        try:
            data, ancillary, _, _ = self._link.recvmsg(
                _MAX_TEXT + 1, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return b""
        for level, kind, content in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                self.console_master = int.from_bytes(content[:4], sys.byteorder)
        return data

    def _failed(self, message: bytes) -> InitError:
        self._link.close()
        self._reap()
        text = message[1:].decode("utf-8", "surrogateescape")
        if message[:1] == b"E":
            return InitError(self._prefix + text)
        if message[:1] == b"U":
            return InitError(text)
        what = "exited prematurely"
        if self._cgroup is not None and self._cgroup.oom_kills():
            what = "was OOM-killed (memory limit too low?)"
        return InitError(f"{self._prefix}{PREFIX}container init {what}")

    def _reap(self) -> None:
        self._reaped = True
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            pass


def send_ready(link: _socket.socket, warnings: list[str], master: int, made: list[str] | None = None) -> None:
    text = "\n".join(warnings)
    text = "\0".join([text[: _MAX_TEXT // 2], *made]) if made else text
    data = b"R" + text.encode("utf-8", "surrogateescape")[:_MAX_TEXT]
    if master >= 0:
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, master.to_bytes(4, sys.byteorder))
        link.sendmsg([data], [rights])
    else:
        link.send(data)


def send_error(link: _socket.socket, text: str, *, user: bool = False) -> None:
    try:
        link.send((b"U" if user else b"E") + text.encode("utf-8", "surrogateescape")[:_MAX_TEXT])
    except OSError:
        pass
