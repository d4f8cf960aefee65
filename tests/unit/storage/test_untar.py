"""Members to files, without root: owners are ours, no devices. The rest is in tests/integration."""

import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.storage.recipe import rebuild
from runtime.storage.tarheader import TarError
from runtime.storage.tarreader import Source
from runtime.storage.tree import Tree, clean, empty
from runtime.storage.untar import Failed, Recipe, Unpacker, unpack


class Tar:
    """Makes archives with owners that anybody may set."""

    def __init__(self, kind: int = tarfile.PAX_FORMAT) -> None:
        self.buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self.buffer, mode="w", format=kind)

    def add(self, name: str, data: bytes = b"", **fields: object) -> "Tar":
        info = tarfile.TarInfo(name)
        info.uid, info.gid, info.size, info.mtime = os.getuid(), os.getgid(), len(data), 1_000_000_000
        for key, value in fields.items():
            setattr(info, key, value)
        self._tar.addfile(info, io.BytesIO(data))
        return self

    def folder(self, name: str, mode: int = 0o755) -> "Tar":
        return self.add(name, type=tarfile.DIRTYPE, mode=mode)

    def link(self, name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> "Tar":
        return self.add(name, type=kind, linkname=target)

    def bytes(self) -> bytes:
        self._tar.close()
        return self.buffer.getvalue()


Run = Callable[[bytes], Unpacker]


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = tmp_path / "layer"
    (path / "diff").mkdir(parents=True)
    return path


@pytest.fixture
def run(layer: Path) -> Run:
    def unpack_here(data: bytes, size: int = 700) -> Unpacker:
        folder = os.open(layer, os.O_RDONLY)
        recipe = Recipe(folder)
        tree = Tree(os.open(layer / "diff", os.O_RDONLY), recipe.lost, recipe.writer.moved)
        chunks = (data[at : at + size] for at in range(0, len(data), size))
        try:
            return unpack(tree, Source(chunks, recipe.writer))
        finally:
            recipe.close(keep=True)
            tree.close()
            os.close(folder)

    return unpack_here


def again(layer: Path) -> bytes:
    return b"".join(rebuild(str(layer)))


def test_files_folders_links_with_modes_and_times(run: Run, layer: Path) -> None:
    data = (
        Tar()
        .folder("bin", 0o711)
        .add("bin/tool", b"#!" * 4000, mode=0o4755)
        .link("bin/alias", "tool")
        .link("bin/same", "bin/tool", tarfile.LNKTYPE)
        .add("deep/er/file", b"x", mode=0o600)
        .bytes()
    )
    unpacker = run(data)
    diff = layer / "diff"
    assert stat.S_IMODE((diff / "bin").stat().st_mode) == 0o711
    assert (diff / "bin").stat().st_mtime == 1_000_000_000
    tool = (diff / "bin/tool").stat()
    # The link's own header, which comes later, counts: so it is in dockerd
    assert (stat.S_IMODE(tool.st_mode), tool.st_mtime, tool.st_nlink) == (0o644, 1_000_000_000, 2)
    assert (diff / "bin/alias").readlink() == Path("tool")
    assert (diff / "bin/alias").lstat().st_mtime == 1_000_000_000
    assert stat.S_IMODE((diff / "deep").stat().st_mode) == 0o755
    assert unpacker.size == 8000 + 4 + 1
    assert again(layer) == data


@pytest.mark.parametrize("name", ["../../evil", "/evil", "a/../../evil", "./evil", "//evil"])
def test_names_cannot_leave_the_layer(run: Run, layer: Path, name: str) -> None:
    run(Tar().add(name, b"x").bytes())
    assert (layer / "diff/evil").read_bytes() == b"x"
    assert sorted(path.name for path in layer.parent.iterdir()) == ["layer"]


def test_links_on_the_way_are_followed_inside_only(run: Run, layer: Path) -> None:
    outside = layer.parent / "outside"
    outside.mkdir()
    with pytest.raises(Failed, match="no such file or directory"):
        run(Tar().link("out", str(outside)).add("out/file", b"x").bytes())
    assert list(outside.iterdir()) == []


def test_a_link_inside_is_followed_and_the_tar_still_comes_back(run: Run, layer: Path) -> None:
    data = (
        Tar()
        .folder("usr")
        .folder("usr/lib")
        .link("lib", "/usr/lib")
        .add("lib/libc", b"c" * 600)
        .link("x", "/nowhere")
        .link("lib", "elsewhere")
        .bytes()
    )
    run(data)
    assert (layer / "diff/usr/lib/libc").read_bytes() == b"c" * 600
    assert again(layer) == data


def test_hard_links_stay_inside(run: Run, layer: Path) -> None:
    (layer.parent / "secret").write_text("s")
    with pytest.raises(Failed, match="no such file or directory"):
        run(Tar().link("got", "../../secret", tarfile.LNKTYPE).bytes())


def test_a_hard_link_does_not_follow_a_link(run: Run, layer: Path) -> None:
    (layer.parent / "secret").write_text("s")
    run(Tar().link("a", "../../secret").link("b", "a", tarfile.LNKTYPE).bytes())
    assert (layer / "diff/b").is_symlink()


def test_later_members_replace_and_the_tar_still_comes_back(run: Run, layer: Path) -> None:
    data = (
        Tar()
        .add("file", b"old" * 300)
        .folder("dir")
        .add("dir/inner", b"lost" * 200)
        .link("same", "file", tarfile.LNKTYPE)
        .add("file", b"new" * 400)
        .add("dir", b"now a file")
        .add("file", b"newest")
        .link("gone", "file")
        .add("gone", b"was a link")
    ).bytes()
    run(data)
    diff = layer / "diff"
    assert (diff / "file").read_bytes() == b"newest"
    assert (diff / "same").read_bytes() == b"old" * 300
    assert (diff / "dir").read_bytes() == b"now a file"
    assert (diff / "gone").read_bytes() == b"was a link"
    assert again(layer) == data


def test_a_folder_given_twice_keeps_its_content(run: Run, layer: Path) -> None:
    run(Tar().folder("d").add("d/f", b"1").folder("d", 0o700).bytes())
    assert (layer / "diff/d/f").read_bytes() == b"1"
    assert stat.S_IMODE((layer / "diff/d").stat().st_mode) == 0o700


def test_names_longer_than_the_kernel_takes_are_an_error(run: Run) -> None:
    with pytest.raises(Failed, match="file name too long"):
        run(Tar().add("x" * 300, b"").bytes())


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_links(run: Run, layer: Path, kind: int) -> None:
    name = "/".join(["directory"] * 20) + "/file"
    data = Tar(kind).add(name, b"1").link("link", name).bytes()
    run(data)
    assert (layer / "diff" / name).read_bytes() == b"1"
    assert str((layer / "diff/link").readlink()) == name
    assert again(layer) == data


def test_a_cut_archive_is_an_error(run: Run) -> None:
    with pytest.raises(TarError, match="unexpected EOF"):
        run(Tar().add("f", b"x" * 5000).bytes()[:2000])


def test_no_archive_at_all(run: Run) -> None:
    with pytest.raises(TarError, match="invalid tar header"):
        run(b"<html>" * 1000)


def test_nothing_at_all_is_an_empty_layer(run: Run, layer: Path) -> None:
    assert run(b"").count == 0
    assert again(layer) == b""


def test_what_follows_the_end_is_part_of_the_tar(run: Run, layer: Path) -> None:
    data = Tar().add("f", b"1").bytes() + b"rubbish" * 999
    run(data)
    assert again(layer) == data


def test_sparse_files_have_holes(run: Run, layer: Path, tmp_path: Path) -> None:
    records = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.name": "holes",
        "GNU.sparse.map": "0,600,1048576,512",
        "GNU.sparse.size": str(4 << 20),
    }
    data = Tar().add("GNUSparseFile.0/holes", b"a" * 600 + b"b" * 512, pax_headers=records).bytes()
    run(data)
    content = (layer / "diff/holes").read_bytes()
    assert content == b"a" * 600 + bytes(1048576 - 600) + b"b" * 512 + bytes((4 << 20) - 1048576 - 512)
    assert (layer / "diff/holes").stat().st_blocks * 512 < 1 << 20
    assert again(layer) == data


def test_user_attributes_are_kept_and_the_overlays_own_are_not(run: Run, layer: Path) -> None:
    try:
        os.setxattr(layer / "diff", "user.probe", b"1")
    except OSError:
        pytest.skip("this file system has no user attributes")
    records = {"SCHILY.xattr.user.mime": "text", "SCHILY.xattr.user.overlay.opaque": "y"}
    run(Tar().add("f", b"1", pax_headers=records).bytes())
    assert os.listxattr(layer / "diff/f") == ["user.mime"]


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        (b"a/b", b"a/b"),
        (b"./a//b/", b"a/b"),
        (b"..", b""),
        (b"a/../..", b""),
        (b"a/...", b"a/..."),
        (b".", b""),
    ],
)
def test_clean(name: bytes, cleaned: bytes) -> None:
    assert clean(name) == cleaned


def test_removal_of_what_is_deeper_than_any_limit(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    at = os.dup(fd)
    for _ in range(1500):
        os.mkdir("d", dir_fd=at)
        deeper = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = deeper
    os.symlink("/etc", "link", dir_fd=at)
    os.close(at)
    empty(fd)
    os.close(fd)
    assert list(tmp_path.iterdir()) == []
