"""Build contexts: tars, what a client's session sends, git repositories, URLs. All of it may be hostile."""

import asyncio
import bz2
import gzip
import lzma
import os
import stat
import tarfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.builder.context import Context, Receiver
from compatd.engine.errors import EngineError
from conformance.images import Tar
from runtime.storage import fsutilwire as wire
from tests.integration.copykit import Kit, close, read

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    kit = Kit(tmp_path_factory.mktemp("kit"))
    yield kit
    kit.close()


async def pieces(data: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def untar(kit: Kit, data: bytes) -> Context:
    context: Context = kit.run(kit.builder.contexts.from_tar(pieces(data)))
    return context


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=lambda p: p.__name__
)
def test_tars(kit: Kit, pack: Callable[[bytes], bytes]) -> None:
    tar = Tar().add("Dockerfile", "FROM x").add("d/f", os.urandom(300_000), uid=5, gid=6, mode=0o640).bytes()
    context = untar(kit, pack(tar))
    assert read(context.data)["d/f"].startswith("f 640 5:6 300000")
    assert kit.run(context.dockerfile()) == b"FROM x"
    assert context.index.stat().st_size == 2 * 64 and stat.S_IMODE(context.folder.stat().st_mode) == 0o700
    close(kit, context)


def test_dockerfiles_and_ignore_files(kit: Kit) -> None:
    tar = Tar().add("dockerfile", "FROM lower").add(".dockerignore", "# no\n*.log\n!a.log\n")
    tar.add("d/Other", "FROM other").add("d/Other.dockerignore", "x\n").add("empty", "")
    context = untar(kit, tar.link("out", "/etc/passwd").link("in", "/d/Other").bytes())
    assert (
        kit.run(context.dockerfile()) == b"FROM lower" and kit.run(context.dockerfile("in")) == b"FROM other"
    )
    assert kit.run(context.ignore()) == ["*.log", "!a.log"] and kit.run(context.ignore("d/Other")) == ["x"]
    for path, classic, text in (
        ("nope", False, "failed to read dockerfile: open nope: no such file or directory"),
        ("out", False, "failed to read dockerfile: open out: no such file or directory"),
        ("nope", True, "Cannot locate specified Dockerfile: nope"),
        ("../x", True, "forbidden path outside the build context: ../x ()"),
        ("empty", True, "the Dockerfile (empty) cannot be empty"),
    ):
        with pytest.raises(EngineError) as raised:
            kit.run(context.dockerfile(path, classic=classic))
        assert raised.value.message == text
    close(kit, context)


def test_a_classic_dockerfile_that_is_ignored_goes(kit: Kit) -> None:
    context = untar(kit, Tar().add("Dockerfile", "FROM x").add(".dockerignore", "Docker*\n").bytes())
    assert kit.run(context.dockerfile(classic=True)) == b"FROM x"
    assert sorted(read(context.data)) == [".dockerignore"]
    close(kit, context)


def broken(kit: Kit, data: bytes) -> str:
    with pytest.raises(EngineError) as raised:
        untar(kit, data)
    kit.storage.settle()
    assert not list(kit.storage.tmp.iterdir())  # nothing is left
    return raised.value.message


def test_tars_that_are_none(kit: Kit) -> None:
    assert broken(kit, b"hello" * 1000) == "archive/tar: invalid tar header"
    assert broken(kit, Tar().add("a", "x" * 5000).bytes()[:3000]) == "unexpected EOF"
    assert broken(kit, gzip.compress(Tar().add("a", "x" * 5000).bytes())[:-30]) == "unexpected EOF"
    assert broken(kit, Tar().add("a", type=b"Q").bytes()) == "unhandled tar header type 81"
    close(kit, untar(kit, Tar().add("a", "x").bytes()[: 1024 - 511]))  # as Go takes it


def test_tars_that_climb_out(kit: Kit, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the host's")
    tar = Tar().add("../up", "x").add("/abs", "x").link("l", str(tmp_path)).link("r", "../" * 20)
    context = untar(kit, tar.add("r/through", "x").bytes())
    assert sorted(read(context.data)) == ["abs", "l", "r", "through", "up"]
    assert os.listdir(tmp_path) == ["secret"]
    close(kit, context)
    assert "no such file or directory" in broken(kit, Tar().link("h", str(secret), tarfile.LNKTYPE).bytes())
    assert "no such file or directory" in broken(kit, Tar().link("l", str(tmp_path)).add("l/x", "x").bytes())
    assert os.listdir(tmp_path) == ["secret"] and secret.stat().st_nlink == 1


def test_tars_with_too_much(kit: Kit) -> None:
    async def many() -> None:
        context = kit.builder.contexts.empty()
        read, write = os.pipe()
        thread = threading.Thread(target=_feed, args=(write, Tar().add("x", "").bytes()[:512] * 1000))
        thread.start()
        arguments = {"folder": str(context.folder), "limit": 500}
        answer = await kit.runtime.worker("runtime.storage.buildcontext:untar", arguments, [read])
        os.close(read)
        thread.join()
        await context.close()
        assert answer == {"error": "archive has more than 500 entries"}

    kit.run(many())
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40
    assert broken(kit, header.tobuf(tarfile.GNU_FORMAT) + b"9" * 5000) == "archive/tar: header field too long"


def _feed(fd: int, data: bytes) -> None:
    try:
        os.write(fd, data)
    except BrokenPipeError:
        pass
    finally:
        os.close(fd)


# What a session sends ---------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def told(path: str, mode: int, size: int = 0, link: str = "", when: int = 1_500_000_000_000_000_000) -> bytes:
    """A STAT packet."""
    body = b"\x0a" + varint(len(path.encode())) + path.encode() + b"\x10" + varint(mode)
    body += b"\x28" + varint(size) + b"\x30" + varint(when)
    body += b"\x3a" + varint(len(link.encode())) + link.encode() if link else b""
    return b"\x12" + varint(len(body)) + body


async def each(receiver: Receiver) -> AsyncIterator[bytes]:
    async for packets in receiver.packets():
        for packet in packets:
            yield packet


class Client:
    """A folder as a client sends it: names with bytes, None (a folder) or text (a link)."""

    def __init__(self, files: dict[str, bytes | str | None]) -> None:
        self.files = files
        self.names = list(files)
        self.asked: list[str] = []

    async def send(self, receiver: Receiver) -> None:
        async def answer() -> None:
            async for packet in each(receiver):
                kind, number, _, _ = wire.parse(memoryview(packet))
                if kind == wire.REQ:
                    name = self.names[number]
                    self.asked.append(name)
                    content = self.files[name]
                    assert isinstance(content, bytes)
                    for at in range(0, len(content), 32_768):
                        await receiver.feed(wire.encode(wire.DATA, number, content[at : at + 32_768]))
                    await receiver.feed(wire.encode(wire.DATA, number))
                elif kind == wire.FIN:
                    await receiver.feed(wire.encode(wire.FIN))
                    await receiver.end()

        answering = asyncio.ensure_future(answer())
        for name, content in self.files.items():
            if content is None:
                await receiver.feed(told(name, 1 << 31 | 0o755))
            elif isinstance(content, str):
                await receiver.feed(told(name, 1 << 27 | 0o777, len(content), content))
            else:
                await receiver.feed(told(name, 0o644, len(content)))
        await receiver.feed(b"")
        await answering


def received(kit: Kit, client: Client, key: str = "k", **options: Any) -> Context:
    async def run() -> Context:
        receiver = await kit.builder.contexts.receive("context", key, **options)
        try:
            await client.send(receiver)
            context: Context = await receiver.context()
            return context
        finally:
            await receiver.close()

    return kit.run(run())


def test_a_session_sends_only_what_has_changed(kit: Kit) -> None:
    files: dict[str, bytes | str | None] = {
        "a": b"one", "d": None, "d/big": os.urandom(500_000), "l": "d/big", "z": b"",
    }  # fmt: skip
    first = Client(files)
    context = received(kit, first)
    assert first.asked == ["a", "d/big", "z"] and (context.data / "d/big").read_bytes() == files["d/big"]
    assert context.index.stat().st_size == 3 * 64
    beside = received(kit, Client({"other": b"x"}))  # while it is in use another one is made
    assert beside.folder != context.folder
    kit.run(beside.close())
    kit.run(context.close())
    second = Client({"a": b"two!", "d": None, "d/big": files["d/big"], "e": b"new"})
    again = received(kit, second)
    assert again.folder == context.folder and second.asked == ["a", "e"]
    assert sorted(read(again.data)) == ["a", "d", "d/big", "e"] and again.index.stat().st_size == 3 * 64
    kit.run(again.close())
    third = Client({"a": b"2222"})  # as long and as old as before: asked for only when it must be
    kit.run(received(kit, third).close())
    assert third.asked == []
    kit.run(received(kit, third, always=True).close())
    assert third.asked == ["a"]
    record = kit.cache.records[context.folder.name]
    assert record.uses == 4 and not record.users and record.type == "source.local" and record.size
    assert record.description == "local source for context"
    kit.cache.remove([record])
    kit.storage.settle()
    assert not context.folder.exists()


def test_files_are_written_over_and_nothing_of_the_old_stays(kit: Kit) -> None:
    old: dict[str, bytes | str | None] = {
        "long": b"0123456789", "shared": b"was", "short": b"0", "told": b"of",
    }  # fmt: skip
    context = received(kit, Client(old))
    kit.run(context.close())
    outside = context.folder / "outside"
    os.link(context.data / "shared", outside)
    os.setxattr(context.data / "told", "user.note", b"old")
    inode = (context.data / "long").stat().st_ino
    new: dict[str, bytes | str | None] = {
        "long": b"abc", "shared": b"other", "short": b"A" * 300_000, "told": b"",
    }  # fmt: skip
    again = received(kit, Client(new))
    assert {name: (again.data / name).read_bytes() for name in new} == new
    assert (again.data / "long").stat().st_ino == inode and outside.read_bytes() == b"was"
    assert os.listxattr(again.data / "told") == []
    assert (again.data / "short").stat().st_mode & 0o7777 == 0o644
    outside.unlink()
    kit.run(again.close())


def test_folders_links_and_files_take_each_others_place(kit: Kit) -> None:
    kit.run(received(kit, Client({"x": None, "x/y": b"1", "z": "x"}), "swap").close())
    context = received(kit, Client({"x": b"file", "z": None, "z/q": b"2"}), "swap")
    assert (context.data / "x").read_bytes() == b"file" and (context.data / "z/q").read_bytes() == b"2"
    kit.run(context.close())


@pytest.mark.parametrize(
    ("packets", "text"),
    [
        ([told("../x", 0o644)], "changes out of order"),
        ([told("/x", 0o644)], "invalid argument"),
        ([told("a/..", 0o644)], "invalid argument"),
        ([told("b", 0o644), told("a", 0o644)], "changes out of order"),
        ([told("a", 0o644), told("a", 0o644)], "changes out of order"),
        ([told("l", 1 << 27 | 0o777, 1, "/"), told("l/x", 0o644)], "changes out of order"),
        ([told("h", 0o644, link="../../../etc/passwd")], "failed to link h to ../../../etc/passwd"),
        (
            [told("l", 1 << 27 | 0o777, 4, "/etc"), told("z", 0o644, link="l/passwd")],
            "failed to link z to l/passwd",
        ),
        ([wire.encode(wire.DATA, 7, b"x")], "invalid file request 7"),
        ([wire.encode(wire.ERR, 0, b"no access")], "error from sender: no access"),
        ([b"\xff\xff\xff"], "unexpected EOF"),
    ],
)
def test_a_hostile_session(kit: Kit, packets: list[bytes], text: str) -> None:
    async def run() -> tuple[str, bytes]:
        receiver = await kit.builder.contexts.receive("context", "hostile")
        try:
            for packet in packets:
                await receiver.feed(packet)
            last = [packet async for packet in each(receiver)][-1]
            with pytest.raises(EngineError) as raised:
                await receiver.context()
            return raised.value.message, last
        finally:
            await receiver.close()

    message, last = kit.run(run())
    kind, _, _, data = wire.parse(memoryview(last))
    assert text in message and kind == wire.ERR and bytes(data).decode() == message
    assert not [
        record for record in kit.cache.records.values() if record.key.startswith("local:context:hostile")
    ]


def test_a_session_that_ends_early(kit: Kit) -> None:
    async def run() -> None:
        receiver = await kit.builder.contexts.receive("context", "early")
        await receiver.feed(told("a", 0o644, 5))
        await receiver.end()
        with pytest.raises(EngineError, match="unexpected EOF"):
            await receiver.context()
        await receiver.close()
        receiver = await kit.builder.contexts.receive("context", "early")
        await receiver.close()  # nothing was sent at all

    kit.run(run())
