"""What the checks ask: files below a root folder, commands, sockets, and who asks. Tests put their own in."""

import http.client
import json
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

_COMMAND_SECONDS = 10.0
_ANSWER_SECONDS = 10.0


class Result(NamedTuple):
    """How a command ended: its exit code, -1 when there is no such command; both outputs as one."""

    code: int
    output: str


class Answer(NamedTuple):
    """What came of asking a socket; `error` is "" when it answered.

    Else "missing", "refused", "denied", "silent", or another text.
    """

    error: str
    body: bytes = b""


@dataclass
class Machine:
    """The machine below `root` (`/` for the real one), as the user `uid` with the groups `gids` sees it."""

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    uid: int = field(default_factory=os.geteuid)
    gids: Sequence[int] = field(default_factory=lambda: (os.getegid(), *os.getgroups()))
    release: str = field(default_factory=lambda: os.uname().release)

    def path(self, name: str) -> Path:
        """The file `name` (absolute) below the root."""
        return self.root / name.lstrip("/")

    def read(self, name: str) -> str:
        """A file's text; "" when there is none or we may not read it."""
        try:
            return self.path(name).read_text(errors="replace")
        except OSError:
            return ""

    def exists(self, name: str) -> bool:
        """Whether it is there, as far as we may see."""
        try:
            return self.path(name).exists()
        except OSError:
            return False

    def entries(self, name: str) -> list[str]:
        """Names in a folder, sorted; none when it cannot be read."""
        try:
            return sorted(os.listdir(self.path(name)))
        except OSError:
            return []

    def number(self, name: str) -> int | None:
        """A file that holds a number."""
        text = self.read(name).strip()
        return int(text) if text.isdecimal() else None

    def space(self, name: str) -> os.statvfs_result | None:
        """statvfs(3) of the nearest folder that is there."""
        path = self.path(name)
        while not path.exists() and path != path.parent:
            path = path.parent
        try:
            return os.statvfs(path)
        except OSError:
            return None

    def run(self, *words: str) -> Result:
        """Run a command, in English and for a few seconds at most."""
        environment = {**self.environment, "LC_ALL": "C"}
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return Result(-1, "")
        return Result(done.returncode, done.stdout.decode(errors="replace"))

    def ask(self, host: str, path: str) -> Answer:
        """GET `path` from the engine at `unix://…`; other addresses are connected to only."""
        scheme, _, address = host.partition("://")
        try:
            if scheme == "unix":
                with _Unix(str(self.path(address))) as connection:
                    connection.request("GET", path, headers={"Host": "docker"})
                    return Answer("", connection.getresponse().read())
            name, _, port = address.partition("/")[0].rpartition(":")
            socket.create_connection((name.strip("[]"), int(port)), _ANSWER_SECONDS).close()
            return Answer("")
        except FileNotFoundError:
            return Answer("missing")
        except ConnectionRefusedError:
            return Answer("refused")
        except PermissionError:
            return Answer("denied")
        except TimeoutError:
            return Answer("silent")
        except (OSError, ValueError, http.client.HTTPException) as error:
            return Answer(str(error) or type(error).__name__)

    def ask_json(self, host: str, path: str) -> Any:
        """The decoded answer; None when there is none."""
        try:
            return json.loads(self.ask(host, path).body)
        except ValueError:
            return None


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=_ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def __enter__(self) -> "_Unix":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
