"""Trees to tars, and tars into folders."""

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.storage import tarheader
from runtime.storage.copyin import CopyFailed, is_local, unpack
from runtime.storage.packer import Output, Packer
from runtime.storage.tarheader import TarError
from runtime.storage.tarwriter import member, split


def info(mode: int = stat.S_IFREG | 0o644, **fields: Any) -> os.stat_result:
    """A stat result: mode, ino, dev, nlink, uid, gid, size, atime, mtime, ctime."""
    values = {
        "ino": 1,
        "dev": 1,
        "nlink": 1,
        "uid": 0,
        "gid": 0,
        "size": 0,
        "at": 0,
        "mt": 0,
        "ct": 0,
        **fields,
    }
    plain = [mode, *(values[key] for key in ("ino", "dev", "nlink", "uid", "gid", "size", "at", "mt", "ct"))]
    mtime = values["mt"]
    return os.stat_result(plain, {"st_rdev": values.get("rdev", 0), "st_mtime_ns": mtime * 10**9})


def read(*blocks: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(blocks) + bytes(1024))) as tar:
        return list(tar)


@pytest.mark.parametrize(
    "name",
    [b"a",
     b"x" * 100, b"d" * 60 + b"/" + b"f" * 90, b"d" * 155 + b"/" + b"f" * 100, b"x" * 101, b"d/" * 200 + b"f",
     "\u00e9".encode(), b"x" * 120 + b"/", b"\xff\xfe"],
)  # fmt: skip
def test_names_of_any_length_come_back(name: bytes) -> None:
    (found,) = read(member(name, info()))
    assert os.fsencode(found.name) == name.rstrip(b"/")


def test_ustar_keeps_what_fits_without_an_extended_header() -> None:
    assert len(member(b"d" * 155 + b"/" + b"f" * 100, info())) == 512
    assert len(member(b"d" * 156 + b"/" + b"f" * 100, info())) == 3 * 512
    assert split(b"d/" + b"f" * 101) is None and split(b"x" * 120) is None


def test_numbers_of_any_size_come_back() -> None:
    (found,) = read(member(b"f", info(uid=8**7, gid=2**31, mt=-5, size=0), xattrs={b"user.x": b"\0\n"}))
    assert (found.uid, found.gid, found.mtime) == (8**7, 2**31, -5)
    assert found.pax_headers["SCHILY.xattr.user.x"] == "\0\n"
    header = member(b"f", info(size=8**11))
    assert b" size=8589934592\n" in header
    entry = tarheader.parse(header[-512:])
    assert entry.mode == 0o644


def test_kinds_and_modes() -> None:
    kinds = {
        stat.S_IFDIR | 0o755: tarfile.DIRTYPE,
        stat.S_IFIFO | 0o600: tarfile.FIFOTYPE,
        stat.S_IFCHR | 0o600: tarfile.CHRTYPE,
        stat.S_IFBLK | 0o600: tarfile.BLKTYPE,
    }
    for mode, kind in kinds.items():
        (found,) = read(member(b"x", info(mode, rdev=os.makedev(8, 17), size=5)))
        assert (found.type, found.mode, found.size) == (kind, stat.S_IMODE(mode), 0)
        if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            assert (found.devmajor, found.devminor) == (8, 17)
    (found,) = read(member(b"x", info(stat.S_IFLNK | 0o777, size=300), b"t" * 300))
    assert found.issym() and found.linkname == "t" * 300
    with pytest.raises(KeyError):
        member(b"x", info(stat.S_IFSOCK))


def pack(folder: Path, **options: Any) -> bytes:
    """`below` of a folder, through a file."""
    with (folder.parent / "packed").open("w+b") as out:
        packer = Packer(Output(out.fileno(), **options))
        packer.below(os.open(folder, os.O_RDONLY), b"")
        packer.out.end()
        out.seek(0)
        return out.read()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "b/inner").mkdir(parents=True)
    (folder / "b/inner/file").write_bytes(b"x" * 700)
    (folder / "b.txt").write_text("between b and b/inner by bytes")
    os.link(folder / "b/inner/file", folder / "z")
    (folder / "a").symlink_to("b/nowhere")
    os.mkfifo(folder / "pipe")
    return folder


def test_a_tree_is_packed_in_order_and_whole(tree: Path) -> None:
    data = pack(tree)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {entry.name: entry for entry in tar}
        file = tar.extractfile("b/inner/file")
        assert file and file.read() == b"x" * 700
    assert list(found) == ["a", "b", "b/inner", "b/inner/file", "b.txt", "pipe", "z"]
    assert found["z"].islnk() and found["z"].linkname == "b/inner/file" and found["a"].linkname == "b/nowhere"
    assert data.endswith(bytes(1024)) and len(data) % 512 == 0


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_it_is_compressed_on_the_way(tree: Path, encoding: str) -> None:
    import zlib

    data = zlib.decompress(pack(tree, encoding=encoding), 31 if encoding == "gzip" else -15)
    assert data == pack(tree)


def test_a_file_that_shrinks_is_filled_up(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")

    def copied(size: int) -> bytes:
        with (tmp_path / "file").open("rb") as file, (tmp_path / "out").open("w+b") as out:
            output = Output(out.fileno())
            output.copy(file.fileno(), size)
            output.flush()
            out.seek(0)
            return out.read()

    for size in (2000, 2_000_000):  # held back, and sent by the kernel
        assert copied(size) == b"abc" + bytes(size - 3)
    assert copied(2) == b"ab"  # it grew


def test_folders_deeper_than_files_may_be_open(tmp_path: Path) -> None:
    top = tmp_path / "top"
    path = top
    for _ in range(300):
        path = path / "d"
    path.mkdir(parents=True)
    (path / "end").write_text("x")
    with tarfile.open(fileobj=io.BytesIO(pack(top))) as tar:
        assert tar.getnames()[-1] == "d/" * 300 + "end"


def put(folder: Path, data: bytes, **options: Any) -> int:
    def chunks() -> Iterator[bytes]:
        for at in range(0, len(data), 100):
            yield data[at : at + 100]

    chosen = {"shown": "/", "no_overwrite": False, "owner": (os.getuid(), os.getgid()), **options}
    return unpack(os.open(folder, os.O_RDONLY), chunks(), **chosen)


def tar_of(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.type, entry.linkname = len(data), kind, link
        tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def test_a_packed_tree_unpacks_to_the_same(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    assert put(target, pack(tree)) == 7
    assert (target / "z").read_bytes() == b"x" * 700
    assert (target / "z").stat().st_ino == (target / "b/inner/file").stat().st_ino
    assert pack(target) == pack(tree)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x", ".."])
def test_names_that_leave_are_refused(tmp_path: Path, name: str) -> None:
    assert not is_local(name.encode().lstrip(b"/"))
    with pytest.raises(CopyFailed, match="invalid entry name"):
        put(tmp_path, tar_of(name, b"x"))
    with pytest.raises(CopyFailed, match="invalid hardlink target"):
        put(tmp_path, tar_of("x", kind=tarfile.LNKTYPE, link=name))
    assert is_local(b"a/../b") and is_local(b"..a")


def test_links_that_are_there_lead_no_further_than_the_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    (inside / "real").mkdir(parents=True)
    outside.mkdir()
    (inside / "away").symlink_to("../../../../.." + str(outside))
    (inside / "near").symlink_to("/real")
    with pytest.raises(CopyFailed, match="no such file or directory"):
        put(inside, tar_of("away/x", b"x"))
    put(inside, tar_of("near/x", b"x"))
    assert (inside / "real/x").read_bytes() == b"x" and not any(outside.iterdir())


def test_what_takes_the_place_of_what(tmp_path: Path) -> None:
    (tmp_path / "folder/full").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(CopyFailed, match='cannot overwrite directory "/d/folder" with non-directory "/d"'):
        put(tmp_path, tar_of("folder", b"x"), no_overwrite=True, shown="/d")
    with pytest.raises(CopyFailed, match='cannot overwrite non-directory "/d/file" with directory "/d"'):
        put(tmp_path, tar_of("file", kind=tarfile.DIRTYPE), no_overwrite=True, shown="/d")
    put(tmp_path, tar_of("folder", b"x"))
    put(tmp_path, tar_of("file", kind=tarfile.DIRTYPE))
    assert (tmp_path / "folder").is_file() and (tmp_path / "file").is_dir()


def test_whiteouts_are_names_like_others(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("stays")
    put(tmp_path, tar_of(".wh.x", b"y"))
    assert (tmp_path / "x").read_text() == "stays" and (tmp_path / ".wh.x").read_text() == "y"


def test_what_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(TarError, match="invalid tar header"):
        put(tmp_path, b"garbage" * 100)
    assert put(tmp_path, b"") == 0
