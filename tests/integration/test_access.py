"""Access rules on a real daemon: the docker command line as several users, and all its ways round them."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import Daemon, running_daemon, wait_until

pytestmark = pytest.mark.root

ANN, BOB, EVE, NOBODY = 51001, 51002, 51003, 51999
DENIED = "authorization denied by access rule"
CONFINED = ["own", "no-privileged", "no-host-paths", "no-host-namespaces"]


class People:
    """A daemon with sockets that everybody may open, and the command line as somebody."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self.daemon, self.folder = daemon, folder
        self.file = folder / "daemon.json"

    def docker(
        self, user: int, *words: str, stdin: bytes = b"", socket: str = "all.sock"
    ) -> subprocess.CompletedProcess[bytes]:
        """`docker …` as `user`, whose only group is the one that may open the sockets."""
        return subprocess.run(
            ["docker", "-H", f"unix://{self.folder}/{socket}", *words],
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
            user=user,
            group=user,
            extra_groups=[52000],
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_BUILDKIT": "0"},
        )

    def works(self, user: int, *words: str, **more: Any) -> str:
        done = self.docker(user, *words, **more)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.decode()

    def refused(self, user: int, *words: str, text: str = DENIED, **more: Any) -> None:
        done = self.docker(user, *words, **more)
        assert done.returncode != 0, (words, done.stdout)
        assert text in (done.stderr + done.stdout).decode(), (words, done.stderr)

    def not_there(self, user: int, *words: str) -> None:
        done = self.docker(user, *words)
        assert done.returncode != 0, words
        assert b"No such" in done.stderr or b"not found" in done.stderr or b"no such" in done.stderr, (
            done.stderr
        )


def rules(folder: Path) -> list[dict[str, Any]]:
    return [
        {"user": "root"},
        {"socket": f"{folder}/ci.sock", "socket-group": "52000", "limits": CONFINED},
        {"user": [str(ANN), str(BOB)], "limits": CONFINED},
        {"user": str(EVE), "limits": "read-only"},
        {"limits": "deny"},
    ]


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        options = {"access": rules(folder), "audit-log": str(folder / "audit.log"), "group": "52000"}
        (folder / "daemon.json").write_text(json.dumps(options))
        sockets = ("-H", f"unix://{folder}/all.sock", "-H", f"unix://{folder}/ci.sock")
        with running_daemon("--config-file", str(folder / "daemon.json"), *sockets) as daemon:
            daemon.image()
            binds = {"HostConfig": {"Binds": [f"{folder}:/host"]}}
            daemon.run(["sleep", "1000"], "roots", **binds)
            daemon.call("POST", "/volumes/create", {"Name": "secrets"})
            daemon.call(
                "POST",
                "/volumes/create",
                {
                    "Name": "granted",
                    "Labels": {"compatd.access.shared": "1"},
                    "DriverOpts": {"type": "none", "o": "bind", "device": str(folder)},
                },
            )
            yield People(daemon, folder)


def run(*words: str) -> tuple[str, ...]:
    return ("run", "--rm", *words, "box", "true")


def test_work_within_the_limits(people: People) -> None:
    works = people.works
    assert works(ANN, "run", "--rm", "-i", "box", "cat", stdin=b"x") == "x"
    works(ANN, "network", "create", "anns")
    works(
        ANN, "run", "-d", "--name", "ann1", "--network", "anns", "-v", "annsdata:/d", "box", "sleep", "1000"
    )
    assert works(ANN, "exec", "ann1", "echo", "hi") == "hi\n"
    assert works(ANN, "ps", "--format", "{{.Names}}") == "ann1\n"
    assert "annsdata" in works(ANN, "volume", "ls", "-q")
    works(ANN, "cp", "/bin/busybox", "ann1:/tmp/b")
    works(ANN, "commit", "ann1", "annsimage")
    works(ANN, "run", "--rm", "--volumes-from", "ann1", "--pid", "container:ann1", "annsimage", "true")
    assert "box" in works(ANN, "images")
    works(ANN, "run", "--rm", "-v", "granted:/g", "box", "ls", "/g")
    works(ANN, "restart", "-t", "0", "ann1")
    for words in (("rm", "-f", "ann1"), ("network", "rm", "anns"), ("volume", "rm", "annsdata")):
        works(ANN, *words)


WAYS_TO_MORE = [
    run("--privileged"),
    run("--cap-add", "SYS_ADMIN"),
    run("--cap-add", "ALL"),
    run("--device", "/dev/null:/dev/x"),
    run("--device-cgroup-rule", "b *:* rwm"),
    run("--security-opt", "seccomp=unconfined"),
    run("--security-opt", "systempaths=unconfined"),
    run("--security-opt", "apparmor=unconfined"),
    run("--cgroup-parent", "/x"),
    run("--runtime", "runc"),
    run("-v", "/:/host"),
    run("-v", "/var/run/docker.sock:/s"),
    run("--mount", "type=bind,src=/,dst=/host"),
    run("--mount", "type=volume,dst=/x,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/"),
    run("--volume-driver", "other"),
    run("--pid", "host"),
    run("--ipc", "host"),
    run("--uts", "host"),
    run("--userns", "host"),
    run("--network", "host"),
    run("--log-driver", "fluentd", "--log-opt", "fluentd-address=unix:///run/x"),
    ("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/", "x"),
    ("network", "create", "-d", "macvlan", "x"),
    ("network", "create", "-o", "com.docker.network.bridge.name=docker0", "x"),
    ("system", "prune", "-f"),
    ("volume", "prune", "-f"),
    ("plugin", "install", "--grant-all-permissions", "x"),
]


@pytest.mark.parametrize("words", WAYS_TO_MORE, ids=lambda words: " ".join(words)[:60])
def test_ways_to_more(people: People, words: tuple[str, ...]) -> None:
    people.refused(ANN, *words)
    people.refused(NOBODY, *words)


def test_the_host_s_network_by_its_id(people: People) -> None:
    host = next(item["Id"] for item in people.daemon.call("GET", "/networks") if item["Name"] == "host")
    people.refused(ANN, *run("--network", host))
    people.refused(ANN, *run("--network", host[:12]))


def test_building_for_more(people: People) -> None:
    for words in (("--network", "host"), ("--cgroup-parent", "/x")):
        context = people.folder / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text("FROM box\nRUN true\n")
        people.refused(ANN, "build", *words, str(context))


WAYS_TO_OTHERS = [
    ("exec", "roots", "true"), ("attach", "--no-stdin", "roots"), ("logs", "roots"), ("inspect", "roots"),
    ("cp", "roots:/etc/passwd", "-"), ("export", "roots"), ("diff", "roots"), ("top", "roots"),
    ("stop", "roots"), ("kill", "roots"), ("rm", "roots"), ("rename", "roots", "x"), ("pause", "roots"),
    ("update", "--memory", "1g", "roots"), ("restart", "roots"), ("start", "roots"), ("wait", "roots"),
    ("commit", "roots", "x"), ("stats", "--no-stream", "roots"), ("port", "roots"),
    run("--volumes-from", "roots"), run("--pid", "container:roots"), run("--ipc", "container:roots"),
    run("--network", "container:roots"), run("--link", "roots:x"), run("-v", "secrets:/x"),
    run("--mount", "type=volume,src=secrets,dst=/x"), run("--network", "roots-net"),
    ("volume", "inspect", "secrets"), ("volume", "rm", "secrets"), ("network", "connect", "bridge", "roots"),
    ("network", "disconnect", "-f", "bridge", "roots"),
]  # fmt: skip


@pytest.mark.parametrize("words", WAYS_TO_OTHERS, ids=lambda words: " ".join(words)[:60])
def test_ways_to_others(people: People, words: tuple[str, ...]) -> None:
    if "roots-net" in words and not any(
        item["Name"] == "roots-net" for item in people.daemon.call("GET", "/networks")
    ):
        people.daemon.call("POST", "/networks/create", {"Name": "roots-net"})
    people.not_there(ANN, *words)
    assert people.daemon.inspect("roots")["State"]["Running"]


def test_all_api_versions_are_the_same(people: People) -> None:
    body = json.dumps({"Image": "box", "HostConfig": {"Binds": ["/:/host"], "privileged": True}})
    for version in ("1.24", "1.30", "1.41", "1.51"):
        answer = _ask(people, ANN, "POST", f"/v{version}/containers/create", body)
        assert answer.startswith(b"HTTP/1.1 403 "), answer
        assert b"privileged containers are not allowed" in answer
        assert _ask(people, ANN, "GET", f"/v{version}/containers/roots/json").startswith(b"HTTP/1.1 404 ")
        assert (
            json.loads(_ask(people, ANN, "GET", f"/v{version}/containers/json").split(b"\r\n\r\n")[1]) == []
        )
    assert _ask(people, ANN, "GET", "/v1.41/containers/roots/attach/ws").startswith(b"HTTP/1.1 404 ")


def _ask(people: People, user: int, method: str, target: str, body: str = "") -> bytes:
    script = (
        "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
        "s.sendall(sys.argv[2].encode())\n"
        "d=b''\n"
        "while p:=s.recv(65536): d+=p\n"
        "sys.stdout.buffer.write(d)\n"
    )
    head = f"{method} {target} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n{body}"
    return subprocess.run(
        ["python3", "-c", script, f"{people.folder}/all.sock", head],
        capture_output=True,
        check=True,
        timeout=120,
        user=user,
        group=user,
        extra_groups=[52000],
    ).stdout


def test_users_do_not_see_each_other(people: People) -> None:
    people.works(ANN, "run", "-d", "--name", "of-ann", "-v", "ann-data:/d", "box", "sleep", "1000")
    try:
        assert people.works(BOB, "ps", "-aq") == ""
        assert people.works(BOB, "ps", "-n", "5", "-q") == ""
        assert people.works(ANN, "ps", "-n", "5", "-q") != ""
        assert "ann-data" not in people.works(BOB, "volume", "ls", "-q")
        assert "of-ann" not in people.works(BOB, "network", "inspect", "bridge")
        assert "of-ann" not in people.works(BOB, "system", "df", "-v")
        now = str(int(time.time()) + 1)
        events = people.works(BOB, "events", "--since", "1", "--until", now)
        assert "of-ann" not in events
        assert "of-ann" in people.works(ANN, "events", "--since", "1", "--until", now)
        people.not_there(BOB, "exec", "of-ann", "true")
        exec_id = people.daemon.call("POST", "/containers/of-ann/exec", {"Cmd": ["true"]})["Id"]
        answer = _ask(people, BOB, "POST", f"/exec/{exec_id}/start", '{"Detach": true}')
        assert b"No such exec instance" in answer
    finally:
        people.works(ANN, "rm", "-f", "of-ann")
        people.works(ANN, "volume", "rm", "ann-data")


def test_a_socket_with_a_rule_of_its_own(people: People) -> None:
    people.works(ANN, "run", "-d", "--name", "by-ci", "box", "sleep", "1000", socket="ci.sock")
    try:
        assert people.works(ANN, "ps", "-q") == ""
        assert people.works(ANN, "ps", "--format", "{{.Names}}", socket="ci.sock") == "by-ci\n"
        people.refused(ANN, *run("--privileged"), socket="ci.sock")
        assert (people.folder / "ci.sock").stat().st_gid == 52000
    finally:
        people.works(ANN, "rm", "-f", "by-ci", socket="ci.sock")


def test_ownership_outlives_the_daemon(people: People) -> None:
    people.works(ANN, "create", "--name", "lasting", "box", "true")
    try:
        people.daemon.kill()
        people.daemon.start()
        assert people.works(ANN, "ps", "-a", "--format", "{{.Names}}") == "lasting\n"
        people.not_there(BOB, "inspect", "lasting")
    finally:
        people.works(ANN, "rm", "-f", "lasting")


def test_looking_only(people: People) -> None:
    assert "roots" in people.works(EVE, "ps")
    people.works(EVE, "logs", "roots")
    people.works(EVE, "images")
    for words in (
        run(), ("exec", "roots", "true"), ("stop", "roots"), ("rm", "-f", "roots"), ("tag", "box", "x"),
        ("rmi", "box"), ("volume", "create"), ("network", "create", "x"), ("import", "-", "x"),
        ("attach", "--no-stdin", "roots"), ("load",), ("system", "prune", "-f"),
    ):  # fmt: skip
        people.refused(EVE, *words, text="403" if words[0] == "attach" else DENIED)
    answer = _ask(people, EVE, "GET", "/containers/roots/attach/ws?stdin=1&stream=1")
    assert answer.startswith(b"HTTP/1.1 403 ")
    people.refused(NOBODY, "ps")


def test_the_audit_log(people: People) -> None:
    path = people.folder / "audit.log"
    before = len(path.read_text().splitlines())
    people.refused(BOB, *run("--privileged"))
    lines = [json.loads(line) for line in path.read_text().splitlines()[before:]]
    asked = next(line for line in lines if line.get("operation") == "ContainerCreate")
    assert (asked["uid"], asked["gid"], asked["allowed"], asked["rule"]) == (BOB, BOB, False, 3)
    assert asked["image"] == "box"
    assert asked["why"] == "privileged containers are not allowed"

    def answers() -> list[Any]:
        all_lines = [json.loads(line) for line in path.read_text().splitlines()[before:]]
        return [line for line in all_lines if line["event"] == "answer" and line["number"] == asked["number"]]

    assert wait_until(answers, "the answer's line")[0]["status"] == 403
    assert path.stat().st_mode & 0o777 == 0o600


def test_rules_change_by_sighup(people: People) -> None:
    log, process = people.daemon.log, people.daemon.process
    assert process is not None

    def reload(access: list[dict[str, Any]], expected: str) -> None:
        count = log.read_text().count(expected)
        options = json.loads(people.file.read_text())
        people.file.write_text(json.dumps({**options, "access": access}))
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.read_text().count(expected) > count, expected)

    try:
        reload([{"limits": "deny"}], "Reloaded configuration")
        people.refused(ANN, "ps")
        reload([{"limits": "nothing"}], "Error reloading configuration")
        people.refused(ANN, "ps")
        (people.folder / "audit.log").rename(people.folder / "audit.log.1")
        reload([], "Reloaded configuration")
        people.works(NOBODY, "ps")
        assert '"ContainerList"' in (people.folder / "audit.log").read_text()
    finally:
        reload(rules(people.folder), "Reloaded configuration")


def test_requests_are_in_the_log_at_debug_level() -> None:
    with running_daemon("--debug") as daemon:
        daemon.call("GET", "/info")
        line = next(line for line in daemon.log.read_text().splitlines() if "request-url=/info" in line)
        assert f"pid={os.getpid()}" in line
        assert 'msg="handling GET request"' in line
        assert "uid=0" in line
