"""`compatd doctor` beside a daemon that runs, as root and as a user with and without its group."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import Daemon, running_daemon

pytestmark = pytest.mark.root
NOBODY = 65534


@pytest.fixture(scope="module")
def ours() -> Iterator[Daemon]:
    with running_daemon() as started:
        started.folder.chmod(0o711)
        settings = {"hosts": [started.host], "data-root": str(started.data_root)}
        settings["pidfile"] = str(started.folder / "docker.pid")
        (started.folder / "doctor.json").write_text(json.dumps(settings))
        yield started


def doctor(ours: Daemon, *prefix: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Exit code, and findings by check."""
    command = [*prefix, str(Path(sys.executable).parent / "compatd"), "doctor", "--json"]
    command += ["--config-file", str(ours.folder / "doctor.json")]
    environment = {**os.environ, "DOCKER_HOST": ours.host}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=300, check=False)
    assert not done.stderr, done.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        assert finding["level"] == "ok" or finding["do"], finding
        found.setdefault(finding["check"], []).append(finding)
    return done.returncode, found


def user(*groups: int) -> list[str]:
    names = ",".join(map(str, groups))
    who = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--inh-caps=-all"]
    return [*who, f"--groups={names}"] if groups else [*who, "--clear-groups"]


def test_root_sees_the_daemon(ours: Daemon) -> None:
    _, found = doctor(ours)
    assert any("answers: compatd" in item["text"] for item in found["daemon"])
    assert any("answers this user" in item["text"] for item in found["client"])
    assert not [item for item in found["kernel"] + found["storage"] if item["level"] == "problem"]


def test_a_user_without_the_group_is_told_what_to_do(ours: Daemon) -> None:
    code, found = doctor(ours, *user())
    [problem] = [item for item in found["client"] if item["level"] == "problem"]
    assert "nobody may not use" in problem["text"]
    assert any(step.startswith("sudo usermod -aG ") and step.endswith(" nobody") for step in problem["do"])
    assert code == 1


def test_a_user_with_the_group_is_answered(ours: Daemon) -> None:
    gid = os.stat(ours.socket).st_gid
    _, found = doctor(ours, *user(gid))
    assert any("answers this user" in item["text"] for item in found["client"])


def test_a_daemon_that_was_killed(ours: Daemon) -> None:
    ours.kill()
    try:
        code, found = doctor(ours)
        [problem] = [item for item in found["daemon"] if item["level"] == "problem"]
        assert "left over" in problem["text"]
        assert code == 1
    finally:
        ours.start()
