"""Entries that journalctl exports, and how it is asked."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.containers.logentries import LogQuery
from compatd.engine.logdrivers import journal


def entry(text: bytes, priority: int = 6, more: bytes = b"", at: int = 1_000_000) -> bytes:
    return (
        b"__CURSOR=x\n__REALTIME_TIMESTAMP=%d\nPRIORITY=%d\n_PID=1\nCONTAINER_NAME=n\n" % (at, priority)
        + b"MESSAGE\n"
        + len(text).to_bytes(8, "little")
        + text
        + b"\n"
        + more
        + b"\n"
    )


def convert(data: bytes, **query: Any) -> bytes:
    return journal.JournalConverter(LogQuery(**query), framed=False).feed(data)


def test_entries() -> None:
    data = entry(b"a\nb") + entry(b"err", 3) + entry(b"other", 5)
    assert convert(data) == b"a\nb\nerr\n"
    assert convert(data, stderr=False) == b"a\nb\n"
    assert convert(entry(b"piece", more=b"CONTAINER_PARTIAL_MESSAGE=true\n")) == b"piece"
    assert convert(entry(b"x", more=b"TEAM=blue\n"), details=True) == b"TEAM=blue x\n"
    assert convert(entry(b"x"), timestamps=True) == b"1970-01-01T00:00:01.000000000Z x\n"


def test_entries_in_pieces() -> None:
    data = entry(b"one") + entry(b"two")
    for cut in range(len(data)):
        converter = journal.JournalConverter(LogQuery(), framed=False)
        assert converter.feed(data[:cut]) + converter.feed(data[cut:]) == b"one\ntwo\n"


def test_until() -> None:
    assert convert(entry(b"a") + entry(b"b", at=3_000_000), until=2_000_000_000) == b"a\n"


def test_the_command() -> None:
    words = journal.command("cc", LogQuery(tail=3, since=1_500_000_000, until=2_000_001_000), follow=False)
    assert words == [
        "journalctl",
        "--output=export",
        "--all",
        "--quiet",
        "CONTAINER_ID_FULL=cc",
        "--lines=3",
        "--since=@1.500000",
        "--until=@2.000001",
    ]
    assert journal.command("cc", LogQuery(), follow=True)[-2:] == ["--no-tail", "--follow"]


def install(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journalctl that writes its arguments down and does as `script` says."""
    program = folder / "journalctl"
    program.write_text(f'#!/bin/sh\ncd {folder}\necho "$*" >>calls\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_bytes(entry(b"hello"))
    install(tmp_path, "cat data", monkeypatch)
    assert journal.readable()

    async def run() -> list[bytes]:
        return [piece async for piece in journal.read("cc", LogQuery(), framed=False, ended=None)]

    assert asyncio.run(run()) == [b"hello\n"]


def test_following_tells_what_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The follower is slow: what it has not told is asked for after the container's end."""
    (tmp_path / "data").write_bytes(entry(b"hello") + entry(b"cut off")[:-5])
    (tmp_path / "rest").write_bytes(entry(b"last"))
    script = 'case "$*" in *--follow*) cat data; exec sleep 1000;; *--after-cursor=x*) cat rest;; esac'
    install(tmp_path, script, monkeypatch)

    async def run() -> list[bytes]:
        ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        found = []
        async for piece in journal.read("cc", LogQuery(follow=True), framed=False, ended=ended):
            found.append(piece)
            if not ended.done():
                ended.set_result((0, ""))
        return found

    assert asyncio.run(run()) == [b"hello\n", b"last\n"]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert "--follow" in calls[0] and calls[1] == "--sync" and "--after-cursor=x" in calls[2]
