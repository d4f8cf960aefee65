"""RUNs without builds, in an engine of their own (`rundriver`); a census of what they leave comes with it."""

import contextlib
import json
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.daemon import Daemon, wait_until

Json = dict[str, Any]


class Rig(Daemon):
    """The driver instead of a daemon."""

    def command(self, host: str) -> list[str]:
        inside = [
            "nsenter",
            f"--net=/run/netns/{self.name}",
            sys.executable,
            "-m",
            "tests.integration.rundriver",
        ]
        return [*inside, self.socket, str(self.folder), self.name, *self.options]

    def start(self) -> None:
        Path(self.socket).unlink(missing_ok=True)
        super().start()

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the driver ended: {self.log.read_text()[-2000:]}")
        return Path(self.socket).exists()

    def send(self, op: str, **request: Any) -> socket.socket:
        """Begin; closing the connection cancels."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(180)
        sock.connect(self.socket)
        sock.sendall(json.dumps({"op": op, **request}).encode() + b"\n")
        return sock

    def ask(self, op: str, **request: Any) -> Any:
        """One request."""
        with self.send(op, **request) as sock:
            return self.answer(sock)

    @staticmethod
    def answer(sock: socket.socket) -> Any:
        """What came of it."""
        with sock.makefile("rb") as file:
            found = json.loads(file.readline())
        assert "raised" not in found, found
        return found

    def run(self, command: str | list[str], **request: Any) -> Any:
        """A RUN, in the shell unless `command` is a list: {"out", "err", "error", "files", …}."""
        args = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        return self.ask("run", args=args, **request)

    def good(self, command: str | list[str], **request: Any) -> Any:
        """One that must not fail."""
        found = self.run(command, **request)
        assert found["error"] is None, found
        return found

    def fail(self, command: str | list[str], **request: Any) -> Any:
        """One that must."""
        found = self.run(command, **request)
        assert found["error"] is not None, found
        return found


@contextlib.contextmanager
def running_rig(*options: str) -> Iterator[Rig]:
    """A started one, which is taken away at the end."""
    rig = Rig(Path(tempfile.mkdtemp(prefix="compatd-it-")), *options)
    try:
        rig.start()
        yield rig
    except BaseException:
        if rig.log.exists():
            print(rig.log.read_text()[-6000:])
        raise
    finally:
        rig.destroy()


__all__ = ["Json", "Rig", "running_rig", "wait_until"]
