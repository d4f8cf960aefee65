"""Ways out of a container that were once open elsewhere; each test is named after what it was called."""

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from runtime.init import selfexe
from tests.integration.initkit import Box, box

__all__ = ["box"]
pytestmark = pytest.mark.root

DURING = "unable to start container process: error during container init: "


def without(box: Box, *destinations: str) -> None:
    box.spec["mounts"] = [mount for mount in box.spec["mounts"] if mount["destination"] not in destinations]


def test_cve_2019_5736_the_interpreter_cannot_be_written_to(tmp_path: Path) -> None:
    """Through a kept /proc/<pid>/exe, when nobody runs it any more."""
    victim = tmp_path / "interpreter"
    victim.write_bytes(Path("/bin/busybox").read_bytes())
    victim.chmod(0o755)
    fd = selfexe.readonly_fd(str(victim))
    process = subprocess.Popen(["sleep", "60"], executable=f"/proc/self/fd/{fd}", pass_fds=[fd])
    os.close(fd)
    try:
        kept = os.open(f"/proc/{process.pid}/exe", os.O_RDONLY)
    finally:
        process.kill()
        process.wait()
    try:
        with pytest.raises(OSError, match="Read-only file system"):
            _open_when_idle(f"/proc/self/fd/{kept}")
        # The file itself is as writable as it was: only this way to it is closed.
        os.close(_open_when_idle(str(victim)))
    finally:
        os.close(kept)


def _open_when_idle(path: str) -> int:
    """Open for writing. ETXTBSY outlives a program's end while somebody reads its /proc/<pid>/cmdline."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return os.open(path, os.O_WRONLY)
        except OSError as error:
            if error.errno != errno.ETXTBSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def test_cve_2019_5736_a_process_on_its_way_into_a_container_shows_nothing_of_the_host(box: Box) -> None:
    """Neither its executable nor its descriptors, to root in the container."""
    waiting = box.process("true", hold=True)
    look = box.process("sh", "-c", "for p in /proc/[2-9]*; do ls -l $p/exe $p/fd; done 2>&1; true")
    result = box.run("sleep", "100", execs=[waiting, look])
    out = result.execs[1]["out"]
    assert "busybox" in out
    for sign in ("python", "socket:", "cgroup", str(box.base)):
        assert sign not in out
    assert "cannot read link: Permission denied" in out


@pytest.mark.parametrize("number", [7, 8, 9])
def test_cve_2024_21626_a_working_directory_through_a_leaked_descriptor(box: Box, number: int) -> None:
    (box.tree / "marker").write_text("")
    box.spec["process"]["cwd"] = f"/proc/self/fd/{number}"
    result = box.run("sh", "-c", "ls marker; ls ..", leak=[7, 8, 9])
    assert result.error
    assert result.out == ""


def test_cve_2024_21626_the_same_in_exec(box: Box) -> None:
    process = box.process("sh", "-c", "pwd; ls", cwd="/proc/self/fd/7")
    result = box.run("sleep", "100", execs=[process], leak=[7, 8, 9])
    assert result.execs[0]["error"]
    assert result.execs[0]["out"] == ""


def test_cve_2024_21626_a_program_through_a_leaked_descriptor(box: Box) -> None:
    result = box.run("/proc/self/fd/7/bin/sh", "-c", "echo out", leak=[7])
    assert result.out == ""
    assert result.error or result.code == 255


def test_no_descriptor_is_inherited(box: Box) -> None:
    script = "for n in /proc/self/fd/*; do echo $n; done"
    process = box.process("sh", "-c", script)
    result = box.run_beside(script, process, leak=[5, 9, 50, 700])
    # 3 is the shell's own: it reads the folder.
    expected = [f"/proc/self/fd/{number}" for number in range(4)]
    assert sorted(set(result.execs[0]["out"].split())) == expected
    assert sorted(set(result.out.split())) == expected


@pytest.mark.parametrize("link", ["../../../../../..", "/", "/proc/self/cwd", "/proc/1/root"])
def test_cve_2021_30465_a_mount_target_through_a_link(box: Box, link: str) -> None:
    (box.tree / "volume").symlink_to(link)
    source = box.base / "source"
    source.mkdir()
    (source / "mine").write_text("")
    name = f"escaped-{os.getpid()}"
    box.mount(source, f"/volume/{name}", "rbind")
    result = box.run("ls", f"/{name}")
    assert not Path("/", name).exists()
    assert result.error or result.out == "mine\n"


def test_cve_2024_45310_a_missing_target_is_made_inside(box: Box) -> None:
    outside = box.base / "outside"
    outside.mkdir()
    (box.tree / "a").symlink_to(outside)
    (box.tree / "b").symlink_to(f"../../../../../../../..{outside}")
    box.mount("/etc/hostname", "/a/file", "bind")
    box.mount("tmpfs", "/b/folder", kind="tmpfs")
    box.run("true")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(("name", "kind"), [("proc", "proc"), ("sys", "sysfs")])
def test_cve_2019_19921_cve_2023_27561_proc_and_sys_as_links(box: Box, name: str, kind: str) -> None:
    (box.tree / name).rmdir()
    (box.tree / "fake").mkdir()
    (box.tree / name).symlink_to("fake")
    result = box.run("true")
    assert result.error == (
        f'{DURING}error mounting "{kind}" to rootfs at "/{name}": '
        f'filesystem "{kind}" must be mounted on ordinary directory'
    )


@pytest.mark.parametrize("destination", ["/proc", "/tmp/../proc", "/link"])
def test_cve_2019_16884_a_volume_over_proc(box: Box, destination: str) -> None:
    (box.tree / "link").symlink_to("proc")
    box.mount(box.base, destination, "rbind")
    result = box.run("true")
    assert "cannot be mounted because it is not of type proc" in result.error


@pytest.mark.parametrize("destination", ["/proc/sys", "/proc/self/attr", "/link/sys/net"])
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_cve_2025_52881_nothing_is_mounted_inside_proc(box: Box, destination: str, kind: str) -> None:
    (box.tree / "link").symlink_to("proc")
    box.mount(
        box.base if kind == "bind" else "tmpfs",
        destination,
        *(["rbind"] if kind == "bind" else []),
        kind=kind,
    )
    assert "cannot be mounted because it is inside /proc" in box.run("true").error


def test_lxcfs_files_may_cover_proc(box: Box) -> None:
    (box.base / "uptime").write_text("1.00 1.00\n")
    box.mount(box.base / "uptime", "/proc/uptime", "bind", "ro")
    assert box.run("cat", "/proc/uptime").out == "1.00 1.00\n"


def test_cve_2025_31133_a_false_dev_null_masks_nothing(box: Box) -> None:
    dev = box.base / "dev"
    dev.mkdir()
    (dev / "null").write_text("shown in place of what is masked")
    without(box, "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
    box.mount(dev, "/dev", "bind")
    box.spec["linux"]["maskedPaths"] = ["/proc/keys"]
    assert box.run("true").error == f"{DURING}can't mask path /proc/keys: operation not permitted"


@pytest.mark.parametrize("target", ["link", "file"])
def test_cve_2025_52565_a_false_ptmx_makes_no_console(box: Box, target: str) -> None:
    dev = box.base / "dev"
    (dev / "pts").mkdir(parents=True)
    if target == "link":
        (dev / "pts/ptmx").symlink_to("/proc/self/environ")
    else:
        (dev / "pts/ptmx").write_text("")
    without(box, "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
    box.mount(dev, "/dev", "bind")
    assert box.run("true", console=True).error.startswith(f"{DURING}error setting up console")


def test_cve_2025_52565_console_as_a_link(box: Box) -> None:
    dev = box.base / "dev"
    (dev / "pts").mkdir(parents=True)
    (dev / "console").symlink_to("/etc/passwd")
    without(box, "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
    box.mount(dev, "/dev", "bind")
    box.mount("devpts", "/dev/pts", "newinstance", "ptmxmode=0666", kind="devpts")
    result = box.run("cat", "/etc/passwd", console=True)
    assert result.error or "bob" in result.console


def test_cve_2026_41579_dev_as_a_link(box: Box) -> None:
    (box.tree / "dev").rmdir()
    (box.tree / "elsewhere").mkdir()
    (box.tree / "dev").symlink_to("elsewhere")
    assert 'filesystem "tmpfs" must be mounted on ordinary directory' in box.run("true").error


def test_cve_2022_24769_nothing_is_inheritable(box: Box) -> None:
    look = ["grep", "CapInh", "/proc/self/status"]
    result = box.run_beside(" ".join(look), box.process(*look))
    for text in (result.out, result.execs[0]["out"]):
        assert text.split() == ["CapInh:", "0" * 16]


def test_cve_2022_36109_no_group_of_the_daemons(box: Box) -> None:
    box.spec["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [10]}
    process = box.process("id", "-G", user={"uid": 1000, "gid": 1001})
    assert box.run("id", "-G", groups=[4, 24, 27]).out.split() == ["1001", "10"]
    result = box.run("sleep", "100", groups=[4, 24, 27], execs=[process])
    assert result.execs[0]["out"].split() == ["1001"]


@pytest.mark.parametrize("user", ["4294967296", "+0", "1:", "0:4294967296"])
def test_cve_2026_46680_users_that_would_become_root(box: Box, user: str) -> None:
    box.spec["process"]["user"] = {"username": user}
    result = box.run("id")
    assert result.error
    assert result.out == ""


def test_cve_2018_15664_the_image_s_passwd_is_read_inside_it(box: Box) -> None:
    secret = box.base / "secret"
    secret.write_text("evil:x:0:0::/:\n")
    (box.tree / "etc/passwd").unlink()
    (box.tree / "etc/passwd").symlink_to(f"../../../../../../../..{secret}")
    box.spec["process"]["user"] = {"username": "evil"}
    assert "unable to find user evil" in box.run("id").error


def test_cve_2019_14271_nothing_is_imported_after_the_fork(box: Box) -> None:
    """The driver ends a child that imports; here with all that makes a child do something unusual."""
    box.spec["process"].update(
        user={"username": "bob", "additionalGroups": ["wheel"]},
        cwd="/srv/\u00fc",
        env=["PATH=/bin", "X=\u00fc\udcff"],
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100}],
    )
    box.spec["hostname"] = "b\u00fcx"
    box.mount("tmpfs", "/tmp", "tmpcopyup", kind="tmpfs")
    result = box.run("sh", "-c", "pwd")
    assert (result.error, result.out) == ("", "/srv/\u00fc\n")
    result = box.run("sleep", "100", execs=[box.process("nope"), box.process("true")])
    assert result.execs[0]["error"].endswith("executable file not found in $PATH")
    assert result.execs[1]["code"] == 0


def test_a_killed_parent_leaves_no_child_behind(box: Box, tmp_path: Path) -> None:
    """Between clone and `go` the child ends with its parent."""
    script = (
        "import json, sys, os, signal\n"
        "from runtime import init\n"
        "spec, root, cache = json.load(sys.stdin)\n"
        "null = os.open('/dev/null', os.O_RDWR)\n"
        "child = init.spawn(spec, root, stdio=(null, null, null), seccomp_cache=cache)\n"
        "child.wait_ready()\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    import json
    import sys

    box.spec["process"]["args"] = ["sleep", "1000"]
    without(box, "/sys/fs/cgroup")
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps([box.spec, box.root, str(tmp_path / "cache")]),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    for _ in range(1000):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "ZX":
            return
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("the child waits for a parent that is gone")
