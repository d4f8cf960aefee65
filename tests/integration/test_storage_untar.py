# ruff: noqa: PTH115, PTH211
"""The unpacking worker as it runs: as root, chrooted, in a process of its own. Compared with GNU tar."""

import asyncio
import io
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from runtime.storage.recipe import rebuild
from tests.unit.images.imagekit import ProcessWorker

pytestmark = pytest.mark.root

Tree = dict[str, tuple[Any, ...]]


def unpack(tmp_path: Path, data: bytes, **arguments: Any) -> dict[str, Any]:
    """Run the worker on `data`; the layer is in tmp_path / "layer"."""
    archive, layer = tmp_path / "archive", tmp_path / "layer"
    archive.write_bytes(data)
    (layer / "diff").mkdir(parents=True)
    fd = os.open(archive, os.O_RDONLY)
    try:
        result: dict[str, Any] = asyncio.run(
            ProcessWorker().worker("runtime.storage.untar:apply", {"layer": str(layer), **arguments}, [fd])
        )
    finally:
        os.close(fd)
    return result


def snapshot(root: Path) -> Tree:
    """All that matters about every file below `root`."""
    found: Tree = {}
    inodes: dict[int, str] = {}
    for folder, folders, files in os.walk(root):
        for name in sorted([*folders, *files]):
            path = Path(folder, name)
            info = path.lstat()
            kind = stat.S_IFMT(info.st_mode)
            content: object = None
            if kind == stat.S_IFREG:
                content = path.read_bytes()
            elif kind == stat.S_IFLNK:
                content = os.readlink(path)
            shown = str(path.relative_to(root))
            first = (
                inodes.setdefault(info.st_ino, shown) if info.st_nlink > 1 and kind != stat.S_IFDIR else ""
            )
            attributes = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
            }
            found[shown] = (
                info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_rdev, content, first,
                attributes,
            )  # fmt: skip
    return found


def rich_tree(root: Path) -> None:
    """A tree with everything that a root file system may hold."""
    for name, mode in (("bin", 0o755), ("tmp", 0o1777), ("group", 0o2775), ("closed", 0o700)):
        (root / name).mkdir()
        (root / name).chmod(mode)
    (root / "bin/su").write_bytes(b"elf" * 1000)
    os.chown(root / "bin/su", 12, 34)
    (root / "bin/su").chmod(0o6755)
    os.setxattr(
        root / "bin/su", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000")
    )
    os.link(root / "bin/su", root / "bin/sudo")
    os.symlink("/no/where", root / "bin/dangling")
    os.chown(root / "bin/dangling", 5, 6, follow_symlinks=False)
    os.symlink("l" * 150, root / "long-link")
    os.mkfifo(root / "tmp/fifo", 0o640)
    os.mknod(root / "tmp/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "tmp/disk", stat.S_IFBLK | 0o660, os.makedev(259, 700))
    (root / "group/file").write_bytes(b"")
    os.chown(root / "group/file", 1000, 2000)
    os.setxattr(root / "group/file", "user.note", b"bytes \0 and \xff")
    deep = root / "/".join(["very-long-folder-name"] * 8)
    deep.mkdir(parents=True)
    (deep / "ünïcode \n name").write_text("x")
    with (root / "sparse").open("wb") as file:
        file.write(b"start")
        file.seek(3 << 20)
        file.write(b"end")
    (root / "closed/big-id").write_text("x")
    os.chown(root / "closed/big-id", 3_000_000, 4_000_000)
    for number, name in enumerate(sorted(str(path) for path in root.rglob("*"))):
        os.utime(name, ns=(0, 1_500_000_000_000_000_000 + number * 1_000_000_000), follow_symlinks=False)


@pytest.mark.parametrize("how", ["gnu", "posix", "gnu-sparse", "posix-sparse", "ustar-less"])
def test_as_gnu_tar_unpacks_it(tmp_path: Path, how: str) -> None:
    tree, wanted = tmp_path / "tree", tmp_path / "wanted"
    tree.mkdir()
    wanted.mkdir()
    rich_tree(tree)
    options = {
        "gnu": ["--format=gnu"],
        "posix": ["--format=posix", "--xattrs", "--xattrs-include=*"],
        "gnu-sparse": ["--format=gnu", "--sparse"],
        "posix-sparse": ["--format=posix", "--sparse", "--xattrs", "--xattrs-include=*"],
        "ustar-less": ["--format=posix", "--sparse", "--sparse-version=0.1"],
    }[how]
    data = subprocess.run(
        ["tar", "--numeric-owner", *options, "-C", tree, "-cf", "-", "."], check=True, capture_output=True
    ).stdout
    keep = ["--xattrs", "--xattrs-include=*"] if "--xattrs" in options else []
    subprocess.run(["tar", "--numeric-owner", "-p", *keep, "-C", wanted, "-xf", "-"], input=data, check=True)
    result = unpack(tmp_path, data)
    assert "error" not in result
    assert snapshot(tmp_path / "layer/diff") == snapshot(wanted)
    assert b"".join(rebuild(str(tmp_path / "layer"))) == data


def tar_of(*members: tuple[str, dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, fields in members:
            info = tarfile.TarInfo(name)
            data = fields.pop("data", b"")
            info.size = len(data)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


DIR = {"type": tarfile.DIRTYPE, "mode": 0o755}


def test_whiteouts_are_the_overlays(tmp_path: Path) -> None:
    data = tar_of(
        ("gone/.wh.file", {}),
        ("d", dict(DIR)),
        ("d/.wh..wh..opq", {}),
        ("d/new", {"data": b"1"}),
        (".wh.again", {}),
        ("again", dict(DIR)),
        ("mine", dict(DIR)),
        (".wh.mine", {}),
        (".wh..wh.plnk", {}),
    )
    assert "error" not in unpack(tmp_path, data)
    diff = tmp_path / "layer/diff"
    hidden = (diff / "gone/file").lstat()
    assert (stat.S_ISCHR(hidden.st_mode), hidden.st_rdev) == (True, 0)
    for name in ("d", "again", "mine"):
        assert os.getxattr(diff / name, "trusted.overlay.opaque") == b"y"
    assert sorted(path.name for path in diff.iterdir()) == ["again", "d", "gone", "mine"]


def test_an_archive_cannot_set_the_overlays_attributes(tmp_path: Path) -> None:
    records = {"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.trusted.other": "1"}
    assert "error" not in unpack(tmp_path, tar_of(("f", {"pax_headers": records, "data": b"1"})))
    assert os.listxattr(tmp_path / "layer/diff/f") == ["trusted.other"]


@pytest.mark.parametrize("name", [".wh.", ".wh...", "d/.wh.."])
def test_whiteouts_of_nothing_are_refused(tmp_path: Path, name: str) -> None:
    assert "invalid path" in unpack(tmp_path, tar_of((name, {})))["error"]


def test_nothing_is_written_outside_by_any_chain_of_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    up = "../" * 20
    data = tar_of(
        ("a", {"type": tarfile.SYMTYPE, "linkname": up + str(outside).lstrip("/")}),
        ("b", {"type": tarfile.SYMTYPE, "linkname": "a"}),
        (str(outside).lstrip("/"), dict(DIR)),
        ("b/file", {"data": b"x"}),
        ("a/../../" + str(outside) + "/other", {"data": b"x"}),
    )
    assert "error" not in unpack(tmp_path, data)
    assert list(outside.iterdir()) == []
    assert (tmp_path / "layer/diff" / str(outside).lstrip("/") / "file").read_bytes() == b"x"


def test_impossible_devices_are_refused(tmp_path: Path) -> None:
    data = tar_of(("d", {"type": tarfile.CHRTYPE, "devmajor": 2**20, "devminor": 1}))
    assert "invalid tar header" in unpack(tmp_path, data)["error"]


def test_unknown_types_are_refused(tmp_path: Path) -> None:
    data = tar_of(("x", {"type": b"V"}))
    assert unpack(tmp_path, data)["error"] == "unhandled tar header type 86"


def test_a_compressed_layer_is_kept_as_it_came(tmp_path: Path) -> None:
    import gzip

    plain = tar_of(("f", {"data": b"x" * 5000}))
    packed = gzip.compress(plain)
    result = unpack(tmp_path, packed, blob="blob")
    assert (tmp_path / "layer/blob").read_bytes() == packed
    assert sorted(path.name for path in (tmp_path / "layer").iterdir()) == ["blob", "diff"]
    assert (result["compression"], result["size"], result["plain_size"]) == ("gzip", len(packed), len(plain))
    assert (result["layer_size"], result["entries"]) == (5000, 1)


def test_no_space_is_said_so(tmp_path: Path) -> None:
    small = tmp_path / "layer"
    (small / "diff").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small / "diff"], check=True)
    try:
        archive = tmp_path / "archive"
        archive.write_bytes(tar_of(("f", {"data": os.urandom(1 << 20)})))
        fd = os.open(archive, os.O_RDONLY)
        result = asyncio.run(
            ProcessWorker().worker("runtime.storage.untar:apply", {"layer": str(small)}, [fd])
        )
        os.close(fd)
        assert result["error"] == "/f: no space left on device"
    finally:
        subprocess.run(["umount", small / "diff"], check=True)
        shutil.rmtree(small)
