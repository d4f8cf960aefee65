"""Layers made to hurt: bombs, markers, duplicates, chains of links. Memory is bounded, disk the limit."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard

from runtime.storage.recipe import rebuild

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
MEMORY = 150 << 20
_MAIN = """
import json, os, sys
from runtime.storage import spool, untar
status = open("/proc/self/status")  # out of reach later
function = {"untar": untar.apply, "spool": spool.run}[sys.argv[1]]
answer = function(json.loads(sys.argv[2]), [0])
peak = next(line for line in status if line.startswith("VmHWM"))
answer["rss"] = int(peak.split()[1]) * 1024
os.write(1, json.dumps(answer).encode())
os._exit(0)
"""

Member = tuple[str, dict[str, Any]]
LINK, HARD, FOLDER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


def member(name: str, **fields: Any) -> bytes:
    """One member's blocks."""
    data: bytes = fields.pop("data", b"")
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    body = data + bytes(-len(data) % 512)
    return info.tobuf(tarfile.GNU_FORMAT) + body


END = bytes(1024)


def run(layer: Path, data: bytes, function: str = "untar", **arguments: Any) -> dict[str, Any]:
    """The worker's answer, with its peak memory as "rss" (bytes)."""
    (layer / "diff").mkdir(parents=True, exist_ok=True)
    key = {"layer": str(layer)} if function == "untar" else {"target": str(layer / "diff")}
    done = subprocess.run(
        [sys.executable, "-c", _MAIN, function, json.dumps({**key, **arguments})],
        input=data, capture_output=True, check=True, cwd=ROOT, timeout=300,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["rss"] < MEMORY
    return answer


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A tmpfs at `path`."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_hundred_thousand_opaque_markers(tmp_path: Path) -> None:
    folders = b"".join(member(f"d{number}", type=FOLDER, mode=0o755) for number in range(100))
    markers = b"".join(member(f"d{number}/.wh..wh..opq") for number in range(100))
    data = folders + markers * 1000 + END
    answer = run(tmp_path / "layer", data)
    assert (answer.get("error"), answer["entries"]) == (None, 100_100)
    assert os.getxattr(tmp_path / "layer/diff/d99", "trusted.overlay.opaque") == b"y"
    assert b"".join(rebuild(str(tmp_path / "layer"))) == data


def test_a_hundred_thousand_whiteouts_of_one_name(tmp_path: Path) -> None:
    data = member(".wh.gone") * 100_000 + END
    answer = run(tmp_path / "layer", data)
    assert (answer.get("error"), answer["entries"]) == (None, 100_000)
    assert [path.name for path in (tmp_path / "layer/diff").iterdir()] == ["gone"]


def test_duplicates_replace_each_other(tmp_path: Path) -> None:
    data = b"".join(member("same", data=b"%d" % number) for number in range(5000)) + END
    answer = run(tmp_path / "layer", data)
    assert answer.get("error") is None
    assert (tmp_path / "layer/diff/same").read_bytes() == b"4999"
    assert b"".join(rebuild(str(tmp_path / "layer"))) == data


@pytest.mark.parametrize("name", ["n" * 256, "d/" + "n" * 300, "n" * 5000])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    answer = run(tmp_path / "layer", member(name, data=b"x") + END)
    assert answer["error"].endswith("file name too long")


def test_a_name_as_long_as_a_file_s_may_be(tmp_path: Path) -> None:
    assert run(tmp_path / "layer", member("n" * 255, data=b"x") + END).get("error") is None
    assert (tmp_path / "layer/diff" / ("n" * 255)).read_bytes() == b"x"


def test_a_chain_of_links_that_is_too_long(tmp_path: Path) -> None:
    chain = b"".join(member(f"l{n + 1}", type=LINK, linkname=f"l{n}") for n in range(60))
    data = member("l0", type=FOLDER, mode=0o755) + chain + member("l60/file", data=b"x") + END
    assert "too many levels of symbolic links" in run(tmp_path / "layer", data)["error"]


def test_links_in_a_circle(tmp_path: Path) -> None:
    data = member("a", type=LINK, linkname="b") + member("b", type=LINK, linkname="a")
    answer = run(tmp_path / "layer", data + member("a/file", data=b"x") + END)
    assert "too many levels of symbolic links" in answer["error"]


def test_a_chain_of_hard_links(tmp_path: Path) -> None:
    links = b"".join(member(f"h{n + 1}", type=HARD, linkname=f"h{n}") for n in range(5000))
    data = member("h0", data=b"x") + links + END
    assert run(tmp_path / "layer", data).get("error") is None
    assert (tmp_path / "layer/diff/h5000").stat().st_nlink == 5001


@pytest.mark.parametrize("target", ["missing", "../../../../etc/shadow", "h"])
def test_hard_links_to_nothing(tmp_path: Path, target: str) -> None:
    answer = run(tmp_path / "layer", member("h", type=HARD, linkname=target) + END)
    if target != "h":  # a link to itself is nothing to do
        assert answer["error"].endswith("no such file or directory")
    assert not os.path.lexists(tmp_path / "layer/diff/h")


def test_a_gzip_bomb_fills_the_disk_and_no_memory(tmp_path: Path) -> None:
    """4 GB of zeros in some 4 MB."""
    piece = gzip.compress(bytes(16 << 20), 9)
    bomb = gzip.compress(_header("zeros", 4 << 30)) + piece * 256
    with small_disk(tmp_path / "small", "24m") as disk:
        answer = run(disk / "layer", bomb)
        assert answer["error"] == "/zeros: no space left on device"


def test_a_zstd_bomb_fills_the_disk_and_no_memory(tmp_path: Path) -> None:
    compressor = zstandard.ZstdCompressor(level=3)
    piece = compressor.compress(bytes(16 << 20))
    bomb = compressor.compress(_header("zeros", 4 << 30)) + piece * 256
    with small_disk(tmp_path / "small", "24m") as disk:
        answer = run(disk / "layer", bomb)
        assert answer["error"] == "/zeros: no space left on device"


def test_a_bomb_in_a_saved_archive(tmp_path: Path) -> None:
    bomb = gzip.compress(_header("0.tar", 4 << 30)) + gzip.compress(bytes(16 << 20), 9) * 256
    with small_disk(tmp_path / "small", "24m") as disk:
        assert run(disk / "spool", bomb, "spool")["error"].endswith("no space left on device")


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def test_a_file_that_is_all_hole_takes_no_space(tmp_path: Path) -> None:
    pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "hole"}
    info = tarfile.TarInfo("GNUSparseFile.0/hole")
    body = b"1\n0\n0\n".ljust(512, b"\0")
    info.size = len(body)
    info.pax_headers = {**pax, "GNU.sparse.realsize": str(1 << 40)}
    answer = run(tmp_path / "layer", info.tobuf(tarfile.PAX_FORMAT) + body + END)
    assert answer.get("error") is None
    found = (tmp_path / "layer/diff/hole").stat()
    assert (found.st_size, found.st_blocks) == (1 << 40, 0)


def test_too_many_members_in_a_saved_archive(tmp_path: Path) -> None:
    data = member("x") * 100_001 + END
    assert run(tmp_path / "spool", data, "spool")["error"] == "the archive has too many members"


# Layers of other tools that are ordinary ones --------------------------------------------------------------


def _plain() -> bytes:
    return member("dir", type=FOLDER, mode=0o755) + member("dir/file", data=b"content" * 1000) + END


def _is_the_layer(tmp_path: Path, packed: bytes, plain: bytes, compression: str) -> None:
    answer = run(tmp_path / "layer", packed)
    assert answer.get("error") is None
    assert answer["diff_id"] == "sha256:" + hashlib.sha256(plain).hexdigest()
    assert answer["digest"] == "sha256:" + hashlib.sha256(packed).hexdigest()
    assert answer["compression"] == compression
    assert (tmp_path / "layer/diff/dir/file").read_bytes() == b"content" * 1000


def test_estargz(tmp_path: Path) -> None:
    """A gzip member for each file, a table of contents as last file, a footer as an empty member."""
    files = [
        member("dir", type=FOLDER, mode=0o755),
        member("dir/file", data=b"content" * 1000),
        member("stargz.index.json", data=b'{"version":1,"entries":[]}'),
        END,
    ]
    footer = io.BytesIO()
    with gzip.GzipFile(fileobj=footer, mode="wb", compresslevel=0, mtime=0):
        pass
    packed = b"".join(gzip.compress(part) for part in files) + footer.getvalue()
    _is_the_layer(tmp_path, packed, b"".join(files), "gzip")


def test_zstd_chunked(tmp_path: Path) -> None:
    """A frame for each file, then the manifest and the footer in skippable frames (RFC 8878, 3.1.2)."""
    compressor = zstandard.ZstdCompressor()
    plain = _plain()
    frames = compressor.compress(plain[:1024]) + compressor.compress(plain[1024:])
    manifest = compressor.compress(b'{"version":1,"entries":[]}')
    skipped = b"".join(
        b"\x50\x2a\x4d\x18" + len(part).to_bytes(4, "little") + part for part in (manifest, b"GNUlInUx" * 8)
    )
    _is_the_layer(tmp_path, frames + skipped, plain, "zstd")
