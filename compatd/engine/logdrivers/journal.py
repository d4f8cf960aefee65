"""Reading a container's entries from the journal, by `journalctl`'s export format.

The format (systemd's JOURNAL_EXPORT_FORMATS): fields `NAME=value`, or for values with line breaks the name,
the size in 8 bytes (little endian) and the value; an empty line ends an entry.
"""

import asyncio
import contextlib
import dataclasses
import shutil
import time
from collections.abc import AsyncIterator
from typing import Any

from compatd.engine.containers.logentries import Converter, LogQuery, moment_key

_STREAMS = {b"3": b"err", b"6": b"out"}
_OURS = {
    "MESSAGE", "MESSAGE_ID", "PRIORITY", "CODE_FILE", "CODE_LINE", "CODE_FUNC", "ERRNO", "SYSLOG_FACILITY",
    "SYSLOG_IDENTIFIER", "SYSLOG_PID", "SYSLOG_TIMESTAMP", "CONTAINER_NAME", "CONTAINER_ID",
    "CONTAINER_ID_FULL", "CONTAINER_TAG", "IMAGE_NAME", "CONTAINER_PARTIAL_ID", "CONTAINER_PARTIAL_ORDINAL",
    "CONTAINER_PARTIAL_LAST", "CONTAINER_PARTIAL_MESSAGE", "CONTAINER_LOG_EPOCH", "CONTAINER_LOG_ORDINAL",
}  # fmt: skip


def readable() -> bool:
    """Whether there is a journalctl to read with; otherwise the journal's entries are cached in a file."""
    return shutil.which("journalctl") is not None


def command(container_id: str, query: LogQuery, *, follow: bool) -> list[str]:
    """The journalctl to run for a query."""
    words = ["journalctl", "--output=export", "--all", "--quiet", f"CONTAINER_ID_FULL={container_id}"]
    if query.tail >= 0:
        words.append(f"--lines={query.tail}")
    else:
        words.append("--no-tail" if follow else "--lines=all")
    if query.since > 0:
        words.append(f"--since=@{query.since // 1_000_000_000}.{query.since // 1000 % 1_000_000:06}")
    if query.until:
        words.append(f"--until=@{query.until // 1_000_000_000}.{query.until // 1000 % 1_000_000:06}")
    return [*words, "--follow"] if follow else words


async def read(
    container_id: str,
    query: LogQuery,
    *,
    framed: bool,
    ended: "asyncio.Future[tuple[int, str]] | None",
) -> AsyncIterator[bytes]:
    """Pieces of the answer; with `ended` they go on until that is done, and all of before is told."""
    converter = JournalConverter(query, framed=framed)
    began = time.time_ns()
    async for piece in _run(command(container_id, query, follow=ended is not None), converter, ended):
        yield piece
    if ended is None or converter.done:
        return
    # What journald has been sent and has not stored yet, and what the follower has not seen of it.
    async for _ in _run(["journalctl", "--sync"], converter, None):
        pass
    rest = dataclasses.replace(query, tail=-1, since=query.since or (began if query.tail == 0 else 0))
    words = command(container_id, rest, follow=False)
    if converter.cursor:
        words = [word for word in words if not word.startswith("--since=")]
        words.append(f"--after-cursor={converter.cursor}")
    converter.forget_rest()
    async for piece in _run(words, converter, None):
        yield piece


async def _run(
    words: list[str], converter: "JournalConverter", ended: "asyncio.Future[tuple[int, str]] | None"
) -> AsyncIterator[bytes]:
    """What the converter makes of a program's output, until its end or `ended`."""
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    reading: asyncio.Future[bytes] | None = None
    try:
        while not converter.done:
            reading = reading or asyncio.ensure_future(process.stdout.read(1 << 20))
            waited: set[asyncio.Future[Any]] = {reading} if ended is None else {reading, ended}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return
            data = reading.result()
            reading = None
            if not data:
                return
            if piece := converter.feed(data):
                yield piece
    finally:
        if reading is not None:
            reading.cancel()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class JournalConverter(Converter):
    """As Converter, for exported entries in any pieces."""

    _rest = b""
    cursor = ""
    """Of the last entry that was fed."""

    def forget_rest(self) -> None:
        """The rest of an entry that was cut off will not come."""
        self._rest = b""

    def feed(self, lines: bytes) -> bytes:
        """Any piece of an export; what is not whole is kept."""
        out: list[bytes] = []
        entries, self._rest = parse(self._rest + lines)
        for fields in entries:
            self.cursor = fields.get("__CURSOR", b"").decode("ascii", "replace")
            if "MESSAGE" not in fields or fields.get("PRIORITY", b"") not in _STREAMS:
                continue
            text = fields["MESSAGE"]
            if fields.get("CONTAINER_PARTIAL_MESSAGE") != b"true":
                text += b"\n"
            attrs = {
                name: value.decode("utf-8", "replace")
                for name, value in fields.items()
                if not name.startswith("_") and name not in _OURS
            }
            key = moment_key(int(fields.get("__REALTIME_TIMESTAMP", b"0")) * 1000)
            if not self._take(out, _STREAMS[fields["PRIORITY"]], text, key, attrs):
                break
        return b"".join(out)


def parse(data: bytes) -> tuple[list[dict[str, bytes]], bytes]:
    """Whole entries by field name, and what is left over."""
    entries: list[dict[str, bytes]] = []
    fields: dict[str, bytes] = {}
    position = start = 0
    while True:
        end = data.find(b"\n", position)
        if end < 0:
            return entries, data[start:]
        line = data[position:end]
        position = end + 1
        if not line:
            if fields:
                entries.append(fields)
                fields = {}
            start = position
            continue
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(data[position : position + 8], "little")
            if len(data) < position + 8 + size + 1:
                return entries, data[start:]
            value = data[position + 8 : position + 8 + size]
            position += 8 + size + 1
        fields[name.decode("ascii", "replace")] = value
