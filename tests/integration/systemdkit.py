"""systemd as pid 1 of namespaces of its own, with the units of the .deb and nothing else of the machine's.

Everything of it is in a folder, in one cgroup (v2), and in the namespaces, which end with its pid 1.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.daemon import busybox_tar, wait_until

UNITS = Path(__file__).parents[2] / "packaging/deb/debian"
PROGRAM = Path(sys.executable).parent / "compatd"
_SYSTEMS = (Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))
_UNIFIED = Path("/sys/fs/cgroup/unified")
CGROUPS = _UNIFIED if _UNIFIED.is_dir() else Path("/sys/fs/cgroup")

_TAKEN = (
    *("basic.target", "sysinit.target", "sockets.target", "shutdown.target", "umount.target", "paths.target"),
    *("slices.target", "timers.target", "local-fs.target", "swap.target"),
    *("systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket"),
)

_WANTED = f"basic.target docker.socket {' '.join(_TAKEN[-3:])}"

_SETUP = r"""
set -e
dir=$0
mount --make-rprivate /
# Others' namespaces and mounts must be able to go while this machine runs.
awk '$5 ~ "^/(run|tmp)/." {print $5}' /proc/self/mountinfo | sort -r | while read -r mount; do
    umount -l "$mount" 2>/dev/null || true
done
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=755 log /var/log
mkdir -p /run/log/journal "$dir/dev"
mount -t tmpfs -o mode=755 dev "$dir/dev"
for name in null zero full random urandom tty; do
    touch "$dir/dev/$name"
    mount --bind "/dev/$name" "$dir/dev/$name"
done
mkdir "$dir/dev/pts" "$dir/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$dir/dev/pts"
ln -s pts/ptmx "$dir/dev/ptmx"
ln -s /proc/self/fd "$dir/dev/fd"
mount --rbind "$dir/dev" /dev
mount -t proc proc /proc
umount -l -R /sys/fs/cgroup
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind "$dir/group" /etc/group
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=test \
    SYSTEMD_UNIT_PATH="$dir/units" SYSTEMD_GENERATOR_PATH="$dir/none" \
    SYSTEMD_ENVIRONMENT_GENERATOR_PATH="$dir/none" \
    /lib/systemd/systemd --system --show-status=no --log-target=console --log-level=info
"""


class Booted:
    """`sh` runs a command inside; the client's words go to the socket that systemd holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"ct{uuid.uuid4().hex[:8]}"
        self.cgroup = CGROUPS / self.name
        self.log = folder / "systemd.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.pid = 0
        for name in ("units", "none", "data"):
            (folder / name).mkdir()
        self._units()
        group = Path("/etc/group").read_text()
        if not any(line.startswith("docker:") for line in group.splitlines()):
            group += "docker:x:64999:\n"
        (folder / "group").write_text(group)
        self.configure({})

    def _units(self) -> None:
        units = self.folder / "units"
        for name in _TAKEN:
            (units / name).symlink_to(next(path / name for path in _SYSTEMS if (path / name).exists()))
        (units / "default.target").write_text(f"[Unit]\nRequires={_WANTED}\nAfter={_WANTED}\n")
        service = (UNITS / "compatd.docker.service").read_text()
        assert "ExecStart=/usr/bin/dockerd " in service
        service = service.replace("/usr/bin/dockerd", str(PROGRAM))
        service = service.replace(
            "EnvironmentFile=-/etc/default/docker", f"EnvironmentFile={self.folder}/default"
        )
        (units / "docker.service").write_text(service)
        shutil.copy(UNITS / "compatd.docker.socket", units / "docker.socket")
        (self.folder / "default").write_text(
            f'DOCKER_OPTS="--config-file {self.folder}/daemon.json --data-root {self.folder}/data"\n'
        )

    def configure(self, values: dict[str, Any]) -> None:
        """What is in daemon.json."""
        (self.folder / "daemon.json").write_text(json.dumps(values))

    def drop_in(self, text: str) -> None:
        """Add to the service's unit; to be called before `boot`."""
        folder = self.folder / "units/docker.service.d"
        folder.mkdir(exist_ok=True)
        (folder / "test.conf").write_text(text)

    def boot(self) -> None:
        """Start systemd and wait until its target is reached."""
        self.cgroup.mkdir()
        join = f"echo 0 >{self.cgroup}/cgroup.procs; exec "
        unshare = "unshare --cgroup --mount --pid --fork --kill-child=KILL --uts --ipc --net sh -c"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", f'{join}{unshare} "$@"', "sh", _SETUP, str(self.folder)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        outer = self.process
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")

        def child() -> bool:
            assert outer.poll() is None, self.log.read_text()[-3000:]
            with contextlib.suppress(OSError, ValueError, IndexError):
                self.pid = int(children.read_text().split()[0])
            return bool(self.pid)

        wait_until(child, "pid 1")
        wait_until(self._running, f"systemd's target: {self.log}")

    def _running(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return self.sh("systemctl is-active default.target", check=False) == "active"

    def sh(self, line: str, *, check: bool = True) -> str:
        """A shell's output, of a line that runs beside systemd. Raises AssertionError when it fails."""
        spaces = [
            "nsenter",
            f"--target={self.pid}",
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--net",
            "--cgroup",
        ]
        done = subprocess.run(
            [*spaces, "sh", "-c", line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
        output = done.stdout.decode(errors="replace").strip()
        assert not check or done.returncode == 0, f"{line}: {output}\n{self.journal(check=False)}"
        return output

    def property(self, name: str, unit: str = "docker.service") -> str:
        """A unit's property, as `systemctl show` has it."""
        return self.sh(f"systemctl show {unit} --property={name} --value")

    def journal(self, *, check: bool = True) -> list[dict[str, str]]:
        """The entries of the service."""
        text = self.sh("journalctl --unit=docker --output=json --no-pager", check=check)
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def said(self, text: str) -> bool:
        """Whether the daemon has logged this."""
        return any(text in str(entry.get("MESSAGE", "")) for entry in self.journal())

    def api(self, path: str, *options: str) -> str:
        """Ask the daemon; the first question starts it."""
        words = " ".join(options)
        return self.sh(f"curl -sS --max-time 240 {words} --unix-socket /run/docker.sock 'http://d{path}'")

    def image(self) -> None:
        """Import a busybox image `box`."""
        tar = self.folder / "box.tar"
        tar.write_bytes(busybox_tar())
        self.api("/images/create?fromSrc=-&repo=box&tag=latest", "-X POST", f"--data-binary @{tar}")

    def destroy(self) -> None:
        """End it in whatever state it is."""
        if self.process is not None:
            if self.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            else:
                self.process.kill()
            self.process.wait(60)  # `unshare` ends with its child, and has waited for it
        wait_until(self._cgroups_gone, "the cgroups to be empty", 60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _cgroups_gone(self) -> bool:
        for folder, _, _ in os.walk(self.cgroup, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        return not self.cgroup.exists()


@contextlib.contextmanager
def a_machine() -> Iterator[Booted]:
    """A systemd that is not booted yet; it leaves nothing."""
    machine = Booted(Path(tempfile.mkdtemp(prefix="compatd-sd-")))
    try:
        yield machine
    finally:
        machine.destroy()
