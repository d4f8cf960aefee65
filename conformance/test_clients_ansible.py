"""Ansible's community.docker modules: all is as it was asked for, and a second run changes nothing."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance import netns
from conformance.engine import Engine

PLAYBOOK = Path(__file__).parent / "clients" / "playbook.yaml"
PROGRAM = "/usr/bin/ansible-playbook"


class Play:
    """Runs parts of the playbook, by their tags, from where the engine's published ports are."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.prefix = engine.name("ansible")
        (folder / "file").write_text("copied by ansible")
        self.variables = {
            "engine": engine.host,
            "prefix": self.prefix,
            "image": engine.image,
            "tag": f"{engine.prefix}/ansible:1",
            "port": str(netns.free_port()),
            "file": str(folder / "file"),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        keep = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DOCKER_", "ANSIBLE_", "PYTHON"))
        }
        self.env = {
            **keep,
            "ANSIBLE_HOME": str(folder),
            "ANSIBLE_LOCAL_TEMP": str(folder),
            "ANSIBLE_REMOTE_TEMP": str(folder),
            "ANSIBLE_STDOUT_CALLBACK": "json",
            "ANSIBLE_DEPRECATION_WARNINGS": "false",
            "LC_ALL": "C.UTF-8",
        }

    def __call__(self, tag: str) -> dict[str, int]:
        """The sums of a run: `ok`, `changed` …"""
        command = [
            PROGRAM,
            "-i",
            "localhost,",
            "-c",
            "local",
            "-t",
            tag,
            "-e",
            json.dumps(self.variables),
            str(PLAYBOOK),
        ]
        done = subprocess.run(
            [*netns.prefix(), *command],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, failures(done.stdout) + done.stderr[-2000:]
        sums: dict[str, int] = json.loads(done.stdout[done.stdout.index("{") :])["stats"]["localhost"]
        return sums


def failures(output: str) -> str:
    """The tasks that failed, of Ansible's JSON."""
    try:
        plays: list[Any] = json.loads(output[output.index("{") :])["plays"]
    except ValueError:
        return output[-4000:]
    tasks = [(task["task"]["name"], task["hosts"]["localhost"]) for play in plays for task in play["tasks"]]
    return "\n".join(f"{name}: {json.dumps(host)[:3000]}" for name, host in tasks if host.get("failed"))


@pytest.fixture
def play(engine: Engine, tmp_path: Path) -> Iterator[Play]:
    if not shutil.which(PROGRAM):
        pytest.skip("ansible is missing (scripts/setup --test installs it)")
    made = Play(engine, tmp_path)
    yield made
    engine.remove(made.prefix)
    engine.wire.request("DELETE", f"/networks/{made.prefix}")
    for name in (made.prefix, f"{made.prefix}-memory"):
        engine.wire.request("DELETE", f"/volumes/{name}", force=True)


@pytest.mark.operation(
    *(
        "ContainerCreate",
        "ContainerStart",
        "ContainerInspect",
        "ContainerDelete",
        "ContainerExec",
        "ExecStart",
    ),
    *("NetworkCreate", "NetworkInspect", "NetworkConnect", "NetworkDelete", "VolumeCreate", "VolumeInspect"),
    *("VolumeDelete", "ImageTag", "ImageInspect", "ImageDelete", "SystemInfo", "PutContainerArchive"),
)
def test_community_docker(engine: Engine, play: Play) -> None:
    assert play("made")["changed"] == 5
    first = engine.inspect(play.prefix)
    assert play("made")["changed"] == 0
    assert engine.inspect(play.prefix)["State"]["StartedAt"] == first["State"]["StartedAt"]
    play("used")
    assert play("changed")["changed"] == 1
    second = engine.inspect(play.prefix)
    assert second["Id"] != first["Id"] and "GREETING=bye" in second["Config"]["Env"]
    play("gone")
    wire = engine.wire
    assert wire.request("GET", f"/containers/{play.prefix}/json").status == 404
    assert wire.request("GET", f"/networks/{play.prefix}").status == 404
    assert wire.request("GET", f"/volumes/{play.prefix}").status == 404
    assert wire.request("GET", f"/images/{play.variables['tag']}/json").status == 404
    assert wire.request("GET", f"/images/{engine.image}/json").status == 200
