"""The real `docker` command line, run as a user would, with and without a terminal."""

import errno
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from dataclasses import dataclass
from pathlib import Path

from conformance.until import DEADLINE

KNOWN = ("/usr/local/bin/docker", "/usr/bin/docker")


def found() -> list[str]:
    """The command lines to test with: CONFORMANCE_CLI (colon-separated paths), or the known ones found and
    those of CONFORMANCE_ALSO_CLI."""
    chosen = os.environ.get("CONFORMANCE_CLI")
    if chosen:
        return chosen.split(":")
    seen: dict[Path, str] = {}
    for path in (*KNOWN, *filter(None, os.environ.get("CONFORMANCE_ALSO_CLI", "").split(":"))):
        if os.access(path, os.X_OK):
            seen.setdefault(Path(path).resolve(), path)
    return list(seen.values())


def plugin(name: str) -> Path | None:
    """The file of a plugin (`docker-compose`, `docker-buildx`) in the folder CONFORMANCE_PLUGINS."""
    folder = os.environ.get("CONFORMANCE_PLUGINS")
    path = Path(folder, name) if folder else None
    return path if path and path.exists() else None


def version_of(path: str) -> str:
    """`28.2.2` of `Docker version 28.2.2, build …`."""
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"version ([0-9.]+)", text)
    assert match, text
    return match[1]


@dataclass
class Result:
    """How a command ended: exit code, and what it wrote."""

    code: int
    raw_out: bytes
    raw_err: bytes

    @property
    def out(self) -> str:
        return self.raw_out.decode("utf-8", "surrogateescape")

    @property
    def err(self) -> str:
        return self.raw_err.decode("utf-8", "surrogateescape")


class Terminal:
    """A command on a pseudo-terminal of its own."""

    def __init__(self, argv: list[str], env: dict[str, str], rows: int = 24, columns: int = 80) -> None:
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *argv], stdin=slave, stdout=slave, stderr=slave, env=env
        )
        os.close(slave)
        self.seen = bytearray()

    def send(self, data: bytes) -> None:
        os.write(self.master, data)

    def resize(self, rows: int, columns: int) -> None:
        """Change the size; the kernel tells the foreground process by SIGWINCH."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, text: bytes, seconds: float = DEADLINE) -> bytes:
        """Read until `text` comes; returns everything up to its end, and forgets that."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert self._more(end - time.monotonic()), f"no {text!r} in {bytes(self.seen)!r}"
        position = self.seen.index(text) + len(text)
        data = bytes(self.seen[:position])
        del self.seen[:position]
        return data

    def resize_until(self, rows: int, columns: int, text: bytes) -> None:
        """Change the size until `text` comes: at first the client may not be listening yet."""
        end = time.monotonic() + DEADLINE
        while text not in self.seen:
            assert time.monotonic() < end, f"no {text!r} in {bytes(self.seen)!r}"
            self.resize(rows - 1, columns)
            self.resize(rows, columns)
            self._more(1)
        self.expect(text)

    def finish(self, seconds: float = DEADLINE) -> tuple[int, bytes]:
        """Exit code, and what was written until then and not yet expected."""
        end = time.monotonic() + seconds
        while self._more(end - time.monotonic()):
            pass
        code = self.process.wait(max(0.1, end - time.monotonic()))
        return code, bytes(self.seen)

    def _more(self, seconds: float) -> bool:
        if seconds <= 0 or not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # how a master says that the other side is closed
                raise
            return False
        self.seen += data
        return bool(data)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Cli:
    """One docker binary, pointed at the engine under test, with an empty configuration."""

    def __init__(self, path: str, host: str, config: Path) -> None:
        self.path = path
        self.version = version_of(path)
        keep = {k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")}
        self.config = config
        self.env = {**keep, "DOCKER_HOST": host, "DOCKER_CONFIG": str(config), "TERM": "xterm", "LC_ALL": "C"}

    def plug(self, name: str) -> bool:
        """Let this command line (and all others with its configuration) have a plugin, if there is one."""
        path, link = plugin(name), self.config / "cli-plugins" / name
        if path and not link.exists():
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(path)
        return path is not None

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def __call__(
        self, *args: str, stdin: bytes | None = None, check: bool = True, timeout: float = 60
    ) -> Result:
        """Run to the end. Raises AssertionError with its stderr when it fails and `check` is set."""
        command = [self.path, *args]
        if stdin is None:
            done: subprocess.CompletedProcess[bytes] = subprocess.run(
                command,
                env=self.env,
                capture_output=True,
                timeout=timeout,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        else:
            done = subprocess.run(
                command, env=self.env, capture_output=True, timeout=timeout, check=False, input=stdin
            )
        result = Result(done.returncode, done.stdout, done.stderr)
        assert not check or result.code == 0, f"docker {' '.join(args)}: {result.code}: {result.err}"
        return result

    def text(self, *args: str, stdin: bytes | None = None) -> str:
        """What a command that succeeds writes, without the last newline."""
        return self(*args, stdin=stdin).out.rstrip("\n")

    def popen(self, *args: str, stdin: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
        """Start it with pipes; use in a `with`, and `stop` it when it would not end by itself."""
        return subprocess.Popen(
            [self.path, *args], env=self.env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def terminal(self, *args: str, rows: int = 24, columns: int = 80) -> Terminal:
        return Terminal([self.path, *args], self.env, rows, columns)
