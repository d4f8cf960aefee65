"""Ways from a container to the host while its files are copied; each test is named after what it was called.

The container is as hostile as can be: its files are exchanged from here, faster than a program in it could.
"""

import contextlib
import ctypes
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import ApiError, Daemon, running_daemon, wait_until

pytestmark = pytest.mark.root

ROUNDS = 25
_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
IN_OPEN, IN_ACCESS = 0x20, 0x1


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        daemon.image()
        yield daemon


def pack(*entries: tuple[str, bytes | str]) -> bytes:
    """Files with their bytes; a str is a symlink."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, value in entries:
            info = tarfile.TarInfo(name)
            if isinstance(value, str):
                info.type, info.linkname = tarfile.SYMTYPE, value
                tar.addfile(info)
            else:
                info.size = len(value)
                tar.addfile(info, io.BytesIO(value))
    return buffer.getvalue()


@contextlib.contextmanager
def exchanged(one: Path, other: Path) -> Iterator[None]:
    """Two names change places, without a pause, until the end of the block."""
    stop = threading.Event()
    pair = [os.fsencode(path) for path in (one, other)]

    def work() -> None:
        while not stop.is_set():
            _libc.renameat2(_AT_FDCWD, pair[0], _AT_FDCWD, pair[1], _RENAME_EXCHANGE)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def host(daemon: Daemon, tmp_path: Path) -> Path:
    """A folder of the host that nothing in a container may reach."""
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "secret").write_text("the host's")
    (folder / "kept").mkdir()
    return folder


def root_of(daemon: Daemon, container: str) -> Path:
    return Path(f"/proc/{daemon.inspect(container)['State']['Pid']}/root")


def attempt(daemon: Daemon, method: str, container: str, path: str, data: bytes | None = None) -> bytes:
    """An answer, b"" when the engine refuses: what counts is what becomes of the host."""
    try:
        return bytes(daemon.call(method, f"/containers/{container}/archive?path={path}", data=data) or b"")
    except ApiError as error:
        assert error.args[0] in (400, 404, 500)
        return b""


def untouched(host: Path) -> bool:
    return (
        sorted(path.name for path in host.rglob("*")) == ["kept", "secret"]
        and (host / "secret").read_text() == "the host's"
        and (host / "secret").stat().st_nlink == 1
    )


def racing(daemon: Daemon, host: Path) -> tuple[str, Path, Path]:
    """A container in which `/race` now is a folder and now a link to the host's."""
    container = daemon.run(["sleep", "1000"])
    root = root_of(daemon, container)
    for folder in (root / "race", root / "race/kept"):
        folder.mkdir()
    (root / "race/secret").write_text("the container's")
    (root / "link").symlink_to(host)
    return container, root / "race", root / "link"


def test_cve_2018_15664_a_folder_becomes_a_link_while_files_go_in(daemon: Daemon, host: Path) -> None:
    container, one, other = racing(daemon, host)
    body = pack(("new", b"x"), ("secret", b"overwritten"), ("kept/inner", b"x"), ("deep/er", b"x"))
    names = [f"{name}/{file}" for name in ("race", "link") for file in ("new", "kept/inner", "secret")]
    nested = pack(*((name, b"x") for name in names))  # what changes is below what is unpacked into
    with exchanged(one, other):
        for _ in range(ROUNDS):
            for path in ("/race", "/race/kept", "/race/."):
                attempt(daemon, "PUT", container, path, body)
            attempt(daemon, "PUT", container, "/", nested)
            assert untouched(host)


def test_cve_2018_15664_a_folder_becomes_a_link_while_files_come_out(daemon: Daemon, host: Path) -> None:
    container, one, other = racing(daemon, host)
    seen = set()
    with exchanged(one, other):
        for _ in range(ROUNDS):
            for path in ("/race/secret", "/race/.", "/"):
                data = attempt(daemon, "GET", container, path)
                assert b"the host's" not in data
                seen.add(b"the container's" in data)
            assert b"the host's" not in daemon.call("GET", f"/containers/{container}/export")
    assert True in seen  # it was read at times


def test_cve_2018_15664_a_file_becomes_a_link_or_a_fifo(daemon: Daemon, host: Path) -> None:
    container = daemon.run(["sleep", "1000"])
    root = root_of(daemon, container)
    (root / "f").write_text("the container's")
    (root / "link").symlink_to(host / "secret")
    os.mkfifo(root / "fifo")
    for other in (root / "link", root / "fifo"):
        with exchanged(root / "f", other):
            for _ in range(ROUNDS):
                assert b"the host's" not in attempt(daemon, "GET", container, "/f")
                attempt(daemon, "PUT", container, "/", pack(("f", b"the container's")))
    assert untouched(host)


def test_links_in_the_archive_stay_inside(daemon: Daemon, host: Path) -> None:
    up = "../" * 40 + str(host).lstrip("/")
    body = pack(("a", str(host)), ("a/new", b"x"), ("b", up), ("b/new", b"x"), ("b/secret", b"overwritten"))
    for container in (daemon.run(["sleep", "1000"]), daemon.create(["true"])):
        for path in ("/", "/tmp"):
            attempt(daemon, "PUT", container, path, body)
    assert untouched(host)


def test_a_mount_point_that_is_a_link_leads_nowhere_on_the_host(daemon: Daemon, host: Path) -> None:
    """Looking into a stopped container mounts its volumes; the image may have links in their places."""
    first = daemon.create(["true"])
    links = pack(("vol", f"{host}/made"), ("up", f"../../../../..{host}/kept"))
    daemon.call("PUT", f"/containers/{first}/archive?path=/", data=links)
    image = daemon.call("POST", f"/commit?container={first}")["Id"]
    volumes = ["one:/vol", "two:/up", "three:/vol/deeper"]
    container = daemon.create(["true"], Image=image, HostConfig={"Binds": volumes})
    attempt(daemon, "GET", container, "/vol")
    for path in ("/vol", "/up"):
        daemon.call("PUT", f"/containers/{container}/archive?path={path}", data=pack(("new", b"x")))
    assert untouched(host)
    assert (daemon.data_root / "volumes/one/_data/new").read_text() == "x"


TRAPS = (
    "lib/x86_64-linux-gnu/libnss_files.so.2",
    "lib/x86_64-linux-gnu/libgcc_s.so.1",
    "usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache",
    "usr/lib/python3.11/encodings/idna.py",
    "usr/lib/python3.11/tarfile.py",
    "etc/nsswitch.conf",
    "etc/ld.so.cache",
    "etc/localtime",
    "bin/xz",
    "bin/unpigz",
)


def test_cve_2019_14271_no_file_of_the_container_is_loaded(daemon: Daemon) -> None:
    """Libraries, codecs and helpers lie ready in it, and nobody opens them."""
    container = daemon.run(["sleep", "1000"], User="ann")
    root = root_of(daemon, container)
    (root / "some").mkdir()
    (root / "some/file").write_text("x")
    watcher = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert watcher >= 0
    try:
        for trap in TRAPS:
            (root / trap).parent.mkdir(parents=True, exist_ok=True)
            (root / trap).unlink(missing_ok=True)  # a link to the busybox that runs
            (root / trap).write_bytes(b"#!/bin/sh\n")
        for name in (*TRAPS, "some/file"):
            assert _libc.inotify_add_watch(watcher, os.fsencode(root / name), IN_OPEN | IN_ACCESS) > 0
        path = f"/containers/{container}/archive?path="
        for mode in ("w", "w:gz", "w:bz2", "w:xz"):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload,unused-ignore]
                info = tarfile.TarInfo("gr\u00fc\u00df")
                info.uname = "ann"
                tar.addfile(info)
            daemon.call("PUT", f"{path}/tmp&copyUIDGID=1", data=buffer.getvalue())
        attempt(daemon, "PUT", container, "/tmp", b"\xff" * 2048)
        attempt(daemon, "PUT", container, "/nope", pack())
        daemon.call("HEAD", f"{path}/tmp")
        daemon.call("GET", f"{path}/tmp")
        with pytest.raises(BlockingIOError):
            os.read(watcher, 4096)
        daemon.call("GET", f"{path}/some")
        assert os.read(watcher, 4096)  # so it would have been seen
    finally:
        os.close(watcher)


PROGRAM = """
import json, os, sys
arguments, function, fds = json.loads(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
from runtime.shim import worker
from runtime.storage import containerfs
called = worker.find(function)
inside, enter, broken = [], containerfs.enter, []
def entered(arguments):
    view = enter(arguments)
    inside.append(True)
    return view
containerfs.enter = entered
def hook(event, arguments):
    if inside and event in ("import", "ctypes.dlopen", "compile", "exec", "os.exec", "os.system"):
        broken.append([event, repr(arguments)])
sys.addaudithook(hook)
answer = called(arguments, fds)
sys.stdout.write(json.dumps({"answer": answer, "broken": broken, "entered": bool(inside)}))
"""


def in_a_worker(function: str, arguments: dict[str, Any], fds: tuple[int, ...] = ()) -> Any:
    """What a worker's function answers, and what it imported once it was in the container."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PROGRAM,
            json.dumps(arguments),
            f"runtime.storage.archive:{function}",
            json.dumps(fds),
        ],
        check=False,
        capture_output=True,
        pass_fds=fds,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.fixture
def view(tmp_path: Path) -> dict[str, Any]:
    """A stopped container's, of folders made here."""
    for name in ("lower", "empty", "upper", "work", "scratch"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower/etc").mkdir()
    (tmp_path / "lower/etc/passwd").write_text("ann:x:1000:1000::/:\n")
    overlay = {
        "lower": [str(tmp_path / "empty"), str(tmp_path / "lower")],
        "upper": str(tmp_path / "upper"),
        "work": str(tmp_path / "work"),
    }
    return {
        "scratch": str(tmp_path / "scratch"),
        "overlay": overlay,
        "process": None,
        "mounts": [],
        "write": True,
    }


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_cve_2019_14271_nothing_is_imported_inside(view: dict[str, Any], tmp_path: Path, mode: str) -> None:
    with tarfile.open(tmp_path / "in.tar", mode) as tar:  # type: ignore[call-overload]
        info = tarfile.TarInfo("gr\u00fc\u00df")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    with (tmp_path / "in.tar").open("rb") as source:
        arguments = {
            "view": view,
            "path": "/etc",
            "no_overwrite": True,
            "owner": "ann",
            "volumes": [],
            "read_only": False,
        }
        told = in_a_worker("extract", arguments, (source.fileno(),))
    assert told == {"answer": {"entries": 1}, "broken": [], "entered": True}
    placed = tmp_path / "upper/etc/gr\u00fc\u00df"
    assert placed.read_bytes() == b"abc" and placed.stat().st_uid == 1000
    view["write"] = False
    told = in_a_worker("stat", {"view": view, "path": "/etc/gr\u00fc\u00df"})
    assert told["answer"]["stat"]["size"] == 3 and not told["broken"]
    told = in_a_worker("stat", {"view": view, "path": "/nope"})
    assert told["answer"] == {"error": "lstat /nope: no such file or directory", "missing": True}
    assert not told["broken"]
    for function in ("pack", "export"):
        with (tmp_path / "out").open("wb") as out:
            told = in_a_worker(function, {"view": view, "path": "/etc", "encoding": "gzip"}, (out.fileno(),))
        assert told["answer"]["entries"] >= 2 and not told["broken"]


def test_a_process_of_the_same_number_is_not_entered(view: dict[str, Any]) -> None:
    """The container has ended, and its number is another's by now."""
    view["process"] = {"pid": os.getpid(), "start_time": 1}
    assert in_a_worker("stat", {"view": view, "path": "/etc/passwd"})["answer"]["stat"]["size"] == 20
    view["process"] = {"pid": 2**22 - 1, "start_time": 1}
    assert in_a_worker("stat", {"view": view, "path": "/etc/passwd"})["answer"]["stat"]["size"] == 20


def test_a_tree_deeper_than_any_limit(daemon: Daemon) -> None:
    """Comes out as far as names can be, and the worker lives."""
    container = daemon.run(
        [
            "sh",
            "-c",
            "i=0; while [ $i -lt 3000 ]; do mkdir d && cd d; i=$((i+1)); done; touch /done; sleep 1000",
        ],
        WorkingDir="/deep",
    )
    wait_until((root_of(daemon, container) / "done").exists, "the tree")
    data = daemon.call("GET", f"/containers/{container}/export")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        deepest = max(info.name.count("/") for info in tar if info.name.startswith("deep"))
    assert deepest > 1000
    kinds = {
        change["Path"]: change["Kind"] for change in daemon.call("GET", f"/containers/{container}/changes")
    }
    assert kinds["/deep"] == kinds["/deep/d"] == 1 and len(kinds) > 1000
    daemon.call("DELETE", f"/containers/{container}?force=1")
    wait_until(lambda: not any((daemon.data_root / "compatd/tmp").iterdir()), "the tree's removal")


def test_a_client_that_goes_away_leaves_nothing(daemon: Daemon) -> None:
    import socket

    container = daemon.run(["sh", "-c", "dd if=/dev/zero of=/big bs=1M count=64; touch /done; sleep 1000"])
    wait_until((root_of(daemon, container) / "done").exists, "the file")
    before = daemon.at_rest(), daemon.descriptors()
    put = f"PUT /containers/{container}/archive?path=/ HTTP/1.1"
    for head in (
        f"GET /containers/{container}/archive?path=/big HTTP/1.1\r\nHost: d\r\n\r\n",
        f"GET /containers/{container}/export HTTP/1.1\r\nHost: d\r\n\r\n",
        f"{put}\r\nHost: d\r\nContent-Length: 100000\r\n\r\n{'x' * 512}",
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(daemon.socket)
            client.sendall(head.encode())
            if head.startswith("GET"):
                assert client.recv(100)
    wait_until(lambda: (daemon.census(), daemon.descriptors()) == before, "everything is as before")
    daemon.call("PUT", f"/containers/{container}/archive?path=/", data=pack(("x", b"x")))
