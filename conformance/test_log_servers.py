"""Log drivers with a server: what it gets, what `docker logs` gives back, and what a bad server does."""

import json
import re
import socket
import subprocess
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import netns
from conformance.engine import Engine
from conformance.logservers import SCRIPT, Server, config, run
from conformance.until import until

START, LOGS = "ContainerStart", "ContainerLogs"
MOMENT = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
ZONE = r"(?:Z|[+-]\d\d:\d\d)"


@pytest.fixture
def tcp() -> Iterator[Server]:
    server = Server(netns.listener())
    yield server
    server.close()


@pytest.fixture
def udp() -> Iterator[Server]:
    server = Server(netns.listener(kind=socket.SOCK_DGRAM))
    yield server
    server.close()


@pytest.mark.operation(LOGS)
@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("", rf"<(\d+)>{MOMENT} TAG\[\d+\]: (out|err)\n"),
        ("rfc3164", rf"<(\d+)>{MOMENT} \S+ TAG\[\d+\]: (out|err)\n"),
        ("rfc5424", rf"<(\d+)>1 {ISO}{ZONE} \S+ TAG \d+ TAG - (out|err)\n"),
        ("rfc5424micro", rf"<(\d+)>1 {ISO}\.\d{{6}}{ZONE} \S+ TAG \d+ TAG - (out|err)\n"),
    ],
)
def test_syslog_datagrams(engine: Engine, udp: Server, form: str, pattern: str) -> None:
    host = config("syslog", syslog_address=f"udp://127.0.0.1:{udp.port}", syslog_format=form, tag="TAG")
    ended = run(engine, host)
    until(lambda: len(udp.got) == 2)
    found = [re.fullmatch(pattern, data.decode()) for data in udp.got]
    # Nobody promises an order between the two streams.
    assert {(match[1], match[2]) for match in found if match} == {("30", "out"), ("27", "err")}, udp.got
    # Read back from the local cache.
    assert (ended.out, ended.err) == ("out\n", "err\n")
    assert engine.inspect(ended.id)["LogPath"] == ""


@pytest.mark.operation(LOGS)
def test_syslog_connections(engine: Engine, tcp: Server) -> None:
    host = config("syslog", syslog_address=f"tcp://127.0.0.1:{tcp.port}", syslog_facility="local7")
    ended = run(engine, host)
    until(lambda: tcp.text.count(b"\n") == 2)
    err, out = sorted(tcp.text.decode().splitlines())
    assert re.fullmatch(rf"<190>{MOMENT} {ended.id[:12]}\[\d+\]: out", out)
    assert re.fullmatch(rf"<187>{MOMENT} {ended.id[:12]}\[\d+\]: err", err)


@pytest.mark.operation(LOGS)
@pytest.mark.local
@pytest.mark.parametrize("kind", ["unix", "unixgram"])
def test_syslog_by_a_socket_in_the_file_system(engine: Engine, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if kind == "unix" else socket.SOCK_DGRAM)
    sock.bind(str(path))
    if kind == "unix":
        sock.listen()
    server = Server(sock)
    try:
        run(engine, config("syslog", syslog_address=f"{kind}://{path}"))
        until(lambda: server.text.count(b"\n") == 2)
        assert b": out\n" in server.text and b": err\n" in server.text
    finally:
        server.close()


@pytest.mark.operation(LOGS)
def test_gelf_datagrams(engine: Engine, udp: Server) -> None:
    host = config(
        "gelf", gelf_address=f"udp://127.0.0.1:{udp.port}", gelf_compression_type="zlib", labels="team"
    )
    ended = run(engine, host, Labels={"team": "blue"})
    until(lambda: len(udp.got) == 2)
    entries = [json.loads(zlib.decompress(data)) for data in udp.got]
    err, out = sorted(entries, key=lambda entry: str(entry["short_message"]))
    assert (out["short_message"], out["level"], err["short_message"], err["level"]) == ("out", 6, "err", 3)
    assert (out["version"], out["_container_id"], out["_tag"]) == ("1.1", ended.id, ended.id[:12])
    found = engine.inspect(ended.id)
    assert (out["_container_name"], out["_image_name"]) == (found["Name"][1:], engine.image)
    assert out["_image_id"] == found["Image"]
    assert out["_command"] == f"sh -c {SCRIPT}" and out["_team"] == "blue"
    assert abs(out["timestamp"] - time.time()) < 600 and "_created" in out


@pytest.mark.operation(LOGS)
def test_gelf_chunks(engine: Engine, udp: Server) -> None:
    host = config("gelf", gelf_address=f"udp://127.0.0.1:{udp.port}", gelf_compression_type="none")
    run(engine, host, "head -c 5000 /dev/zero | tr '\\0' x; echo")
    until(lambda: udp.got and len(udp.got) >= udp.got[0][11])
    assert all(data[:2] == b"\x1e\x0f" and len(data) <= 1420 for data in udp.got)
    parts = sorted(udp.got, key=lambda data: data[10])
    assert json.loads(b"".join(part[12:] for part in parts))["short_message"] == "x" * 5000


@pytest.mark.operation(LOGS)
def test_gelf_connections(engine: Engine, tcp: Server) -> None:
    run(engine, config("gelf", gelf_address=f"tcp://127.0.0.1:{tcp.port}"))
    until(lambda: tcp.text.count(b"\0") == 2)
    assert {json.loads(part)["short_message"] for part in tcp.text.split(b"\0")[:2]} == {"out", "err"}


def text_of(value: str) -> bytes:
    """A short str of MessagePack."""
    data = value.encode()
    return bytes((0xA0 | len(data),)) + data if len(data) < 32 else b"\xd9" + bytes((len(data),)) + data


@pytest.mark.operation(LOGS)
def test_fluentd(engine: Engine, tcp: Server) -> None:
    host = config("fluentd", fluentd_address=f"127.0.0.1:{tcp.port}", tag="docker.{{.Name}}", env="MODE")
    name = engine.name("fluent")
    ended = run(engine, host, name=name, Env=["MODE=test"])
    assert (ended.out, ended.err) == ("out\n", "err\n")
    until(lambda: all(text_of("log") + text_of(line) in tcp.text for line in ("out", "err")))
    # [tag, time, record, options]
    assert tcp.text.startswith(b"\x94" + text_of(f"docker.{name}"))
    for key, value in (
        ("log", "out"),
        ("source", "stdout"),
        ("source", "stderr"),
        ("container_id", ended.id),
        ("container_name", f"/{name}"),
        ("MODE", "test"),
    ):
        assert text_of(key) + text_of(value) in tcp.text, key


@pytest.mark.operation(START)
def test_fluentd_may_come_later(engine: Engine) -> None:
    port = netns.free_port()
    container = engine.run(
        "sh",
        "-c",
        "echo early; while [ ! -e /go ]; do sleep 0.05; done; echo late",
        host=config(
            "fluentd",
            fluentd_address=f"127.0.0.1:{port}",
            fluentd_async_connect="true",
            fluentd_retry_wait="100ms",
        )
        if not engine.at_least("1.42")
        else config(
            "fluentd", fluentd_address=f"127.0.0.1:{port}", fluentd_async="true", fluentd_retry_wait="100ms"
        ),
    )
    until(lambda: engine.logs(container)[0] == "early\n")
    server = Server(netns.listener(port=port))
    try:
        until(lambda: text_of("early") in server.text)
        engine.exec(container, "touch", "/go")
        until(lambda: text_of("late") in server.text)
    finally:
        server.close()


@pytest.mark.operation(LOGS)
def test_without_a_cache_there_is_nothing_to_read(engine: Engine, udp: Server) -> None:
    host = config("syslog", syslog_address=f"udp://127.0.0.1:{udp.port}", cache_disabled="true")
    container = engine.run("echo", "x", host=host)
    engine.wait(container)
    until(lambda: udp.got)
    answer = engine.wire.request("GET", f"/containers/{container}/logs", stdout=True)
    assert answer.status == 501
    assert answer.message == "configured logging driver does not support reading"


@pytest.mark.operation(LOGS)
def test_following_the_cache(engine: Engine, udp: Server) -> None:
    host = config("syslog", syslog_address=f"udp://127.0.0.1:{udp.port}")
    container = engine.run(
        "sh", "-c", "echo one; while [ ! -e /go ]; do sleep 0.05; done; echo two", host=host
    )
    with engine.wire.open("GET", f"/containers/{container}/logs", stdout=True, follow=True) as response:
        assert response.read(12) == b"\x01\0\0\0\0\0\0\x04one\n"
        engine.exec(container, "touch", "/go")
        assert response.read() == b"\x01\0\0\0\0\0\0\x04two\n"


@pytest.mark.operation(LOGS)
@pytest.mark.parametrize("mode", ["blocking", "non-blocking"])
def test_a_server_that_vanishes_is_not_the_containers_trouble(engine: Engine, mode: str) -> None:
    server = Server(netns.listener())
    host = config("syslog", syslog_address=f"tcp://127.0.0.1:{server.port}", mode=mode)
    script = "echo before; while [ ! -e /go ]; do sleep 0.05; done; seq 1 20000; echo done"
    container = engine.run("sh", "-c", script, host=host)
    until(lambda: b"before\n" in server.text)
    server.close()
    engine.exec(container, "touch", "/go")
    assert engine.wait(container) == 0


@pytest.mark.operation(LOGS)
@pytest.mark.parametrize("buffer", ["", "64k"])
def test_a_server_that_does_not_read_holds_no_lossy_container(engine: Engine, buffer: str) -> None:
    """More than sockets and buffer hold is written, and the program ends all the same."""
    sock = netns.listener()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    options = {"max_buffer_size": buffer} if buffer else {}
    try:
        host = config(
            "syslog",
            syslog_address=f"tcp://127.0.0.1:{sock.getsockname()[1]}",
            mode="non-blocking",
            cache_disabled="true",
            **options,
        )
        container = engine.run(
            "sh", "-c", "yes 0123456789abcdef | head -n 600000; touch /done; sleep 1000", host=host
        )
        until(lambda: engine.exec(container, "test", "-e", "/done").code == 0, seconds=60)
        assert engine.state(container)["Running"]
    finally:
        sock.close()


JOURNAL = Path("/run/systemd/journal/socket")


@pytest.mark.operation(START)
@pytest.mark.local
@pytest.mark.skipif(JOURNAL.exists(), reason="journald runs here")
def test_journald_that_is_not_there(engine: Engine) -> None:
    container = engine.create("true", host=config("journald"))
    answer = engine.wire.request("POST", f"/containers/{container}/start")
    assert answer.status == 500
    text = "failed to initialize logging driver: journald is not enabled on this host"
    assert answer.message.endswith(text)


@pytest.mark.operation(LOGS)
@pytest.mark.local
@pytest.mark.skipif(not JOURNAL.exists(), reason="no journald runs here")
def test_journald(engine: Engine) -> None:
    name = engine.name("journal")
    script = "echo one; sleep 0.3; head -c 20000 /dev/zero | tr '\\0' x; echo; echo err >&2"
    host = config("journald", labels="my.team", tag="{{.Name}}")
    container = engine.run("sh", "-c", script, name=name, host=host, Labels={"my.team": "blue"})
    engine.wait(container)
    expected = ("one\n" + "x" * 20000 + "\n", "err\n")
    until(lambda: engine.logs(container) == expected)
    assert engine.logs(container, tail="0") == ("", "")
    assert "MY_TEAM=blue one\n" in engine.logs(container, details=True)[0]
    assert engine.logs(container, since="4000000000") == ("", "")
    command = ["journalctl", "--all", "--output=json", f"CONTAINER_ID_FULL={container}"]
    lines = subprocess.run(command, check=True, capture_output=True).stdout.splitlines()
    entries = [json.loads(line) for line in lines]
    short = {entry["MESSAGE"]: entry["PRIORITY"] for entry in entries if len(entry["MESSAGE"]) == 3}
    assert short == {"one": "6", "err": "3"}
    first = entries[0]
    assert first["CONTAINER_NAME"] == first["CONTAINER_TAG"] == first["SYSLOG_IDENTIFIER"] == name
    assert (first["CONTAINER_ID"], first["MY_TEAM"]) == (container[:12], "blue")
    assert first["IMAGE_NAME"] == engine.image
    assert sum(entry.get("CONTAINER_PARTIAL_MESSAGE") == "true" for entry in entries) == 1


@pytest.mark.operation(LOGS)
@pytest.mark.local
@pytest.mark.skipif(not JOURNAL.exists(), reason="no journald runs here")
def test_following_journald(engine: Engine) -> None:
    script = "echo one; while [ ! -e /go ]; do sleep 0.05; done; echo two"
    container = engine.run("sh", "-c", script, host=config("journald"))
    until(lambda: engine.logs(container)[0] == "one\n")
    with engine.wire.open("GET", f"/containers/{container}/logs", stdout=True, follow=True) as response:
        assert response.read(12) == b"\x01\0\0\0\0\0\0\x04one\n"
        engine.exec(container, "touch", "/go")
        assert response.read() == b"\x01\0\0\0\0\0\0\x04two\n"
