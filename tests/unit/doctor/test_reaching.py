"""Every cause of "Cannot connect to the Docker daemon", and the command line of `compatd doctor`."""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from compatd.config import Config
from compatd.doctor import client, command, daemon
from compatd.doctor.finding import OK, PROBLEM, WARNING, Finding
from compatd.doctor.machine import Answer, Machine, Result

HOST = "unix:///var/run/docker.sock"


class Fake(Machine):
    """Sockets answer as `answers` says, commands as `commands`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, {"HOME": "/home/ann"}, 1000, [1000], "6.1.0")
        self.answers: dict[str, Answer] = {}
        self.commands: dict[str, Result] = {}
        self.put("/etc/passwd", "ann:x:1000:1000::/home/ann:/bin/sh\n")
        self.put("/etc/group", "ann:x:1000:\ndocker:x:999:\n")

    def put(self, name: str, text: str = "") -> Path:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, *words: str) -> Result:
        line = " ".join(words)
        return next(
            (value for start, value in self.commands.items() if line.startswith(start)), Result(-1, "")
        )

    def ask(self, host: str, path: str) -> Answer:
        return self.answers.get(host + path, self.answers.get(host, Answer("missing")))


@pytest.fixture
def machine(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def wrong(findings: Iterator[Finding]) -> list[Finding]:
    found = [finding for finding in findings if finding.level != OK]
    assert all(finding.do for finding in found)
    return found


def settled() -> Config:
    config = Config({})
    config.hosts = [HOST]
    return config


@pytest.mark.parametrize(
    ("answer", "text", "do"),
    [
        (Answer("missing"), "does not run", "sudo dockerd"),
        (Answer("refused"), "left over", "journalctl -u docker"),
        (Answer("silent"), "does not answer", "systemctl kill"),
        (Answer("bad status line"), "answers wrongly", "journalctl"),
    ],
)
def test_a_daemon_that_is_not_there(machine: Fake, answer: Answer, text: str, do: str) -> None:
    machine.answers[HOST] = answer
    [found] = wrong(daemon.check(machine, settled()))
    assert found.level == PROBLEM
    assert text in found.text
    assert any(do in step for step in found.do)


def test_a_daemon_on_another_socket(machine: Fake) -> None:
    machine.put("/var/run/docker.pid", "77")
    machine.put("/proc/77/comm", "dockerd")
    [found] = wrong(daemon.check(machine, settled()))
    assert "runs (PID 77), but not on" in found.text


@pytest.mark.parametrize(("name", "level"), [("compatd", OK), ("Docker Engine - Community", WARNING)])
def test_a_daemon_that_answers(machine: Fake, name: str, level: str) -> None:
    version = {"Platform": {"Name": name}, "Version": "29.0.0", "ApiVersion": "1.56"}
    machine.answers = {HOST: Answer("", b"OK"), f"{HOST}/version": Answer("", json.dumps(version).encode())}
    found = [item for item in daemon.check(machine, settled()) if "answers" in item.text]
    assert [item.level for item in found] == [level]
    assert f"{name} 29.0.0, API 1.56" in found[0].text


@pytest.mark.parametrize(
    ("state", "levels"),
    [
        ("LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled", []),
        ("LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=disabled", [WARNING] * 2),
        ("LoadState=masked\nActiveState=inactive", [PROBLEM] * 2),
        ("LoadState=loaded\nActiveState=failed", [PROBLEM] * 2),
        ("LoadState=not-found\nActiveState=inactive", []),
    ],
)
def test_units(machine: Fake, state: str, levels: list[str]) -> None:
    machine.put("/run/systemd/system/x")
    machine.answers[HOST] = Answer("denied")
    machine.commands["systemctl show"] = Result(0, state)
    assert [found.level for found in wrong(daemon.check(machine, settled()))] == levels


def test_the_group_is_missing(machine: Fake) -> None:
    machine.answers[HOST] = Answer("", b"OK")
    machine.put("/etc/group", "root:x:0:\n")
    [found] = wrong(daemon.check(machine, settled()))
    assert "groupadd --system docker" in found.do


@pytest.mark.parametrize(
    ("group", "session", "mode", "text", "do"),
    [
        ("docker:x:{gid}:", False, 0o660, "may not use", "sudo usermod -aG docker ann"),
        ("docker:x:{gid}:bob,ann", False, 0o660, "does not have it yet", "newgrp docker"),
        ("docker:x:{gid}:ann", True, 0o660, "though this session", "ls -l"),
        ("docker:x:{gid}:ann", False, 0o600, "its owner only", "systemctl restart"),
    ],
)
def test_rights(machine: Fake, group: str, session: bool, mode: int, text: str, do: str) -> None:
    path = machine.put("/var/run/docker.sock")
    path.chmod(mode)
    gid = path.stat().st_gid
    machine.gids = [gid] if session else [1000000]
    machine.put("/etc/group", group.format(gid=gid) + "\n")
    machine.answers[HOST] = Answer("denied")
    [found] = wrong(client.check(machine, [HOST]))
    assert text in found.text
    assert any(do in step for step in found.do)


def test_a_folder_in_the_way(machine: Fake) -> None:
    machine.answers[HOST] = Answer("denied")
    [found] = wrong(client.check(machine, [HOST]))
    assert "namei -l /var/run/docker.sock" in found.do


def _context(machine: Fake, name: str, host: str) -> None:
    digest = hashlib.sha256(name.encode()).hexdigest()
    text = json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}})
    machine.put(f"/home/ann/.docker/contexts/meta/{digest}/meta.json", text)


@pytest.mark.parametrize(
    ("environment", "settings", "undo"),
    [
        ({"DOCKER_HOST": "tcp://192.0.2.1:2375"}, "{}", "unset DOCKER_HOST"),
        ({"DOCKER_CONTEXT": "far"}, "{}", "unset DOCKER_CONTEXT"),
        ({}, '{"currentContext": "far"}', "docker context use default"),
    ],
)
def test_clients_that_look_elsewhere(
    machine: Fake, environment: dict[str, str], settings: str, undo: str
) -> None:
    machine.environment = {"HOME": "/home/ann", **environment}
    machine.put("/home/ann/.docker/config.json", settings)
    _context(machine, "far", "tcp://192.0.2.1:2375")
    first, second = wrong(client.check(machine, [HOST]))
    assert (first.level, second.level) == (WARNING, PROBLEM)
    assert "tcp://192.0.2.1:2375" in first.text
    assert undo in first.do


def test_a_context_that_is_gone_and_a_broken_file(machine: Fake) -> None:
    machine.put("/home/ann/.docker/config.json", '{"currentContext": "lost"}')
    [found] = wrong(client.check(machine, [HOST]))
    assert "no such context" in found.text
    machine.put("/home/ann/.docker/config.json", "{")
    [found] = wrong(client.check(machine, [HOST]))
    assert "is no JSON" in found.text


def test_a_real_socket_in_all_its_states(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    path = tmp_path / "d.sock"
    assert machine.ask("unix:///d.sock", "/_ping").error == "missing"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert machine.ask("unix:///d.sock", "/_ping").error == "refused"
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a": 12}')

        thread = threading.Thread(target=answer)
        thread.start()
        assert machine.ask_json("unix:///d.sock", "/version") == {"a": 12}
        thread.join()


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake(tmp_path)
    monkeypatch.setattr(command, "Machine", lambda: fake)
    assert command.main(["--json"]) == 1  # nothing at all is there
    document = json.loads(capsys.readouterr().out)
    checks = {finding["check"] for finding in document["findings"]}
    assert checks >= {"kernel", "cgroups", "limits", "storage", "configuration", "names", "daemon", "others"}
    assert document["problems"] > 0
    monkeypatch.setattr(
        command, "examine", lambda machine, file: iter([Finding("x", WARNING, "so", ["do it"])])
    )
    assert command.main([]) == 0
    assert "-> do it" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        command.main(["--nonsense"])
    assert ended.value.code == 2


def test_this_machine_as_it_is() -> None:
    """Whatever is here, the check itself does not fail, and changes nothing."""
    assert {finding.level for finding in command.examine(Machine())} <= {OK, WARNING, PROBLEM}
