"""Ways out of a running container, by a whole daemon; `test_escapes_init` has those of the runtime alone."""

import contextlib
import errno
import json
import os
import platform
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import ApiError, Daemon, UnixConnection, running_daemon, wait_until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        daemon.image()
        yield daemon


@pytest.fixture
def sleeper(daemon: Daemon) -> Iterator[str]:
    container = daemon.run(["sleep", "1000"])
    yield container
    daemon.call("DELETE", f"/containers/{container}?force=1")


def output(daemon: Daemon, *command: str, **fields: Any) -> str:
    """What a container writes before it ends."""
    container = daemon.create([*command], **fields)
    return finished(daemon, container)


def finished(daemon: Daemon, container: str) -> str:
    """Start a container that has been created, wait, and remove it; its output or the start's error."""
    try:
        daemon.call("POST", f"/containers/{container}/start")
        code = daemon.call("POST", f"/containers/{container}/wait")["StatusCode"]
        text = daemon.logs(container).decode("utf-8", "replace")
        return text if text else f"exit code {code}"
    except ApiError as error:
        return str(error)
    finally:
        daemon.call("DELETE", f"/containers/{container}?force=1")


def executed(daemon: Daemon, container: str, *command: str, **options: Any) -> str:
    """The output of an exec, or its error."""
    body = {"Cmd": [*command], "AttachStdout": True, "AttachStderr": True, "Tty": True, **options}
    made = daemon.call("POST", f"/containers/{container}/exec", body)
    answer = daemon.call("POST", f"/exec/{made['Id']}/start", {"Tty": True})
    return bytes(answer).decode("utf-8", "replace")


def upper(daemon: Daemon, container: str) -> Path:
    """The writable folder of a container, as an image or the container itself may have filled it."""
    return daemon.data_root / "compatd/rw" / container / "diff"


def test_cve_2019_5736_our_interpreter_is_read_only(daemon: Daemon, sleeper: str) -> None:
    """/proc/<pid>/exe of what becomes a container leads to a mount that nobody can write through."""
    zygotes = [pid for pid in _children(daemon.pid) if b"zygote" in _title(pid)]
    shim = _shim(daemon, sleeper)
    assert b"compatd-shim" in _title(shim)
    assert zygotes
    for pid in (shim, *zygotes):
        assert os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY


def _title(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _shim(daemon: Daemon, container: str) -> int:
    state = (daemon.exec_root / "compatd/c" / container / "state.json").read_bytes()
    return int(json.loads(state)["shim"])


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("program", ["/proc/self/exe", "/script", "/link"])
def test_cve_2019_5736_our_interpreter_as_the_program(daemon: Daemon, program: str) -> None:
    container = daemon.create([program, "-c", "print('host python')"])
    folder = upper(daemon, container)
    (folder / "script").write_text("#!/proc/self/exe\nprint('host python')\n")
    (folder / "script").chmod(0o755)
    (folder / "link").symlink_to("/proc/self/exe")
    assert "host python" not in finished(daemon, container).replace("print('host python')", "")


@pytest.mark.parametrize("number", [3, 5, 6, 7, 8, 9, 12])
def test_cve_2024_21626_a_working_directory_in_a_descriptor(
    daemon: Daemon, sleeper: str, number: int
) -> None:
    folder = f"/proc/self/fd/{number}"
    look = ("ls", "-a", ".", "..", "../../../../../..")
    for text in (
        output(daemon, *look, WorkingDir=folder),
        executed(daemon, sleeper, *look, WorkingDir=folder),
    ):
        for sign in ("boot", "shim.sock", daemon.folder.name, "cgroup.procs", "tasks"):
            assert sign not in text.split()


def test_cve_2016_9962_an_exec_shows_no_host_to_a_container_that_traces(daemon: Daemon) -> None:
    """CAP_SYS_PTRACE opens /proc/<pid>/root and fd of every process in sight, from its first moment on."""
    marker = daemon.folder / "marker"
    marker.write_text("")
    script = (
        f"while :; do for p in /proc/[2-9]* /proc/1[0-9]*; do [ -e $p/root{marker} ] && echo root >/found;"
        f" for f in $p/fd/*; do [ -e $f{marker} ] && echo $f >/found; done; done; done"
    )
    host = {"CapAdd": ["SYS_PTRACE"]}
    container = daemon.run(["sh", "-c", script], HostConfig=host)
    for _ in range(25):
        executed(daemon, container, "true")
    assert executed(daemon, container, "cat", "/found").endswith("No such file or directory\r\n")
    daemon.call("DELETE", f"/containers/{container}?force=1")


def test_shims_are_closed_to_containers_in_the_host_s_pid_namespace(daemon: Daemon, sleeper: str) -> None:
    """With default capabilities: the shim has more of them, so it can be neither traced nor looked into."""
    shim = _shim(daemon, sleeper)
    paths = [f"/proc/{shim}/{name}" for name in ("root/", "cwd/", "fd/0", "environ", "maps", "mem")]
    script = "; ".join(f"cat {path} >/dev/null && echo {path} is open" for path in paths)
    script += f"; ls /proc/{shim}/root/ >/dev/null && echo root is open"
    text = output(daemon, "sh", "-c", f"({script}) 2>&1", HostConfig={"PidMode": "host"})
    assert text.count("denied") == len(paths) + 1, text
    assert "is open" not in text


@pytest.mark.parametrize("what", ["huge", "fifo", "zero", "device", "loop", "folder"])
@pytest.mark.parametrize("name", ["passwd", "group"])
def test_cve_2026_47262_an_endless_passwd(daemon: Daemon, what: str, name: str) -> None:
    container = daemon.create(["id"], User="nobody-here:none" if name == "passwd" else "0:none")
    path = upper(daemon, container) / "etc" / name
    path.parent.mkdir()
    if what == "huge":
        path.touch()
        os.truncate(path, 1 << 40)
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "device":
        os.mknod(path, 0o20666, os.makedev(1, 5))
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to({"zero": "/dev/zero", "loop": name}[what])
    assert "unable to find" in finished(daemon, container)


def test_cve_2026_46680_a_user_that_is_out_of_range_is_not_root(daemon: Daemon, sleeper: str) -> None:
    for user in ("4294967296", "0:4294967296", "-1", "+0", "2147483648"):
        assert "uid=" not in output(daemon, "id", User=user)
        assert "uid=" not in executed(daemon, sleeper, "id", User=user)


def _socket_program(family: int) -> bytes:
    """An x86-64 ELF that opens a socket of the family and ends with the error's number."""
    code = b"\xb8\x29\x00\x00\x00\xbf" + struct.pack("<I", family)  # socket(family,
    code += b"\xbe\x05\x00\x00\x00\x31\xd2\x0f\x05"  # SOCK_SEQPACKET, 0)
    code += b"\xf7\xd8\x89\xc7\xb8\x3c\x00\x00\x00\x0f\x05"  # exit(-result)
    base, head = 0x400000, 120
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + head, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = head + len(code)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return ident + header + segment + code


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program is x86-64")
@pytest.mark.parametrize(("family", "refused"), [(38, True), (40, True), (1, False)])
def test_cve_2026_31431_af_alg_and_af_vsock_are_refused(daemon: Daemon, family: int, refused: bool) -> None:
    container = daemon.create(["/socket"])
    program = upper(daemon, container) / "socket"
    program.write_bytes(_socket_program(family))
    program.chmod(0o755)
    code = int(finished(daemon, container).removeprefix("exit code "))
    assert (code == errno.EPERM) == refused, code


def test_exact_masked_paths(daemon: Daemon) -> None:
    paths = daemon.inspect(daemon.create(["true"], "masked"))["HostConfig"]["MaskedPaths"]
    assert {"/proc/interrupts", "/proc/kcore", "/proc/keys", "/sys/devices/virtual/powercap"} <= set(paths)
    daemon.call("DELETE", "/containers/masked")
    checks = "".join(
        f"if [ -d {path} ]; then ls -A {path}; elif [ -e {path} ]; then cat {path}; fi; " for path in paths
    )
    assert output(daemon, "sh", "-c", f"({checks}) 2>&1") == "exit code 0"


@pytest.mark.parametrize("destination", ["/proc", "/proc/sys", "/x/../proc", "/link"])
def test_cve_2019_16884_no_volume_covers_proc(daemon: Daemon, destination: str) -> None:
    container = daemon.create(["echo", "started"], Volumes={destination: {}})
    (upper(daemon, container) / "link").symlink_to("proc")
    assert "cannot be mounted because it is" in finished(daemon, container)


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_cve_2019_19921_cve_2023_27561_cve_2026_41579_links_in_the_image(daemon: Daemon, name: str) -> None:
    """The layer that the engine puts on an image makes folders of them: nothing is mounted elsewhere."""
    outside = daemon.folder / "elsewhere"
    outside.mkdir(exist_ok=True)
    container = daemon.create(["sh", "-c", "readlink /proc /sys /dev; cat /proc/self/mounts"])
    folder = upper(daemon, container)
    (folder / name).symlink_to(f"../../../../../../../..{outside}")
    text = finished(daemon, container)
    assert "must be mounted on ordinary directory" in text or f" /{name} " in text
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("path", ["etc/hosts", "etc/hostname", "etc/resolv.conf", "etc"])
def test_files_of_ours_at_a_link_stay_in_the_container(daemon: Daemon, path: str) -> None:
    outside = daemon.folder / "target"
    outside.write_text("mine")
    container = daemon.create(["true"])
    place = upper(daemon, container) / path
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(f"../../../../../../../../..{outside if path != 'etc' else daemon.folder}")
    finished(daemon, container)
    assert outside.read_text() == "mine"
    assert not (daemon.folder / "hosts").exists()


def test_files_of_ours_cannot_be_replaced_from_inside(daemon: Daemon) -> None:
    """The daemon writes them anew at each start, and must not find a link there."""
    names = ("hosts", "hostname", "resolv.conf")
    script = "; ".join(f"rm -f /etc/{n}; mv /etc/{n} /x; ln -sf /proc/version /etc/{n}" for n in names)
    container = daemon.run(["sh", "-c", f"({script}) 2>/dev/null; echo 1.2.3.4 me >>/etc/hosts"])
    daemon.call("POST", f"/containers/{container}/wait")
    folder = daemon.data_root / "containers" / container
    assert "1.2.3.4 me" in (folder / "hosts").read_text()
    daemon.call("POST", f"/containers/{container}/start")
    daemon.call("POST", f"/containers/{container}/wait")
    for name in names:
        assert (folder / name).is_file() and not (folder / name).is_symlink()
    daemon.call("DELETE", f"/containers/{container}?force=1")


def test_cve_2022_24769_cve_2022_29162_nothing_inheritable(daemon: Daemon, sleeper: str) -> None:
    look = ("grep", "-E", "CapInh|CapAmb", "/proc/self/status")
    for text in (output(daemon, *look), executed(daemon, sleeper, *look)):
        assert text.split() == ["CapInh:", "0" * 16, "CapAmb:", "0" * 16]


def test_cve_2022_36109_the_own_group_is_supplementary(daemon: Daemon, sleeper: str) -> None:
    assert output(daemon, "id", "-G", User="ann").split() == ["1000", "50"]
    assert executed(daemon, sleeper, "id", "-G", User="ann:staff").split() == ["50"]


def test_cve_2020_15257_no_abstract_sockets(daemon: Daemon, sleeper: str) -> None:
    """They belong to a network namespace, and `--network host` would share them."""
    held = set()
    for pid in {daemon.pid, *daemon.processes(), *_children(daemon.pid)}:
        with contextlib.suppress(OSError):
            held |= {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    table = Path(f"/proc/{daemon.pid}/net/unix").read_text().splitlines()[1:]
    rows = [line.split() for line in table]
    assert any(f"socket:[{row[6]}]" in held for row in rows)
    assert [row for row in rows if f"socket:[{row[6]}]" in held and row[7:8] and row[7][0] == "@"] == []


def test_cve_2026_53495_aborted_attaches_leave_nothing(daemon: Daemon, sleeper: str) -> None:
    shim = _shim(daemon, sleeper)
    created = daemon.create(["sleep", "1000"])
    files, shim_files = daemon.descriptors(), len(os.listdir(f"/proc/{shim}/fd"))
    for number in range(200):
        connection = UnixConnection(daemon.socket)
        target = f"/containers/{sleeper if number % 2 else created}/attach?stream=1&stdout=1&stdin=1&logs=1"
        connection.request("POST", target, headers={"Connection": "Upgrade", "Upgrade": "tcp"})
        assert connection.sock is not None
        connection.sock.close()
    wait_until(lambda: daemon.descriptors() <= files + 2, "the daemon's files closed")
    wait_until(lambda: len(os.listdir(f"/proc/{shim}/fd")) <= shim_files, "the shim's files closed")
    daemon.call("DELETE", f"/containers/{created}")
