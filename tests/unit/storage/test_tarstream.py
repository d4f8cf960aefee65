"""From an fd to plain chunks: compression found and undone, digests beside."""

import bz2
import gzip
import hashlib
import lzma
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zstandard

from runtime.storage.tarheader import TarError
from runtime.storage.tarstream import PIECE, LayerStream, decompressor, detect

DATA = os.urandom(70_000) + b"\0" * 300_000
PACKERS = {
    "": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}


@contextmanager
def fd_with(data: bytes) -> Iterator[int]:
    read, write = os.pipe()

    def feed() -> None:
        with os.fdopen(write, "wb") as pipe:
            try:
                pipe.write(data)
            except BrokenPipeError:
                pass

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield read
    finally:
        os.close(read)
        thread.join()


@pytest.mark.parametrize("kind", PACKERS)
def test_every_compression_is_found_and_undone(kind: str) -> None:
    packed = PACKERS[kind](DATA)
    with fd_with(packed) as fd:
        stream = LayerStream(fd)
        stream.open()
        assert stream.kind == kind
        assert b"".join(stream.chunks()) == DATA
        digests = stream.digests()
    assert digests["diff_id"] == "sha256:" + hashlib.sha256(DATA).hexdigest()
    assert digests["digest"] == "sha256:" + hashlib.sha256(packed).hexdigest()
    assert (digests["size"], digests["plain_size"]) == (len(packed), len(DATA))


@pytest.mark.parametrize("kind", [kind for kind in PACKERS if kind])
def test_a_cut_stream_is_an_error(kind: str) -> None:
    packed = PACKERS[kind](DATA)[:-20]
    with fd_with(packed) as fd:
        stream = LayerStream(fd)
        stream.open()
        with pytest.raises(TarError):
            list(stream.chunks())


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_several_streams_one_after_another(kind: str) -> None:
    packed = PACKERS[kind](b"one") + PACKERS[kind](b"two")
    assert b"".join(decompressor(kind)(iter([packed[:7], packed[7:]]))) == b"onetwo"


def test_zero_padding_after_gzip_is_ignored() -> None:
    assert b"".join(decompressor("gzip")(iter([gzip.compress(b"x") + b"\0" * 50]))) == b"x"


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_a_bomb_comes_in_small_pieces(kind: str) -> None:
    packed = PACKERS[kind](b"\0" * (40 << 20))
    assert max(len(piece) for piece in decompressor(kind)(iter([packed]))) <= PIECE


def test_the_original_is_copied() -> None:
    packed = gzip.compress(DATA)
    read, write = os.pipe()
    with fd_with(packed) as fd:
        stream = LayerStream(fd)
        stream.open()
        stream.copy = write
        copied = bytearray()
        collector = threading.Thread(target=lambda: copied.extend(os.fdopen(read, "rb").read()))
        collector.start()
        list(stream.chunks())
        stream.digests()
        os.close(write)
        collector.join()
    assert bytes(copied) == packed


def test_detect_knows_skippable_zstd_frames_and_nothing_else() -> None:
    assert detect(b"\x50\x2a\x4d\x18abcd") == "zstd"
    assert detect(b"") == ""
    assert detect(b"ustar") == ""
