"""Parts of build contexts without root: packets, patterns, what is known of files, single files, URLs."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compatd.engine.builder.context import credentials, reading
from compatd.engine.builder.context.download import disposition_name, url_name
from compatd.engine.builder.context.remote import is_archive, sniffed
from compatd.engine.errors import EngineError, NotFound
from runtime.storage import fsutilwire as wire
from runtime.storage.buildindex import Hashing, Index, file_digest
from runtime.storage.patterns import Glob, PatternError, has_wildcards


def test_packets() -> None:
    assert wire.encode(wire.REQ, 300) == b"\x08\x01\x18\xac\x02"
    kind, number, stat, data = wire.parse(memoryview(b"\x08\x02\x18\x05\x22\x02hi"))
    assert (kind, number, stat, bytes(data)) == (wire.DATA, 5, None, b"hi")
    body = b"\x0a\x01a\x10\xed\x83\x80\x80\x08\x28\x03" + b"\x52\x06\x0a\x01k\x12\x01v"
    kind, _, stat, _ = wire.parse(memoryview(b"\x12" + bytes([len(body)]) + body))
    assert stat and (kind, stat.path, stat.mode, stat.size) == (wire.STAT, b"a", 0x800001ED, 3)
    assert stat.xattrs == {b"k": b"v"} and stat.permissions == 0o755


@given(st.binary(max_size=200))
def test_packets_of_anything(data: bytes) -> None:
    try:
        wire.parse(memoryview(data))
    except wire.WireError:
        pass


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [("*.c", "a.c", True), ("*.c", "d/a.c", False), ("**", "a", True), ("**/a", "d/a", True),
     ("**/a", "a", False), ("a?", "a/", False), ("[a-c]", "b", True), ("[^a]", "a", False),
     ("\\*", "*", True), ("\\*", "a", False), ("*a*a*a*b", "a" * 50, False)],
)  # fmt: skip
def test_wildcards(pattern: str, path: str, found: bool) -> None:
    assert Glob(pattern).matches(path) is found


def test_wrong_wildcards() -> None:
    for pattern in ("a[", "[]", "a\\", "[b-a]"):
        with pytest.raises(PatternError):
            Glob(pattern)
    assert (
        has_wildcards("a[") and has_wildcards("a?") and not has_wildcards("a\\*b") and not has_wildcards("a")
    )


def test_an_index_knows_what_has_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    index = Index(str(tmp_path / "index"))
    with file.open("rb") as opened:
        digest = file_digest(opened.fileno())
    index.put(file.stat(), digest)
    index.save()
    again = Index(str(tmp_path / "index"))
    assert again.get(file.stat()) == digest
    file.write_bytes(b"changed")
    assert again.get(file.stat()) is None
    fresh = Index(str(tmp_path / "index"), fresh=True)
    fresh.save()  # nothing was met again
    assert (tmp_path / "index").stat().st_size == 0


def test_hashing_beside_the_writing() -> None:
    import hashlib

    hashing, digest = Hashing(), hashlib.sha256()
    pieces = [b"small", *(os.urandom(100_000) for _ in range(50)), b"end"]
    for piece in pieces:
        hashing.update(digest, piece)
    hashing.settle()
    assert digest.digest() == hashlib.sha256(b"".join(pieces)).digest()


def test_single_files_stay_inside(tmp_path: Path) -> None:
    inside = tmp_path / "context"
    inside.mkdir()
    (tmp_path / "secret").write_text("the host's")
    (inside / "out").symlink_to("../secret")
    (inside / "absolute").symlink_to(tmp_path / "secret")
    (inside / "Dockerfile").write_text("FROM x")
    (inside / "link").symlink_to("/Dockerfile")
    os.mkfifo(inside / "pipe")
    assert reading.read(inside, "link") == b"FROM x"
    for name in ("out", "absolute", "../secret", "missing", "Dockerfile/x"):
        with pytest.raises(NotFound, match=f"^open {name}: "):
            reading.read(inside, name)
    for name in ("pipe", "."):
        with pytest.raises(EngineError):
            reading.read(inside, name)
    reading.remove(inside, "../secret")
    reading.remove(inside, "Dockerfile")
    assert (tmp_path / "secret").exists() and not (inside / "Dockerfile").exists()


def test_names_of_urls() -> None:
    assert (
        url_name("http://h/a/b%20c?x#y") == "b c"
        and url_name("http://h/") == ""
        and url_name("http://h/d/") == "d"
    )
    assert disposition_name('attachment; filename="a/b"') == "b" and disposition_name("inline") == ""


def test_kinds_of_remote_contexts() -> None:
    assert sniffed(b"FROM x\n") == "text/plain" and sniffed(b"\0\1") == "application/octet-stream"
    assert sniffed(b"\x1f\x8b\x08") == "application/x-gzip"
    assert is_archive(b"BZh") and not is_archive(b"FROM x\n" * 200) and not is_archive(bytes(1024))


class Secrets:
    def __init__(self, **found: str) -> None:
        self.found = found

    async def get(self, name: str) -> bytes:
        if name not in self.found:
            raise NotFound(name)
        return self.found[name].encode()


def test_secrets_that_open_repositories_and_urls() -> None:
    import asyncio
    import base64

    def git(remote: str, **found: str) -> str:
        return asyncio.run(credentials.for_git(Secrets(**found), remote))

    basic = "basic " + base64.b64encode(b"x-access-token:t").decode()
    assert git("https://h/r.git", GIT_AUTH_TOKEN="t\n") == basic  # noqa: S106
    assert (
        git("https://h:1/r.git", **{"GIT_AUTH_HEADER.h:1": "Bearer x", "GIT_AUTH_TOKEN": "t"}) == "Bearer x"
    )
    assert git("git@h:r.git", GIT_AUTH_HEADER="x") == git("https://h/r.git", GIT_AUTH_HEADER="a\nb") == ""
    found = asyncio.run(credentials.for_url(Secrets(HTTP_AUTH_TOKEN_h="t"), "https://h:5/x"))  # noqa: S106
    assert (
        found == {"Authorization": "Bearer t"} and asyncio.run(credentials.for_url(None, "https://h")) == {}
    )
