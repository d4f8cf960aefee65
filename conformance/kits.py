"""Builds by BuildKit: folders to build, command lines that build them, and what they say."""

import json
import re
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance import cli as command_line
from conformance.cli import Cli, Result
from conformance.engine import LABEL, Engine

_TIMES = re.compile(r" \d+\.\d+s(?= done$|$)| done$")
_NUMBER = re.compile(r"^#\d+ ")
_CLOCK = re.compile(r"^\d+\.\d+ ")
_ID = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass
class Built:
    """How a build ended, and what its plain progress said."""

    result: Result

    @property
    def code(self) -> int:
        return self.result.code

    @property
    def err(self) -> str:
        return self.result.err

    @property
    def lines(self) -> list[str]:
        """Lines of all steps, without numbers, times and IDs; `done` is left out, too."""
        found = []
        for line in self.err.splitlines():
            if match := _NUMBER.match(line):
                text = _CLOCK.sub("", line[match.end() :])
                if not re.fullmatch(r"sha256:[0-9a-f]{64}", text):  # of 20.10's: the digest of a line
                    found.append(_ID.sub("ID", _TIMES.sub("", text)))
        return found

    @property
    def steps(self) -> dict[str, list[str]]:
        """What each step said, by its name: the lines behind its own."""
        found: dict[str, list[str]] = {}
        names: dict[str, str] = {}
        for line in self.err.splitlines():
            number, _, text = line.partition(" ")
            if not re.fullmatch(r"#\d+", number) or re.fullmatch(r"sha256:[0-9a-f]{64}", text):
                continue
            if number not in names:
                names[number] = text
                found[text] = []
            elif text != names[number] and text != "...":
                found[names[number]].append(_ID.sub("ID", _TIMES.sub("", _CLOCK.sub("", text))))
        return found

    def transferred(self, step: str, name: str = "context") -> float:
        """Bytes that a step says it got of the client."""
        (size,) = [
            line.removeprefix(f"transferring {name}: ")
            for line in self.steps[step]
            if line.startswith(f"transferring {name}: ")
        ][-1:]
        match = re.fullmatch(r"([0-9.]+)(k|M|G)?B", size)
        assert match, size
        return float(match[1]) * {None: 1, "k": 1e3, "M": 1e6, "G": 1e9}[match[2]]


class Kit:
    """One way to build with BuildKit. `command` is what stands before the options."""

    def __init__(self, engine: Engine, cli: Cli, folder: Path, *, buildx: bool) -> None:
        self.engine, self.cli, self.folder, self.buildx = engine, cli, folder, buildx
        self.command = ("buildx", "build") if buildx else ("build",)
        self.env = {**cli.env, "DOCKER_BUILDKIT": "1"}
        self.unique = secrets.token_hex(6)  # an image of its own for each test, whatever is cached

    def files(self, dockerfile: str, files: Mapping[str, str | bytes] | None = None) -> None:
        """Put a Dockerfile and more into the folder; those that are there stay."""
        for name, data in {"Dockerfile": dockerfile, **(files or {})}.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)

    def arguments(self, *options: str, context: str = "", progress: str = "plain") -> list[str]:
        labels = ("--label", f"{LABEL}={self.engine.run_id}", "--label", f"kit={self.unique}")
        shown = [f"--progress={progress}"] if progress else []
        return [self.cli.path, *self.command, *shown, *labels, *options, context or str(self.folder)]

    def __call__(
        self,
        *options: str,
        context: str = "",
        progress: str = "plain",
        check: bool = True,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Built:
        """Build the folder. Raises AssertionError with what was said when it fails and `check` is set."""
        done = subprocess.run(
            self.arguments(*options, context=context, progress=progress),
            env={**self.env, **(env or {})},
            capture_output=True,
            timeout=120,
            check=False,
            input=stdin if stdin is not None else b"",
        )
        result = Result(done.returncode, done.stdout, done.stderr)
        assert not check or result.code == 0, result.err
        return Built(result)

    def fails(self, *options: str, **more: Any) -> Built:
        """A build that must fail."""
        built = self(*options, check=False, **more)
        assert built.code != 0, built.err
        return built

    def image(self, *options: str, **more: Any) -> str:
        """Build, and give the image's ID."""
        path = self.folder.parent / "iid"
        self(*options, "--iidfile", str(path), **more)
        return path.read_text()

    def config(self, image: str) -> dict[str, Any]:
        """An image's whole document."""
        found: dict[str, Any] = self.engine.wire.get(f"/images/{image}/json")
        return found

    def run(self, image: str, *command: str) -> str:
        """What a command in the image writes."""
        container = self.engine.run(*command, Image=image, Labels=self.engine.labels)
        code = self.engine.wait(container)
        out, err = self.engine.logs(container)
        assert code == 0, (out, err)
        return out


def make(engine: Engine, folder: Path, *, buildx: bool) -> Kit:
    """buildx with the newest command line, or 20.10 with what it has built in. Skips where there is none."""
    config = folder / "config"
    (folder / "ctx").mkdir()
    config.mkdir()
    paths = sorted(command_line.found(), key=lambda path: int(command_line.version_of(path).split(".")[0]))
    if not buildx:
        paths = [path for path in paths if command_line.version_of(path).startswith("20.")]
    if not paths:
        pytest.skip("no such command line")
    cli = Cli(paths[-1], engine.host, config)
    if buildx and not cli.plug("docker-buildx"):
        pytest.skip("CONFORMANCE_PLUGINS names no folder with docker-buildx")
    return Kit(engine, cli, folder / "ctx", buildx=buildx)


def objects(text: str) -> list[dict[str, Any]]:
    """All JSON objects of a text, one behind the other."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        found.append(value)
    return found
