"""What each driver sends: bytes as its protocol's servers read them."""

import base64
import gzip
import json
import re
import socket
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.logs import gelf, msgpack
from runtime.logs.channel import Channel
from runtime.logs.fluentd import Fluentd
from runtime.logs.gelf import Gelf
from runtime.logs.journald import Journald, rfc3339, send_file
from runtime.logs.messages import Message
from runtime.logs.syslog import Syslog
from runtime.shim.loop import Loop
from tests.unit.logs.logkit import serving, turn_until

OUT = Message(1, b"out <&> \xff", 1_700_000_000_123_456_789)
ERR = Message(2, b"err", 1_700_000_000_000_000_000)
PIECE = Message(1, b"piece", 1_700_000_000_000_000_000, ("ab12", 2, False))


def syslog(format: str = "", network: str = "udp", facility: int = 3) -> Syslog:
    server = {"network": network, "address": "127.0.0.1:514"}
    return Syslog({"server": server, "tag": "tag", "facility": facility, "format": format})


HOST = re.escape(__import__("os").uname().nodename)
ZONE = r"(Z|[+-]\d\d:\d\d)"


@pytest.mark.parametrize(
    ("format", "pattern"),
    [
        ("", r"<30>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d tag\[\d+\]: "),
        ("rfc3164", rf"<30>[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d {HOST} tag\[\d+\]: "),
        ("rfc5424", rf"<30>1 \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d{ZONE} {HOST} tag \d+ tag - "),
        ("rfc5424micro", rf"<30>1 \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}{ZONE} {HOST} tag \d+ tag - "),
    ],
)
def test_syslog_formats(format: str, pattern: str) -> None:
    (data,) = syslog(format).encode(OUT)
    assert re.fullmatch(pattern.encode() + re.escape(OUT.line) + b"\n", data), data


def test_syslog_priorities() -> None:
    assert syslog().encode(ERR)[0].startswith(b"<27>")
    assert syslog(facility=16).encode(ERR)[0].startswith(b"<131>")
    assert syslog().encode(Message(1, b"", 0)) == []


def test_syslog_over_tls_counts() -> None:
    (data,) = syslog("rfc5424", "tcp+tls").encode(ERR)
    size, _, rest = data.partition(b" ")
    assert int(size) == len(rest)


def make_gelf(network: str = "udp", **more: Any) -> Gelf:
    return Gelf({"server": {"network": network}, "extra": {"_tag": "t<", "_b": "1"}, **more})


@pytest.mark.parametrize(
    ("kind", "unpack"),
    [("gzip", gzip.decompress), ("zlib", zlib.decompress), ("none", bytes)],
)
def test_gelf_datagrams(kind: str, unpack: Callable[[bytes], bytes]) -> None:
    (data,) = make_gelf(compression=kind, level=1).encode(OUT)
    assert json.loads(unpack(data)) == {
        "version": "1.1",
        "host": socket.gethostname(),
        "short_message": "out <&> \ufffd",
        "timestamp": 1700000000.123,
        "level": 6,
        "_b": "1",
        "_tag": "t<",
    }


def test_gelf_over_tcp_ends_with_a_zero() -> None:
    (data,) = make_gelf("tcp").encode(ERR)
    assert data.endswith(b"}\0") and json.loads(data[:-1])["level"] == 3
    assert b'"timestamp":1700000000,' in data


def test_gelf_chunks() -> None:
    import os

    line = os.urandom(9000).hex().encode()
    datagrams = make_gelf(compression="none").encode(Message(1, line, 0))
    assert len(datagrams) > 2 and max(map(len, datagrams)) <= 1420
    heads = [(d[:2], d[2:10], d[10], d[11]) for d in datagrams]
    assert {h[0] for h in heads} == {b"\x1e\x0f"} and len({h[1] for h in heads}) == 1
    assert [h[2] for h in heads] == list(range(len(datagrams)))
    assert {h[3] for h in heads} == {len(datagrams)}
    assert json.loads(b"".join(d[12:] for d in datagrams))["short_message"].encode() == line
    assert len(gelf.chunks(b"x" * 1420)) == 1
    assert [len(c) for c in gelf.chunks(b"x" * 2816)] == [1420, 1420]
    assert gelf.chunks(b"x" * 1408 * 129) == []


def unpack_fluentd(data: bytes) -> list[Any]:
    """A reader of the little MessagePack that is written, by the specification."""
    position = 0

    def take(count: int) -> bytes:
        nonlocal position
        position += count
        return data[position - count : position]

    def value() -> Any:
        kind = take(1)[0]
        if kind & 0xF0 == 0x80:
            return {value(): value() for _ in range(kind & 0xF)}
        if kind & 0xF0 == 0x90:
            return [value() for _ in range(kind & 0xF)]
        if kind & 0xE0 == 0xA0:
            return take(kind & 0x1F)
        if kind in (0xD9, 0xDA, 0xDB):
            return take(int.from_bytes(take({0xD9: 1, 0xDA: 2, 0xDB: 4}[kind]), "big"))
        if kind == 0xD3:
            return int.from_bytes(take(8), "big", signed=True)
        if kind == 0xD7:
            assert take(1) == b"\0"
            return (int.from_bytes(take(4), "big"), int.from_bytes(take(4), "big"))
        if kind == 0xDE:
            return {value(): value() for _ in range(int.from_bytes(take(2), "big"))}
        raise AssertionError(hex(kind))

    found = []
    while position < len(data):
        found.append(value())
    return found


def fluentd(**more: Any) -> Fluentd:
    record = {"container_id": "c" * 64, "container_name": "/name"}
    return Fluentd({"server": {"network": "tcp"}, "tag": "tag", "record": record, **more})


def test_fluentd_messages() -> None:
    ((tag, when, record, option),) = unpack_fluentd(b"".join(fluentd().encode(OUT)))
    assert (tag, when, option) == (b"tag", 1_700_000_000, {})
    assert record == {
        b"source": b"stdout",
        b"log": OUT.line,
        b"container_id": b"c" * 64,
        b"container_name": b"/name",
    }
    ((_, when, record, _),) = unpack_fluentd(b"".join(fluentd(precise=True).encode(PIECE)))
    assert when == (1_700_000_000, 0)
    assert {name: record[name] for name in record if name.startswith(b"partial")} == {
        b"partial_message": b"true",
        b"partial_id": b"ab12",
        b"partial_ordinal": b"2",
        b"partial_last": b"false",
    }


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 65535, 65536])
def test_msgpack_texts(size: int) -> None:
    assert unpack_fluentd(msgpack.text(b"x" * size)) == [b"x" * size]
    pairs = [(b"%d" % n, b"v") for n in range(20)]
    assert unpack_fluentd(msgpack.mapping(pairs)) == [dict(pairs)]


def test_fluentd_sends_again_what_was_not_acknowledged(tmp_path: Path) -> None:
    loop = Loop()
    with serving("unix", tmp_path) as server:
        driver = fluentd(ack=True)
        channel = Channel(loop, server.options, limit=1_000_000, lossy=False)
        driver.use(channel)
        channel.open()
        for message in (OUT, ERR):
            channel.send(driver.encode(message)[0])
        turn_until(loop, lambda: server.has(b"err"))
        first, second = unpack_fluentd(server.text)
        assert base64.b64decode(first[3][b"chunk"])
        assert server.peer is not None
        server.peer.send(b"\x81\xa3ack" + msgpack.text(first[3][b"chunk"]))
        turn_until(loop, lambda: len(driver._sent) == 1)
        server.hang_up()
        server.got.clear()
        turn_until(loop, lambda: server.has(b"err"))
        assert unpack_fluentd(server.text) == [second]
        server.peer.send(msgpack.mapping([(b"ack", second[3][b"chunk"])]))
        channel.close(until=driver.settled)
        assert driver.settled() and channel.dropped == 0


def test_a_server_that_never_acknowledges_costs_no_memory_without_end() -> None:
    driver = fluentd(ack=True, buffer=1000)
    sent = [bool(driver.encode(Message(1, b"x" * 400, 0))) for _ in range(10)]
    assert sent == [True] * 2 + [False] * 8


def test_journal_entries(tmp_path: Path) -> None:
    driver = Journald({"server": {}, "fields": {"CONTAINER_NAME": "n", "LABEL": "two\nlines"}})
    (data,) = driver.encode(ERR)
    assert b"PRIORITY=3\nMESSAGE=err\nCONTAINER_NAME=n\n" in data
    assert b"LABEL\n" + (9).to_bytes(8, "little") + b"two\nlines\n" in data
    assert b"SYSLOG_TIMESTAMP=2023-11-14T22:13:20Z\nCONTAINER_LOG_ORDINAL=1\n" in data
    assert b"CONTAINER_PARTIAL" not in data
    (data,) = driver.encode(PIECE)
    assert b"CONTAINER_PARTIAL_ID=ab12\nCONTAINER_PARTIAL_ORDINAL=2\nCONTAINER_PARTIAL_LAST=false\n" in data
    assert data.endswith(b"CONTAINER_PARTIAL_MESSAGE=true\n") and b"CONTAINER_LOG_ORDINAL=2\n" in data
    assert rfc3339(1_120_000_000) == b"1970-01-01T00:00:01.12Z"


def test_a_journal_entry_that_fits_no_datagram_goes_in_a_file(tmp_path: Path) -> None:
    import os

    loop = Loop()
    with serving("unixgram", tmp_path) as server:
        channel = Channel(loop, server.options, limit=10_000_000, lossy=False)
        channel.oversized = send_file
        channel.open()
        big = b"MESSAGE=" + b"x" * 2_000_000 + b"\n"
        channel.send(big)
        server.sock.settimeout(10)
        _, fds, _, _ = socket.recv_fds(server.sock, 10, 1)
        with os.fdopen(fds[0], "rb") as file:
            file.seek(0)
            assert file.read() == big
        channel.close()
