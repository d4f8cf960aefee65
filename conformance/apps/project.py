"""An application under Docker Compose: the real command line with its plugin, as a user would run it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from conformance import cli as command_line
from conformance.apps import image
from conformance.cli import Cli, Result
from conformance.engine import Engine

SHOP = Path(__file__).parent / "shop"
LABEL = "com.docker.compose.project"


def newest_cli(host: str, config: Path) -> Cli:
    """The newest command line found, with a configuration in that folder."""

    def release(path: str) -> list[int]:
        return [int(number) for number in command_line.version_of(path).split(".")]

    return Cli(max(command_line.found(), key=release), host, config)


def import_image(engine: Engine) -> str:
    """The applications' image on that engine, imported from its tar. Returns its tag.

    It has no label of this run: containers of it outlive a single test.
    """
    name = f"{engine.prefix}/shop"
    with image.archive().open("rb") as tar:
        answer = engine.wire.request(
            "POST",
            "/images/create",
            tar,
            headers={"Content-Type": "application/x-tar"},
            fromSrc="-",
            repo=name,
            tag="1",
        )
    assert answer.status == 200 and b"error" not in answer.body, answer
    return f"{name}:1"


class Project:
    """One Compose project. Its files are a copy of `source` in `folder`, to be changed freely."""

    def __init__(self, engine: Engine, cli: Cli, folder: Path, source: Path, **env: str) -> None:
        self.engine, self.cli = engine, cli
        self.name = engine.name("app").lower()
        self.folder = folder / "app"
        shutil.copytree(source, self.folder)
        self.env = {**cli.env, **env}

    @property
    def command(self) -> list[str]:
        return [
            self.cli.path,
            "compose",
            "--ansi",
            "never",
            "-p",
            self.name,
            "--project-directory",
            str(self.folder),
        ]

    def __call__(
        self, *args: str, check: bool = True, timeout: float = 300, env: dict[str, str] | None = None
    ) -> Result:
        """Run `docker compose …` to its end. Raises AssertionError with what it said when it fails."""
        done = subprocess.run(
            [*self.command, *args],
            env={**self.env, **(env or {})},
            cwd=self.folder,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        result = Result(done.returncode, done.stdout, done.stderr)
        if check and result.code:
            logs = subprocess.run(
                [*self.command, "logs", "--tail", "30"], env=self.env, capture_output=True, check=False
            )
            raise AssertionError(
                f"compose {' '.join(args)}: {result.code}: {result.out}{result.err}\n{logs.stdout.decode()}"
            )
        return result

    def text(self, *args: str) -> str:
        return self(*args).out.strip()

    @contextlib.contextmanager
    def reading(self, each: Callable[[bytes], object], *args: str) -> Iterator[None]:
        """Run `docker compose …` meanwhile, with `each` called for every line that it writes."""
        process = subprocess.Popen(
            [*self.command, *args],
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the plugin is a process beside the command line's: end both
        )
        lines = process.stdout
        assert lines

        def read() -> None:
            for line in lines:
                each(line)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                reader.join(30)
            process.wait()
            lines.close()

    def items(self, *args: str) -> list[dict[str, Any]]:
        """What a command says with `--format json`: a list, or an object a line."""
        text = self.text(*args, "--format", "json")
        if text.startswith("["):
            return list(json.loads(text))
        return [json.loads(line) for line in text.splitlines()]

    def containers(self) -> dict[str, str]:
        """ID by name, of all containers, without the project's own name: `db-1`."""
        label = f"{LABEL}={self.name}"
        found = self.engine.wire.get("/containers/json", all=True, filters={"label": [label]})
        return {one["Names"][0].removeprefix(f"/{self.name}-"): one["Id"] for one in found}

    def left(self) -> dict[str, int]:
        """How many containers, networks and volumes there are of this project."""
        filters = {"label": [f"{LABEL}={self.name}"]}
        wire = self.engine.wire
        return {
            "containers": len(wire.get("/containers/json", all=True, filters=filters)),
            "networks": len(wire.get("/networks", filters=filters)),
            "volumes": len(wire.get("/volumes", filters=filters)["Volumes"]),
        }

    def close(self) -> None:
        """Take everything of the project away, also what Compose itself would leave."""
        self("--profile", "*", "down", "-v", "--remove-orphans", "-t", "1", check=False)
        wire, filters = self.engine.wire, {"label": [f"{LABEL}={self.name}"]}
        for container in wire.get("/containers/json", all=True, filters=filters):
            self.engine.remove(container["Id"])
        for network in wire.get("/networks", filters=filters):
            wire.request("DELETE", f"/networks/{network['Id']}")
        for volume in wire.get("/volumes", filters=filters)["Volumes"]:
            wire.request("DELETE", f"/volumes/{volume['Name']}", force=True)
