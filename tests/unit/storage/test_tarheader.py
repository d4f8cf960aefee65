"""Header blocks and PAX records, against Python's own tarfile and against nonsense."""

import io
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.storage import tarheader as tar
from runtime.storage.tarheader import TarError

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = st.text(
    st.characters(min_codepoint=1, max_codepoint=0x10FFFF, exclude_categories=("Cs",)),
    min_size=1,
    max_size=80,
).filter(lambda text: "/" not in text)


def block_of(info: tarfile.TarInfo, kind: int = tarfile.GNU_FORMAT) -> bytes:
    return info.tobuf(kind, "utf-8", "surrogateescape")[-512:]


@patient
@given(
    st.integers(0, 0o7777),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.integers(0, 2**50),
    st.integers(-(2**40), 2**40),
)
def test_gnu_numbers_of_any_size(mode: int, uid: int, gid: int, size: int, mtime: int) -> None:
    info = tarfile.TarInfo("file")
    info.mode, info.uid, info.gid, info.size, info.mtime = mode, uid, gid, size, mtime
    entry = tar.parse(block_of(info))
    assert (entry.mode, entry.uid, entry.gid, entry.size) == (mode, uid, gid, size)
    assert entry.mtime == mtime * 1_000_000_000


@patient
@given(NAMES)
def test_pax_names_and_times(name: str) -> None:
    info = tarfile.TarInfo(name)
    info.mtime = 1234567890.5
    buffer = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    if len(buffer) == 512:
        assert tar.parse(buffer).name == name.encode()
        return
    size = tar.parse(buffer[:512]).size
    records = tar.pax_records(buffer[512 : 512 + size])
    entry = tar.parse(buffer[-512:])
    tar.apply_pax(entry, records)
    assert entry.name == name.encode()
    assert entry.mtime == 1_234_567_890_500_000_000


@patient
@given(st.binary(min_size=512, max_size=512))
def test_noise_is_refused_or_read_never_a_crash(block: bytes) -> None:
    try:
        entry = tar.parse(block)
    except TarError:
        return
    assert entry.size >= 0


@patient
@given(st.binary(max_size=300))
def test_noise_as_pax_records(data: bytes) -> None:
    try:
        records = tar.pax_records(data)
    except TarError:
        return
    assert all(isinstance(key, bytes) for key in records)


@patient
@given(
    st.dictionaries(st.text("abcXYZ.", min_size=1, max_size=9), st.text("xyz =\n1", max_size=30), max_size=5)
)
def test_pax_records_come_back(records: dict[str, str]) -> None:
    data = b""
    for key, value in records.items():
        body = f" {key}={value}\n".encode()
        size = len(body) + 1
        while len(str(size)) + len(body) != size:
            size += 1
        data += str(size).encode() + body
    assert tar.pax_records(data) == {key.encode(): value.encode() for key, value in records.items()}


@pytest.mark.parametrize(
    "data", [b"9 a=b\n", b"5 a=b\n", b"x", b"6 =b\n\n", b"-6 a=b\n", b"999999 a=b\n", b"10 a\0c=bb\n"]
)
def test_broken_pax_records(data: bytes) -> None:
    with pytest.raises(TarError):
        tar.pax_records(data)


def test_signed_checksums_of_old_suns_count() -> None:
    info = tarfile.TarInfo("n\u00e4me")
    block = bytearray(block_of(info))
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 256
    block[148:156] = b"%06o\0 " % signed
    assert tar.checksum_matches(bytes(block))


def test_old_directories_are_files_with_a_slash() -> None:
    info = tarfile.TarInfo("dir/")
    info.type = tarfile.AREGTYPE
    entry = tar.parse(block_of(info))
    tar.settle(entry)
    assert entry.type == tar.DIRECTORY


def test_a_hard_link_has_no_data_whatever_its_size_says() -> None:
    info = tarfile.TarInfo("link")
    info.type, info.linkname, info.size = tarfile.LNKTYPE, "file", 5000
    assert tar.parse(block_of(info)).stored == 0


@pytest.mark.parametrize(
    ("numbers", "size"), [([0, 5, 3, 1], 10), ([0, 11], 10), ([5], 10), ([4, -1], 10), ([8, 3], 10)]
)
def test_sparse_maps_must_ascend_inside_the_file(numbers: list[int], size: int) -> None:
    with pytest.raises(TarError):
        tar.sparse_map(numbers, size)


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"1.5", 1_500_000_000), (b"-1.5", -1_500_000_000), (b"0", 0), (b"7.1234567899", 7_123_456_789)],
)
def test_pax_times(text: bytes, value: int) -> None:
    assert tar.nanoseconds(text) == value


def test_the_writer_makes_what_tarfile_reads() -> None:
    from runtime.storage import tarwriter

    long_name = "blobs/" + "x" * 200
    data = b"hello"
    archive = (
        tarwriter.header(b"dir/", mode=0o755, kind=tarwriter.FOLDER)
        + tarwriter.header(long_name.encode(), len(data), mtime=99)
        + data
        + tarwriter.padding(len(data))
        + tarwriter.END
    )
    with tarfile.open(fileobj=io.BytesIO(archive)) as read:
        folder, file = read.getmembers()
        assert (folder.name, folder.isdir(), folder.mode) == ("dir", True, 0o755)
        assert (file.name, file.size, file.mtime) == (long_name, 5, 99)
        content = read.extractfile(file)
        assert content is not None
        assert content.read() == data
