"""The real `docker` command line over TLS, plain TCP and ssh: half-close, streams, who is let in."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, running_daemon, wait_until
from tests.unit.http import certs

pytestmark = pytest.mark.root

SECURE, OPEN = "127.0.0.1:2376", "127.0.0.1:2375"


class Clients:
    """The daemon, and folders with certificates as DOCKER_CERT_PATH wants them."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self.daemon, self.folder = daemon, folder

    def docker(
        self, *words: str, stdin: bytes = b"", check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        """`docker …` in the daemon's network namespace, over TLS as `client` unless told otherwise."""
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "DOCKER_HOST": f"tcp://{SECURE}",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(self.folder / "client"),
            **environment,
        }
        done = subprocess.run(
            ["ip", "netns", "exec", self.daemon.name, "docker", *words],
            input=stdin,
            capture_output=True,
            env={name: value for name, value in env.items() if value},
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
        return done


class Real(Daemon):
    """Debian's dockerd, which all but the tests of our own bounds is held against, too."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self.folder = folder
        program = folder / "dockerd"
        program.write_text(f'#!/bin/sh\nexec /usr/sbin/dockerd {" ".join(options)} "$@"\n')
        program.chmod(0o755)
        self._script("start", DOCKERD=str(program))
        known = dict(line.split()[1].split("=", 1) for line in self._script("env").splitlines())
        self.host, self.name = known["DOCKER_HOST"], known["CONFORMANCE_NETNS"]
        self.socket = self.host.removeprefix("unix://")

    def _script(self, word: str, **environment: str) -> str:
        return real_dockerd(word, self.folder, **environment)


def real_dockerd(word: str, folder: Path, **environment: str) -> str:
    """`scripts/real-dockerd`, and what it prints."""
    script = Path(__file__).parents[2] / "scripts/real-dockerd"
    command = [str(script), word, str(folder)]
    env = {**os.environ, **environment}
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=180, check=True, env=env).stdout


@contextlib.contextmanager
def real_daemon(options: list[str]) -> Iterator[Daemon]:
    folder = Path(tempfile.mkdtemp(prefix="rd-tls-"))
    try:
        yield Real(folder, options)
    finally:
        real_dockerd("clean", folder)


@pytest.fixture(scope="module", params=["ours", "real"])
def clients(request: pytest.FixtureRequest) -> Iterator[Clients]:
    with tempfile.TemporaryDirectory() as name:
        folder = certs.make(Path(name))
        for who in ("client", "stranger"):
            (folder / who).mkdir()
            (folder / who / "ca.pem").symlink_to(folder / "ca.pem")
            for what in ("cert", "key"):
                (folder / who / f"{what}.pem").symlink_to(folder / f"{who}-{what}.pem")
        files = ("--tlscacert", folder / "ca.pem", "--tlscert", folder / "server-cert.pem")
        options = list(map(str, (*files, "--tlskey", folder / "server-key.pem", "--tlsverify")))
        options += ["-H", f"tcp://{SECURE}"]
        with real_daemon(options) if request.param == "real" else running_daemon(*options) as daemon:
            daemon.image()
            daemon.run(["sleep", "1000"], "here")
            yield Clients(daemon, folder)


def test_input_that_ends_gets_its_answer(clients: Clients) -> None:
    assert clients.docker("exec", "-i", "here", "cat", stdin=b"x\n").stdout == b"x\n"
    data = os.urandom(3_000_000)
    assert clients.docker("exec", "-i", "here", "cat", stdin=data).stdout == data
    counted = clients.docker("run", "--rm", "-i", "box", "wc", "-c", stdin=data)
    assert counted.stdout.strip() == b"3000000"


def test_streams(clients: Clients) -> None:
    assert (
        clients.docker("exec", "here", "sh", "-c", "echo out; echo err >&2; exit 3", check=False).returncode
        == 3
    )
    clients.docker("run", "--name", "talker", "box", "sh", "-c", "seq 1 20000")
    assert clients.docker("logs", "-f", "talker").stdout.split()[-1] == b"20000"
    archive = clients.docker("save", "box").stdout
    assert len(archive) > 1_000_000
    assert b"Loaded image" in clients.docker("load", stdin=archive).stdout
    packed = clients.docker("cp", "here:/bin/busybox", "-").stdout
    assert len(packed) > 500_000
    clients.docker("cp", "-", "here:/tmp", stdin=packed)
    clients.docker("rm", "talker")


def test_who_is_let_in(clients: Clients) -> None:
    done = clients.docker("ps", check=False, DOCKER_CERT_PATH=str(clients.folder / "stranger"))
    assert done.returncode == 1
    assert b"remote error: tls" in done.stderr
    done = clients.docker("ps", check=False, DOCKER_TLS_VERIFY="", DOCKER_CERT_PATH="")
    assert b"Client sent an HTTP request to an HTTPS server" in done.stderr


def test_info_does_not_warn_of_a_verified_address(clients: Clients) -> None:
    warnings = clients.daemon.call("GET", "/info")["Warnings"] or []
    assert not [text for text in warnings if "API is accessible" in text]


def test_ssh(clients: Clients) -> None:
    folder = clients.folder / "ssh"
    folder.mkdir()
    ssh = folder / "ssh"
    ssh.write_text(
        '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift 2\n'
        f'[ "$1" = docker ] || exec sh -c "$*"\nexport DOCKER_HOST={clients.daemon.host}\nexec "$@"\n'
    )
    ssh.chmod(0o755)
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "DOCKER_HOST": "ssh://somebody@somewhere",
        "DOCKER_TLS_VERIFY": "",
        "DOCKER_CERT_PATH": "",
    }
    assert clients.docker("exec", "-i", "here", "cat", stdin=b"far away", **environment).stdout == b"far away"
    assert b"sleep 1000" in clients.docker("ps", "--no-trunc", **environment).stdout


def test_plain_tcp_is_warned_of() -> None:
    with running_daemon("-H", f"tcp://{OPEN}") as daemon:
        warnings = daemon.call("GET", "/info")["Warnings"]
        assert warnings[0].startswith(
            f"[DEPRECATION NOTICE]: API is accessible on http://{OPEN} without encryption.\n"
            "         Access to the remote API is equivalent to root access on the host."
        )
        log = daemon.log.read_text()
        assert "Binding to IP address without --tlsverify is insecure" in log
        assert f'host="tcp://{OPEN}"' in log
        assert "intentionally being slowed down" not in log
        assert f"API listen on {OPEN}" in log
        done = subprocess.run(
            ["ip", "netns", "exec", daemon.name, "docker", "-H", f"tcp://{OPEN}", "version"],
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0


def test_tls_without_verification_lets_everybody_in_and_says_so() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = certs.make(Path(name))
        files = ("--tlscert", str(folder / "server-cert.pem"), "--tlskey", str(folder / "server-key.pem"))
        with running_daemon("-H", f"tcp://{SECURE}", "--tlsverify=false", *files) as daemon:
            warnings = daemon.call("GET", "/info")["Warnings"]
            assert f"API is accessible on https://{SECURE} without TLS client verification." in warnings[0]
            command = ["ip", "netns", "exec", daemon.name, "docker", "-H", f"tcp://{SECURE}", "--tls", "ps"]
            (folder / ".docker").mkdir()
            (folder / ".docker/ca.pem").symlink_to(folder / "ca.pem")
            env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
            done = subprocess.run(command, capture_output=True, timeout=60, check=False, env=env)
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("clients", ["ours"], indirect=True)
def test_idle_connections_do_not_keep_others_out(clients: Clients) -> None:
    script = (
        "import socket,sys,time\n"
        "held=[socket.create_connection(('127.0.0.1',2376)) for _ in range(700)]\n"
        "print('held',flush=True)\nsys.stdin.read()\n"
    )
    command = ["ip", "netns", "exec", clients.daemon.name, "python3", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin
        assert holder.stdout
        try:
            assert holder.stdout.readline() == b"held\n"
            assert clients.docker("ps").returncode == 0
        finally:
            holder.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                holder.wait(30)
    wait_until(lambda: clients.daemon.descriptors() < 200, "the connections to be given up")
