"""Trees walked, sent as fsutil does, and layers whose times are cut: without mounts, so without root."""

import hashlib
import io
import os
import stat
import struct
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.builder.buildkit.wire.messages import proto
from runtime.storage import retime, trees, treesend
from runtime.storage.packer import Output
from runtime.storage.tarheader import TarError
from runtime.storage.tarreader import Source

Packet = proto("fsutil.types.Packet")
OLD = 1_500_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "d" / "e").mkdir(parents=True)
    (root / "d" / "file").write_bytes(b"content")
    (root / "d").chmod(0o750)
    (root / "d.x").write_bytes(b"")
    (root / "link").symlink_to("../../../etc/passwd")
    os.link(root / "d" / "file", root / "same")
    os.mkfifo(root / "pipe", 0o644)
    for path in [root / "d" / "file", root / "d.x"]:
        os.utime(path, (OLD, OLD))
    return root


def walked(root: Path, **more: object) -> list[trees.Entry]:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return list(trees.walk(fd, more.pop("prefix", b""), more.pop("mtime", None), more.pop("extra", {})))  # type: ignore[arg-type]
    finally:
        os.close(fd)


def test_in_order_and_without_following_links(folder: Path) -> None:
    found = walked(folder)
    assert [one.path for one in found] == [b"d", b"d/e", b"d/file", b"d.x", b"link", b"pipe", b"same"]
    by_path = {one.path: one for one in found}
    assert by_path[b"link"].link == b"../../../etc/passwd"
    same = by_path[b"same"]
    assert (same.hard, same.link, same.info.st_size) == (True, b"d/file", 0)
    assert stat.S_IMODE(by_path[b"d"].info.st_mode) == 0o750


def test_a_prefix_another_time_and_more_files(folder: Path) -> None:
    told = [{"name": "d.y", "data": "{}", "mode": 0o600, "mtime": 7}]
    found = walked(folder, prefix=b"p/", mtime=5, extra=trees.extras(told, b"p/", 5))
    assert [one.path for one in found][3:5] == [b"p/d.x", b"p/d.y"]
    assert {one.info.st_mtime_ns for one in found} == {5}
    assert found[4].data == b"{}"


def test_sockets_are_left_out(folder: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "s"))
        assert b"s" not in [one.path for one in walked(folder)]


def test_deep_trees_need_few_descriptors(tmp_path: Path) -> None:
    path = tmp_path / "root"
    for _ in range(300):
        path = path / "a"
    path.mkdir(parents=True)
    (path / "f").write_bytes(b"")
    found = walked(tmp_path / "root")
    assert len(found) == 301 and found[-1].path.endswith(b"/a/f")


def test_a_tar(folder: Path) -> None:
    read, write = os.pipe()
    out = Output(write)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for entry in trees.walk(
        fd, b"", None, trees.extras([{"name": "z", "data": "é", "mode": 0o600, "mtime": 0}], b"", None)
    ):
        trees._put(out, entry)
    out.end()
    os.close(write)
    data = os.fdopen(read, "rb").read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        kinds = {member.name: member.type for member in tar}
        assert tar.extractfile("d/file").read() == b"content"  # type: ignore[union-attr]
        assert tar.extractfile("z").read() == "é".encode()  # type: ignore[union-attr]
        assert tar.getmember("d/file").mtime == OLD and tar.getmember("same").linkname == "d/file"
    assert (
        kinds["same"] == tarfile.LNKTYPE
        and kinds["link"] == tarfile.SYMTYPE
        and kinds["pipe"] == tarfile.FIFOTYPE
    )


# Sending --------------------------------------------------------------------------------------------------


def framed(**fields: object) -> bytes:
    body = Packet(**fields).encode()
    return struct.pack(">I", len(body)) + body


def sent(folder: Path, asked: bytes) -> tuple[dict[str, Any], list[Any]]:
    """(the worker's answer, its packets), when the receiver asks that once it knows what there is."""
    out_read, out_write = os.pipe()
    in_read, in_write = os.pipe()
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    found: list[Any] = []

    def receive() -> None:
        with os.fdopen(out_read, "rb") as stream:
            while head := stream.read(4):
                body = stream.read(struct.unpack(">I", head)[0])
                found.append(Packet.decode(body))
                if not body:  # all has been told
                    os.write(in_write, asked)

    thread = threading.Thread(target=receive)
    thread.start()
    arguments = {"trees": [{"lower": [], "prefix": ""}], "mtime": None}
    original, treesend.roots = treesend.roots, lambda _: {b"": fd}
    try:
        answer = treesend.run(arguments, [out_write, in_read])
    finally:
        treesend.roots = original
        os.close(out_write)
        thread.join()
        for one in (in_read, in_write, fd):
            os.close(one)
    return answer, found


def test_stats_then_what_is_asked_for(folder: Path) -> None:
    asked = framed(type=treesend.REQ, ID=2) + framed(type=treesend.REQ, ID=3) + framed(type=treesend.FIN)
    answer, found = sent(folder, asked)
    assert answer["entries"] == 7
    stats = [one.stat for one in found if one.type == treesend.STAT]
    assert [one.path for one in stats[:-1]] == ["d", "d/e", "d/file", "d.x", "link", "pipe", "same"]
    assert stats[-1] is None
    assert stats[0].mode == 1 << 31 | 0o750 and stats[0].size == 0
    assert (stats[2].size, stats[2].modTime, stats[2].uid) == (7, OLD * 10**9, os.getuid())
    assert stats[4].mode & 1 << 27 and stats[4].linkname == "../../../etc/passwd"
    assert stats[6].linkname == "d/file" and stats[6].size == 0
    data = [(one.ID, one.data) for one in found if one.type == treesend.DATA]
    assert data == [(2, b"content"), (2, b""), (3, b"")]
    assert found[-1].type == treesend.FIN


def test_large_files_come_in_pieces(tmp_path: Path) -> None:
    content = os.urandom(3 * treesend.PIECE + 5)
    (tmp_path / "big").write_bytes(content)
    _, found = sent(tmp_path, framed(type=treesend.REQ) + framed(type=treesend.FIN))
    data = [one.data for one in found if one.type == treesend.DATA]
    assert b"".join(data) == content and len(data) == 5


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (framed(type=treesend.REQ, ID=0), "invalid file id 0"),
        (framed(type=treesend.REQ, ID=2) * 2, "invalid file id 2"),
        (framed(type=treesend.REQ, ID=99), "invalid file id 99"),
        (framed(type=treesend.ERR, data=b"no room"), "error from receiver: no room"),
        (struct.pack(">I", 1 << 30), "too large"),
        (struct.pack(">I", 1) + b"\xff", "a packet that is none"),
    ],
)
def test_receivers_that_ask_nonsense(folder: Path, asked: bytes, text: str) -> None:
    answer, _ = sent(folder, asked)
    assert text in answer["error"]


def test_numbers_as_protobuf_has_them() -> None:
    for value in (1, 127, 128, 300, 1 << 40, -5):
        stat_ = proto("fsutil.types.Stat").decode(treesend.number(6, value))
        assert stat_.modTime == value


# Times ----------------------------------------------------------------------------------------------------


def archive(form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, mtime in (("a" * 120, 2_000_000_000), ("old", 1_000), ("é", 1_999_999_999.5)):
            info = tarfile.TarInfo(name)
            info.mtime, info.size = mtime, 3
            if form == tarfile.PAX_FORMAT:
                info.pax_headers = {"atime": "2000000000.25", "comment": "x"}
            tar.addfile(info, io.BytesIO(b"abc"))
    return buffer.getvalue()


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_no_time_is_later(form: int, tmp_path: Path) -> None:
    epoch = 1_600_000_000
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    count = retime.retime(Source(iter([archive(form)])), Output(fd), epoch)
    os.close(fd)
    with tarfile.open(tmp_path / "out") as tar:
        members = tar.getmembers()
        assert [int(member.mtime) for member in members] == [epoch, 1_000, epoch]
        assert all(tar.extractfile(member).read() == b"abc" for member in members)  # type: ignore[union-attr]
        assert members[0].name == "a" * 120 and members[2].name == "é"
        for member in members:
            assert float(member.pax_headers.get("atime", 0)) <= epoch
            assert member.pax_headers.get("comment", "x") == "x"
    assert count == 3


def test_twice_is_the_same(tmp_path: Path) -> None:
    digests = set()
    for _ in range(2):
        fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        retime.retime(Source(iter([archive(tarfile.PAX_FORMAT)])), Output(fd), 5)
        os.close(fd)
        digests.add(hashlib.sha256((tmp_path / "out").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_what_is_no_archive(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    with pytest.raises(TarError):
        retime.retime(Source(iter([b"x" * 512])), Output(fd), 5)
    with pytest.raises(TarError):
        retime.retime(Source(iter([archive(tarfile.GNU_FORMAT)[:700]])), Output(fd), 5)
    os.close(fd)
    assert "error" in retime.run({"layer": str(tmp_path / "none"), "compression": "", "epoch": 1}, [fd])
