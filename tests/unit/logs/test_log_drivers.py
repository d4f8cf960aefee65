"""Logs of messages as the shim holds them: files, servers with a cache, and what fails."""

from pathlib import Path
from typing import Any

import pytest

from compatd.engine.containers.localentries import LocalConverter
from compatd.engine.containers.logentries import LogQuery
from compatd.engine.containers.logfiles import LogReader, Records
from runtime.logs.base import LogError
from runtime.logs.drivers import MessageLog
from runtime.logs.file import LogFile
from runtime.shim.log import open_log
from runtime.shim.loop import Loop
from tests.unit.logs.logkit import Server, serving, turn_until, unused_port


def local(path: Path, **more: Any) -> dict[str, Any]:
    return {"driver": "local", "path": str(path), "max_size": -1, "max_file": 1, "compress": False, **more}


def syslog(server: Server | dict[str, Any], **more: Any) -> dict[str, Any]:
    options = server if isinstance(server, dict) else server.options
    return {"driver": "syslog", "server": options, "tag": "t", "facility": 3, "format": "", **more}


def read(path: Path, tail: int = -1) -> bytes:
    reader = LogReader(path, tail, Records())
    out, converter = b"", LocalConverter(LogQuery(tail=tail), framed=False)
    while data := reader.read():
        out += converter.feed(data)
    reader.close()
    return out


def test_local_files(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    log = open_log(local(path), Loop())
    assert log is not None
    log.write(1, b"one\ntw")
    log.write(2, b"err\n")
    log.write(1, b"o\nrest")
    log.finish(1)
    log.close()
    log.close()
    assert read(path) == b"one\nerr\ntwo\nrest"
    assert path.stat().st_mode & 0o777 == 0o640


def test_local_files_rotate_between_records(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    log = open_log(local(path, max_size=500, max_file=3, compress=True), Loop())
    assert log is not None
    for number in range(100):
        log.write(1, b"line %d\n" % number)
    log.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "container.log",
        "container.log.1.gz",
        "container.log.2.gz",
    ]
    lines = read(path).splitlines()
    assert lines[-1] == b"line 99" and len(lines) > 20
    assert lines == [b"line %d" % n for n in range(100 - len(lines), 100)]
    assert read(path, tail=15) == b"".join(b"line %d\n" % n for n in range(85, 100))


def test_a_server_and_the_cache(tmp_path: Path) -> None:
    loop = Loop()
    with serving("udp", tmp_path) as server:
        log = open_log(syslog(server, cache=local(tmp_path / "cached.log")), loop)
        assert log is not None
        log.write(1, b"hello\n")
        turn_until(loop, lambda: server.has(b"hello\n"))
        log.close()
    assert read(tmp_path / "cached.log") == b"hello\n"


def test_without_a_server_there_is_no_log(tmp_path: Path) -> None:
    server = {"network": "tcp", "address": f"127.0.0.1:{unused_port()}"}
    with pytest.raises(LogError, match=r"^dial tcp 127\.0\.0\.1:\d+: connect: connection refused$"):
        open_log(syslog(server), Loop())
    server["failure"] = "wrapped: {}"
    with pytest.raises(LogError, match=r"^wrapped: dial tcp "):
        open_log(syslog(server), Loop())
    with pytest.raises(LogError, match="no log driver named 'x' is registered"):
        open_log({"driver": "x"}, Loop())


def test_an_async_server_may_come_later(tmp_path: Path) -> None:
    server = {"network": "tcp", "address": f"127.0.0.1:{unused_port()}", "async": True}
    log = open_log(syslog(server, cache=local(tmp_path / "cached.log")), Loop())
    assert log is not None
    log.write(1, b"x\n")
    assert not log.full
    log.close()
    assert read(tmp_path / "cached.log") == b"x\n"


def test_a_vanished_server_leaves_the_container_alone(tmp_path: Path) -> None:
    loop = Loop()
    server = Server("tcp", tmp_path)
    log = open_log(syslog(server, cache=local(tmp_path / "cached.log")), loop)
    assert isinstance(log, MessageLog)
    log.write(1, b"before\n")
    turn_until(loop, lambda: server.has(b"before\n"))
    server.close()
    for _ in range(400):
        log.write(1, (b"x" * 9999 + b"\n"))
        loop.turn(0)
    assert not log.full
    log.close()
    assert len(read(tmp_path / "cached.log")) == 7 + 400 * 10_000


def test_a_file_that_cannot_be_opened_at_a_rotation_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.log"
    file = LogFile(str(path), max_size=1, max_file=2)
    file.write(b"one\n")
    with monkeypatch.context() as patch:
        patch.setattr("os.open", lambda *arguments, **names: (_ for _ in ()).throw(OSError(28, "full")))
        for _ in range(2):
            with pytest.raises(OSError, match="full"):
                file.write(b"lost\n")
    file.write(b"two\n")
    file.close()
    assert path.read_bytes() == b"two\n"


def test_a_full_disk_is_no_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(local(tmp_path / "x.log"), Loop())
    assert isinstance(log, MessageLog)

    def fail(self: LogFile, records: list[bytes]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LogFile, "write_records", fail)
    log.write(1, b"x\n")
    log.close()
