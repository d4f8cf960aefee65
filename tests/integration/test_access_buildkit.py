"""Access rules and BuildKit: limited callers build, and get nothing more of the machine by it."""

import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, running_daemon, wait_until

pytestmark = pytest.mark.root

ANN, EVE = 51001, 51003
CONFINED = ["own", "no-privileged", "no-host-paths", "no-host-namespaces"]
DENIED = "authorization denied by"
CLI = "/usr/bin/docker"  # 20.10, which has BuildKit's client built in


class Callers:
    """A daemon, and builds on it as somebody: by `POST /build?version=2` and a session."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self.daemon, self.folder = daemon, folder
        self.numbers = itertools.count()

    def build(
        self,
        user: int,
        dockerfile: str,
        *options: str,
        command: tuple[str, ...] = ("build",),
        classic: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """The Dockerfile in an empty context."""
        client = self.begin(user, dockerfile, *options, command=command, classic=classic)
        try:
            output, error = client.communicate(timeout=120)
        finally:
            client.kill()
        return subprocess.CompletedProcess(client.args, client.returncode, output, error)

    def begin(
        self,
        user: int,
        dockerfile: str,
        *options: str,
        command: tuple[str, ...] = ("build",),
        classic: bool = False,
    ) -> subprocess.Popen[str]:
        """The same, under way."""
        file = self.folder / f"Dockerfile{next(self.numbers)}"
        file.write_text(dockerfile)
        return subprocess.Popen(
            [
                *(CLI, "-H", f"unix://{self.folder}/all.sock", *command, *options),
                *(() if classic else ("--progress=plain",)),
                *("-f", str(file), str(self.folder / "context")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=user,
            group=user,
            extra_groups=[52000],
            env={
                "PATH": os.environ["PATH"],
                "HOME": f"{self.folder}/home{user}",
                "DOCKER_BUILDKIT": "0" if classic else "1",
            },
        )

    def refused(self, user: int, dockerfile: str, *options: str, text: str = DENIED) -> None:
        done = self.build(user, dockerfile, *options)
        assert done.returncode != 0, done.stderr
        assert text in done.stderr, done.stderr


@pytest.fixture(scope="module")
def callers() -> Iterator[Callers]:
    if not Path(CLI).exists():
        pytest.skip(f"{CLI} is missing (package docker.io)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "context").mkdir(mode=0o755)
        (folder / "context/file").write_text("text\n")
        for user in (ANN, EVE):
            (folder / f"home{user}").mkdir()
            os.chown(folder / f"home{user}", user, user)
        access = [
            {"user": "root"},
            {"user": str(ANN), "limits": CONFINED},
            {"user": str(EVE), "limits": "read-only"},
        ]
        (folder / "daemon.json").write_text(json.dumps({"access": access, "group": "52000"}))
        sockets = ("-H", f"unix://{folder}/all.sock")
        with running_daemon("--config-file", str(folder / "daemon.json"), *sockets) as daemon:
            daemon.image()
            yield Callers(daemon, folder)


def test_building_within_the_limits(callers: Callers) -> None:
    done = callers.build(ANN, "FROM box\nCOPY file /\nRUN cat /file; id -u\n", "-t", "anns")
    assert done.returncode == 0, done.stderr
    assert "text" in done.stderr and "naming to docker.io/library/anns" in done.stderr


@pytest.mark.parametrize(
    ("dockerfile", "options"),
    [
        ("FROM box\nRUN --network=host true\n", ()),
        ("FROM box\nRUN --network=host true\n", ("--network", "host")),
        ("FROM box\nRUN true\n", ("--network", "host")),
        ("FROM box\nRUN --security=insecure true\n", ()),
        ("FROM box\nRUN true\n", ("--cgroup-parent", "/somewhere")),
    ],
)
def test_building_for_more(callers: Callers, dockerfile: str, options: tuple[str, ...]) -> None:
    done = callers.build(ANN, dockerfile, *options)
    assert done.returncode != 0, done.stderr
    assert DENIED in done.stderr or "is not allowed" in done.stderr, done.stderr


def test_mounts_reach_only_the_context(callers: Callers) -> None:
    host = callers.folder / "of-the-host"
    host.write_text("hidden")
    link = callers.folder / "context/link"
    link.symlink_to(host)
    try:
        for mount in (f"source={host}", "source=link", f"source=../{host.name}"):
            done = callers.build(ANN, f"FROM box\nRUN --mount=type=bind,target=/m,{mount} cat /m\n")
            assert "hidden" not in done.stderr + done.stdout
            assert done.returncode != 0, done.stderr
    finally:
        link.unlink()


def test_who_may_only_look_builds_nothing(callers: Callers) -> None:
    callers.refused(EVE, "FROM box\n", text="403")


@pytest.mark.parametrize("flag", ["--security=insecure", "--network=host"])
def test_triggers_by_the_classic_door(callers: Callers, flag: str) -> None:
    """What only comes in by ONBUILD is refused, too."""
    dockerfile = f"FROM box AS one\nONBUILD RUN {flag} cat /proc/net/dev\nFROM one\n"
    done = callers.build(ANN, dockerfile, classic=True)
    assert done.returncode != 0, done.stdout
    assert "option requires BuildKit" in done.stderr, done.stderr


def test_nobody_waits_for_a_step_of_somebody_else(callers: Callers) -> None:
    """The same step is done once, but not for others: it may be stuck, and everybody's with it."""
    secret = callers.folder / "secret"
    secret.write_text("x")
    mount = "--mount=type=secret,id=s,mode=0444"
    dockerfile = f"FROM box\nRUN {mount} if [ -e /run/secrets/s ]; then sleep 1000; fi\n"
    stuck = callers.begin(ANN, dockerfile, "--secret", f"id=s,src={secret}")
    try:
        wait_until(lambda: any(map(sleeping, callers.daemon.processes())), "the step that is stuck")
        done = callers.build(0, dockerfile)
        assert done.returncode == 0, done.stderr
        assert stuck.poll() is None
    finally:
        stuck.terminate()
        stuck.communicate(timeout=60)
    wait_until(lambda: not any(map(sleeping, callers.daemon.processes())), "its end")


def sleeping(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"sleep\x001000\x00")
    except OSError:
        return False
