"""`build:` sections of Docker Compose."""

import re
import subprocess
from pathlib import Path

import pytest

from conformance.cli import Result
from conformance.engine import LABEL, Engine
from conformance.kits import Kit, make

BUILD = ("Grpc", "Session")

pytestmark = pytest.mark.since("1.45")

_FILE = """
services:
  one:
    image: {one}
    build:
      context: .
      target: first
      args: {{WORD: hello}}
      labels: {{{label}: "{run}", x: y}}
      secrets: [word]
    command: cat /said /data/file
  two:
    image: {two}
    build:
      context: other
      dockerfile_inline: |
        FROM {base}
        COPY own /own
      labels: {{{label}: "{run}"}}
    command: cat /own
secrets:
  word:
    file: secret.txt
"""


class Project:
    """A Compose project in a Kit's folder."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.name = kit.engine.name("app")
        self.images = {word: kit.engine.name(word) for word in ("one", "two")}
        text = _FILE.format(base=kit.engine.image, label=LABEL, run=kit.engine.run_id, **self.images)
        kit.files(
            f"FROM {kit.engine.image} AS first\nARG WORD\nCOPY file /data/\n"
            "RUN --mount=type=secret,id=word echo $WORD $(wc -c < /run/secrets/word) > /said\n",
            {"compose.yaml": text, "file": "in a file\n", "other/own": "own\n", "secret.txt": "12345"},
        )

    def __call__(self, *args: str) -> Result:
        done = subprocess.run(
            [self.kit.cli.path, "compose", "--ansi", "never", "--progress=plain", "-p", self.name, *args],
            cwd=self.kit.folder,
            env=self.kit.env,
            capture_output=True,
            timeout=180,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        result = Result(done.returncode, done.stdout, done.stderr)
        assert result.code == 0, result.err
        return result


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> Project:
    kit = make(engine, tmp_path, buildx=True)
    if not kit.cli.plug("docker-compose"):
        pytest.skip("CONFORMANCE_PLUGINS names no folder with docker-compose")
    return Project(kit)


@pytest.mark.operation(*BUILD)
def test_build_and_run(project: Project) -> None:
    said = project("build")
    text = said.err + said.out
    assert re.search(r"#\d+ \[one .*first 2/3\] COPY file /data/", text) or "COPY file /data/" in text
    config = project.kit.config(project.images["one"])
    assert config["Config"]["Labels"]["x"] == "y"
    assert config["Config"]["Labels"]["com.docker.compose.project"] == project.name
    try:
        out = project("run", "--rm", "--no-TTY", "one").out
        assert out == "hello 5\nin a file\n"
        assert project("run", "--rm", "--no-TTY", "two").out == "own\n"
    finally:
        project("down", "--timeout", "0")


@pytest.mark.operation(*BUILD)
def test_a_changed_file_makes_another_image(project: Project) -> None:
    project("build", "two")
    before = project.kit.config(project.images["two"])["Id"]
    project("build", "two")
    assert project.kit.config(project.images["two"])["Id"] == before
    (project.kit.folder / "other/own").write_text("changed\n")
    project("build", "two")
    assert project.kit.config(project.images["two"])["Id"] != before
