"""A folder of changes becomes a layer where it is: the digest of a tar of it, and the same bytes again."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from runtime.storage import sealing
from runtime.storage.packer import Output, Packer
from runtime.storage.recipe import Writer, empty_recipe, rebuild
from runtime.storage.tree import OPEN_DIRECTORY


def seal(layer: Path) -> tuple[str, sealing.Sealer]:
    """What `sealing.seal` does, without becoming root of the folder."""
    fd = os.open(layer / "recipe", os.O_WRONLY | os.O_CREAT, 0o600)
    out = sealing.Hashing(Writer(fd))
    sealer = sealing.Sealer(out)
    sealer.below(os.open(layer / "diff", OPEN_DIRECTORY), b"")
    out.end()
    out._recipe.finish()
    os.close(fd)
    return out.digest, sealer


def packed(folder: Path, target: Path) -> bytes:
    fd = os.open(target, os.O_WRONLY | os.O_CREAT, 0o600)
    out = Output(fd)
    Packer(out, whiteouts=True).below(os.open(folder, OPEN_DIRECTORY), b"")
    out.end()
    os.close(fd)
    return target.read_bytes()


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    diff = tmp_path / "layer" / "diff"
    (diff / "d/e").mkdir(parents=True)
    (diff / "d/file").write_bytes(b"x" * 70_000)
    (diff / "d/empty").touch()
    os.link(diff / "d/file", diff / "again")
    (diff / "link").symlink_to("d/file")
    os.mkfifo(diff / "fifo")
    return tmp_path / "layer"


def test_the_same_as_a_tar_of_it(layer: Path, tmp_path: Path) -> None:
    digest, sealer = seal(layer)
    plain = packed(layer / "diff", tmp_path / "tar")
    assert digest == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    assert sealer.sealed.size == len(plain) and sealer.count == 7
    assert sealer.bytes == 70_000 + len("d/file"), "of a file with two names once"
    assert b"".join(rebuild(str(layer))) == plain


def test_sockets_are_in_no_layer(layer: Path) -> None:
    before, _ = seal(layer)
    os.mknod(layer / "diff/d/sock", stat.S_IFSOCK | 0o600)
    (layer / "recipe").unlink()
    os.utime(layer / "diff/d", ns=(0, 0))
    os.utime(layer / "diff/d/e", ns=(0, 0))
    seal(layer)
    assert not (layer / "diff/d/sock").exists()
    assert before


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    recipe = os.open(tmp_path / "r", os.O_WRONLY | os.O_CREAT, 0o600)
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="changed"):
            sealing.Hashing(Writer(recipe)).copy(fd, 4)
    finally:
        os.close(fd)
        os.close(recipe)


def test_nothing(tmp_path: Path) -> None:
    (tmp_path / "diff").mkdir()
    (tmp_path / "recipe").write_bytes(empty_recipe())
    assert b"".join(rebuild(str(tmp_path))) == bytes(1024)
    (tmp_path / "work/work").mkdir(parents=True)
    sealing.remove_work(str(tmp_path))
    assert not (tmp_path / "work").exists()
