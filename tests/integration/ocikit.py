"""compat-runtime as containerd or podman would use it, on a busybox bundle."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.initkit import REPOSITORY, Box, box

__all__ = ["Runtime", "box", "runtime"]
PATIENCE = 60


class Runtime:
    """One container's bundle; `spec` may be changed before `create`."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.root = box.base / "oci"
        self.log = box.base / "log.json"
        self.out = box.base / "out"
        self.id = f"oci-{uuid.uuid4().hex[:8]}"
        self.bundle = box.base / "bundle"
        self.bundle.mkdir()
        (self.bundle / "rootfs").symlink_to(box.tree)
        box.spec["root"]["path"] = "rootfs"
        box.spec["linux"]["cgroupsPath"] = f"{box.group}/c"

    @property
    def spec(self) -> dict[str, Any]:
        return self.box.spec

    def __call__(self, *command: str, ok: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "runtime.oci", "--root", str(self.root), "--log", str(self.log)]
        result = subprocess.run(
            [*line, "--log-format", "json", *command],
            stdin=subprocess.DEVNULL,
            stdout=options.get("stdout", subprocess.PIPE),
            stderr=options.get("stderr", subprocess.PIPE),
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            timeout=PATIENCE,
            check=False,
        )
        if ok:
            assert result.returncode == 0, result.stderr or self.messages()
        return result

    def write(self, *args: str) -> None:
        """config.json, with the process's arguments."""
        if args:
            self.spec["process"]["args"] = list(args)
        (self.bundle / "config.json").write_text(json.dumps(self.spec))

    def create(self, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        self.write(*args)
        # Files, not pipes: the container keeps them open when the runtime has gone.
        with self.out.open("w") as out:
            line = ["create", "--bundle", str(self.bundle), "--pid-file", str(self.box.base / "pid")]
            return self(*line, *options.pop("more", []), self.id, stdout=out, stderr=out, **options)

    def script(self, script: str) -> str:
        """Create, start and wait for the end of `sh -c script`: what it wrote."""
        self.create("sh", "-c", script)
        self("start", self.id)
        self.wait("stopped")
        return self.out.read_text()

    def refused(self, *command: str) -> str:
        """The error of a command that must fail."""
        before = len(self.messages())
        result = self(*command, ok=False)
        assert result.returncode == 1, result.stdout
        assert len(self.messages()) > before
        return self.messages()[-1]

    def refused_create(self, *args: str) -> str:
        """The error of a create that must fail and leave nothing behind."""
        assert self.create(*(args or ("true",)), ok=False).returncode == 1
        text = self.messages()[-1]
        assert self("state", self.id, ok=False).returncode == 1
        return text

    @property
    def pid(self) -> int:
        return int((self.box.base / "pid").read_text())

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self("state", self.id).stdout)
        return state

    def wait(self, status: str) -> None:
        self.until(lambda: self.state()["status"] == status)

    def until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def messages(self) -> list[str]:
        """All that was logged."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [str(json.loads(line)["msg"]) for line in lines]

    def error(self) -> str:
        """The last that was logged."""
        return self.messages()[-1]


@pytest.fixture
def runtime(box: Box) -> Iterator[Runtime]:
    made = Runtime(box)
    yield made
    made("delete", "--force", made.id, ok=False)
