"""A daemon of our own for a test: in a network namespace of its own, and a census of what it holds."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ApiError(Exception):
    """An answer of 400 and above: (status, message)."""


def answer_to(connection: http.client.HTTPConnection) -> tuple[http.client.HTTPResponse, bytes]:
    """The answer, and its body. Raises ApiError."""
    answer = connection.getresponse()
    read = answer.read()
    if answer.status >= 400:
        raise ApiError(answer.status, json.loads(read)["message"])
    return answer, read


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 180) -> Any:
    """Poll until `condition` is true and give its value. Fails after a generous time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out: {what}")
        time.sleep(0.02)


class Daemon:
    """`compatd` with its own roots, socket, bridge, cgroup parent and network namespace."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.name = "ct" + uuid.uuid4().hex[:8]
        self.folder = folder
        self.socket = str(folder / "docker.sock")
        self.host = f"unix://{self.socket}"
        self.data_root, self.exec_root = folder / "data", folder / "exec"
        self.cgroup_parent = f"/{self.name}"
        self.options = options
        self.program = "compatd"
        self.prefix: list[str] = []  # a command that starts the daemon, `unshare -m` say
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "daemon.log"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)

    def command(self, host: str) -> list[str]:
        """The command line that serves `host`."""
        return [
            "nsenter",
            f"--net=/run/netns/{self.name}",
            str(Path(sys.executable).parent / self.program),
            *("-H", host),
            *("--data-root", str(self.data_root)),
            *("--exec-root", str(self.exec_root)),
            *("--pidfile", str(self.folder / "docker.pid")),
            # by folders also where systemd could: its slices would be the whole machine's
            *("--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", self.cgroup_parent),
            *self.options,
        ]

    def start(self) -> None:
        """Start it and wait for its first ping."""
        command = [*self.prefix, *self.command(self.host)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(self._answers, "the daemon's first ping")

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended: {self.log.read_text()[-2000:]}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return bool(self.call("GET", "/_ping") == b"OK")
        return False

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """`kill -9` of the daemon itself."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """An orderly stop. Returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def call(self, method: str, path: str, body: Any = None, data: bytes | None = None) -> Any:
        """One API call: the decoded JSON answer or its bytes. Raises ApiError."""
        with contextlib.closing(UnixConnection(self.socket)) as connection:
            content = json.dumps(body).encode() if body is not None else data
            kind = "application/x-tar" if data is not None else "application/json"
            connection.request(method, path, content, {"Content-Type": kind})
            answer, read = answer_to(connection)
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        with contextlib.suppress(ValueError):
            return json.loads(read) if is_json and read else read
        return read

    def image(self, name: str = "box:latest") -> str:
        """A busybox image, imported from a tar made here."""
        repo, _, tag = name.partition(":")
        self.call("POST", f"/images/create?fromSrc=-&repo={repo}&tag={tag}", data=busybox_tar())
        return name

    def create(self, command: list[str], name: str = "", **fields: Any) -> str:
        """A container of the busybox image. Returns its ID."""
        body = {"Image": "box:latest", "Cmd": command, **fields}
        query = f"?name={name}" if name else ""
        return str(self.call("POST", f"/containers/create{query}", body)["Id"])

    def run(self, command: list[str], name: str = "", **fields: Any) -> str:
        """Create and start. Returns the ID."""
        container = self.create(command, name, **fields)
        self.call("POST", f"/containers/{container}/start")
        return container

    def inspect(self, container: str) -> Any:
        """The inspect document."""
        return self.call("GET", f"/containers/{container}/json")

    def logs(self, container: str) -> bytes:
        """All of stdout, without the frames' heads."""
        framed, out = self.call("GET", f"/containers/{container}/logs?stdout=1"), bytearray()
        while framed:
            size = int.from_bytes(framed[4:8], "big")
            out += framed[8 : 8 + size]
            framed = framed[8 + size :]
        return bytes(out)

    def processes(self) -> list[int]:
        """Every process that has our folder on its command line, and those in our cgroups."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if str(self.folder).encode() in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        for group in self.cgroups():
            with contextlib.suppress(OSError):
                found += [int(pid) for pid in (Path(group) / "cgroup.procs").read_text().split()]
        return sorted(set(found))

    def cgroups(self) -> list[str]:
        """Our containers' cgroups, of every hierarchy."""
        found = []
        for base in (CGROUPS, *CGROUPS.iterdir()):
            for folder, names, _ in os.walk(base / self.name):  # walks on when a group goes meanwhile
                found += [f"{folder}/{name}" for name in names]
        return sorted(found)

    def links(self) -> list[str]:
        """Names of the links in the daemon's network namespace."""
        out = subprocess.run(
            ["ip", "-n", self.name, "-j", "link"], capture_output=True, text=True, check=True
        ).stdout
        return sorted(link["ifname"] for link in json.loads(out))

    def rules(self) -> list[str]:
        """The firewall of the daemon's network namespace, a table each; their order and what is counted tell
        nothing."""
        listed = subprocess.run(
            ["ip", "netns", "exec", self.name, "nft", "-s", "list", "ruleset"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return sorted(listed.split("\n}\n"))

    def mounts(self) -> list[str]:
        """Mounts below our folder, in the host's mount namespace."""
        return [
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.folder) in line
        ]

    def descriptors(self) -> int:
        """How many files the daemon has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def census(self) -> dict[str, Any]:
        """What a container costs the machine; equal before and after, or something leaked."""
        resolver = [pid for pid in self.processes() if _command(pid).startswith(b"compatd-resolver")]
        return {
            "processes": [pid for pid in self.processes() if pid not in resolver],  # stays with the daemon
            "cgroups": self.cgroups(),
            "links": self.links(),
            "rules": self.rules(),
            "mounts": self.mounts(),
            "bundles": sorted(path.name for path in (self.exec_root / "compatd/c").glob("*")),
            "rw layers": sorted(path.name for path in (self.data_root / "compatd/rw").glob("*")),
            "containers": sorted(path.name for path in (self.data_root / "containers").glob("*")),
        }

    def at_rest(self) -> dict[str, Any]:
        """The census when it changes no more: the kernel takes links away a little after their container."""
        seen: list[dict[str, Any]] = [{}]

        def unchanged() -> bool:
            time.sleep(0.2)
            seen.append(self.census())
            links = any(name.startswith("veth") for name in seen[-1]["links"])
            return seen[-1] == seen[-2] and not (links and not seen[-1]["bundles"])

        wait_until(unchanged, "nothing to change any more")
        return seen[-1]

    def destroy(self) -> None:
        """Take everything away, whatever state it is in."""
        for pid in [*([self.process.pid] if self.process else []), *self.processes()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
        deadline = time.monotonic() + 10
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.02)
        for group in sorted(self.cgroups(), key=len, reverse=True):
            with contextlib.suppress(OSError):
                Path(group).rmdir()
        for base in (CGROUPS, *CGROUPS.iterdir()):
            with contextlib.suppress(OSError):
                (base / self.name).rmdir()
        subprocess.run(["ip", "netns", "delete", self.name], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


@contextlib.contextmanager
def running_daemon(*options: str, config: Any = None, kind: type[Daemon] = Daemon) -> Iterator[Daemon]:
    """A started daemon that is taken away at the end, with its log printed when the test failed.

    config: it reads `daemon.json` in its folder, which is this at first.
    """
    folder = Path(tempfile.mkdtemp(prefix="compatd-it-"))
    if config is not None:
        (folder / "daemon.json").write_text(json.dumps(config))
        options = ("--config-file", str(folder / "daemon.json"), *options)
    daemon = kind(folder, *options)
    try:
        daemon.start()
        yield daemon
    except BaseException:
        if daemon.log.exists():
            print(daemon.log.read_text()[-6000:])
        raise
    finally:
        daemon.destroy()


@contextlib.contextmanager
def daemon_on_a_disk(size: int, driver: str) -> Iterator[Daemon]:
    """A daemon whose data root is a tmpfs of `size` bytes, with the busybox image."""
    made = Daemon(Path(tempfile.mkdtemp(prefix="compatd-it-")), "--storage-driver", driver)
    made.data_root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "tmpfs", str(made.data_root)]
    try:
        subprocess.run(mount, check=True)
        made.start()
        made.image()
        yield made
    finally:
        with contextlib.suppress(Exception):
            made.stop()
        subprocess.run(["umount", "-l", str(made.data_root)], check=False)
        made.destroy()


def busybox_tar() -> bytes:
    """A root file system with Debian's static busybox and a link for each of its applets."""
    import io
    import tarfile

    buffer = io.BytesIO()
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("bin", "etc", "tmp", "root", "proc", "dev", "sys"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        tar.add("/bin/busybox", "bin/busybox")
        for applet in applets.split():
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)
        for name, text in (
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/tmp:/bin/sh\n"),
            ("etc/group", "root:x:0:\nann:x:1000:\nstaff:x:50:ann\n"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()
