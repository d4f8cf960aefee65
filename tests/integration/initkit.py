"""A busybox tree and a spec for it, run through `tests.integration.init_driver`."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime import cgroups

REPOSITORY = Path(__file__).parent.parent.parent
APPLETS = (
    "sh ls cat id true mount sleep tty hostname readlink env touch stat echo mkdir grep kill ps chroot ulimit"
)
CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_NET_BIND_SERVICE"]
MOUNTS: list[dict[str, Any]] = [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
        "destination": "/sys",
        "type": "sysfs",
        "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", "ro"],
    },
    {
        "destination": "/sys/fs/cgroup",
        "type": "cgroup",
        "source": "cgroup",
        "options": ["ro", "nosuid", "noexec", "nodev"],
    },
    {
        "destination": "/dev/mqueue",
        "type": "mqueue",
        "source": "mqueue",
        "options": ["nosuid", "noexec", "nodev"],
    },
    {
        "destination": "/dev/shm",
        "type": "tmpfs",
        "source": "shm",
        "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"],
    },
]


class Result:
    def __init__(self, answer: dict[str, Any], out: str, err: str) -> None:
        self.error: str = answer["error"]
        self.code: int | None = answer["code"]
        self.warnings: list[str] = answer["warnings"]
        self.console: str = answer["console"]
        self.execs: list[dict[str, Any]] = answer["execs"]
        self.out = out
        self.err = err


class Box:
    """`tree` is the image, `upper` what the container writes; `spec` may be changed before `run`."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.tree = base / "tree"
        self.upper, self.work, self.rootfs = base / "upper", base / "work", base / "rootfs"
        for folder in (self.upper, self.work, self.rootfs):
            folder.mkdir()
        for name in ("bin", "etc", "tmp", "proc", "sys", "dev", "root"):
            (self.tree / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", self.tree / "bin/busybox")
        for applet in APPLETS.split():
            (self.tree / "bin" / applet).symlink_to("busybox")
        (self.tree / "etc/passwd").write_text(
            "root:x:0:0::/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n"
        )
        (self.tree / "etc/group").write_text("root:x:0:\nbobs:x:1001:\nwheel:x:10:bob\n")
        self.group = f"/initkit-{uuid.uuid4().hex[:12]}"
        self.root: dict[str, Any] = {
            "overlay": {"lower": [str(self.tree)], "upper": str(self.upper), "work": str(self.work)}
        }
        self.spec: dict[str, Any] = {
            "ociVersion": "1.1.0",
            "process": self.process(),
            "root": {"path": str(self.rootfs)},
            "hostname": "box",
            "mounts": copy.deepcopy(MOUNTS),
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
                "resources": {},
            },
        }

    def process(self, *args: str, **changes: Any) -> dict[str, Any]:
        return {
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
            **changes,
        }

    def mount(self, source: Path | str, destination: str, *options: str, kind: str = "bind") -> None:
        self.spec["mounts"].append(
            {"destination": destination, "type": kind, "source": str(source), "options": list(options)}
        )

    def run(
        self,
        *args: str,
        console: bool = False,
        execs: list[dict[str, Any]] | None = None,
        leak: list[int] | None = None,
        groups: list[int] | None = None,
        cgroup: bool = True,
        until: str = "",
    ) -> Result:
        """Run to the end and give what came out. leak: numbers of host fds that the runtime itself has."""
        if args:
            self.spec["process"]["args"] = list(args)
        self.spec["process"]["terminal"] = console
        out, err = self.base / "out", self.base / "err"
        request = {
            "spec": self.spec,
            "root": self.root,
            "cgroup": f"{self.group}/c" if cgroup else "",
            "cache": str(self.base / "cache"),
            "console": console,
            "execs": execs or [],
            "leak": leak or [],
            "groups": groups or [],
            "until": str(self.upper / until) if until else "",
            "out": str(out),
            "err": str(err),
        }
        for file in (out, err):
            file.write_text("")
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.init_driver"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Result(json.loads(done.stdout), out.read_text(), err.read_text())

    def run_beside(self, script: str, *execs: dict[str, Any], **options: Any) -> Result:
        """Run `execs` once the first process has run `script`; then it is killed."""
        full = f"{script}\ntouch /ready; exec sleep 1000"
        return self.run("sh", "-c", full, execs=list(execs), until="ready", **options)

    def close(self) -> None:
        folders = cgroups.open_cgroup(self.group).folders()
        if unified := cgroups.detect().unified:
            folders.append(unified + self.group)  # runc puts its containers there too
        for folder in folders:
            for path in sorted(Path(folder).glob("**/"), reverse=True):
                try:
                    path.rmdir()
                except OSError:
                    pass


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    mounts = Path("/proc/self/mountinfo").read_text()
    try:
        yield made
        # Nothing of a container's mounts is seen on the host, ever.
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text().replace(mounts, "")
    finally:
        made.close()
        os.chdir(REPOSITORY)
