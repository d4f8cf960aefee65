"""The daemon's log lines."""

import json
import logging
import os
import subprocess
import sys
from typing import Any

import pytest

from compatd import log
from compatd.log import JournalHandler, JSONFormatter, TerminalFormatter, TextFormatter


def _record(message: str, *args: object) -> logging.LogRecord:
    record = logging.LogRecord("compatd", logging.WARNING, __file__, 1, message, args, None)
    record.created = 1_795_454_383.5
    return record


def test_text_line_is_one_line() -> None:
    line = TextFormatter().format(_record('a "b"\n%s', "c"))
    assert line == 'time="2026-11-23T17:19:43.500000000Z" level=warning msg="a \\"b\\"\\nc"'


def test_json_line() -> None:
    assert json.loads(JSONFormatter().format(_record("x %d", 1))) == {
        "level": "warning",
        "msg": "x 1",
        "time": "2026-11-23T17:19:43.500000000Z",
    }


def test_errors_carry_their_traceback() -> None:
    record = _record("x")
    try:
        raise ValueError("why")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    assert "ValueError: why" in TextFormatter().format(record)
    assert "ValueError: why" in json.loads(JSONFormatter().format(record))["error"]


def test_fields_and_words_without_quotes() -> None:
    record = _record("done")
    record.fields = {"path": "/run/x.sock", "error": "no such file", "ok": True, "empty": ""}
    assert TextFormatter().format(record) == (
        'time="2026-11-23T17:19:43.500000000Z" level=warning msg=done '
        'empty= error="no such file" ok=true path=/run/x.sock'
    )
    assert json.loads(JSONFormatter().format(record))["ok"] is True
    assert (
        TerminalFormatter()
        .format(record)
        .startswith(
            "\x1b[33mWARN\x1b[0m[2026-11-23T17:19:43.500000000Z] done" + " " * 41 + " \x1b[33mempty\x1b[0m= "
        )
    )


def test_the_journal_gets_priority_and_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = pytest.importorskip("systemd.journal")
    sent: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(journal, "send", lambda message, **fields: sent.append((message, fields)))
    record = _record("x y")
    record.fields = {"config-file": "/etc/x"}
    JournalHandler(TextFormatter()).emit(record)
    message, fields = sent[0]
    assert 'level=warning msg="x y" config-file=/etc/x' in message
    assert (fields["PRIORITY"], fields["SYSLOG_IDENTIFIER"]) == (4, "dockerd")
    assert (fields["DOCKERD_MESSAGE"], fields["DOCKERD_CONFIG_FILE"]) == ("x y", "/etc/x")
    assert (fields["CODE_FILE"], fields["CODE_LINE"]) == (record.pathname, record.lineno)
    assert "CONTAINER_ID" not in fields
    record.msg, record.args = "killing container %s: %s", ("ab" * 32, "no")
    JournalHandler(TextFormatter()).emit(record)
    fields = sent[1][1]
    assert (fields["CONTAINER_ID"], fields["CONTAINER_ID_FULL"]) == ("ab" * 6, "ab" * 32)


def test_the_journal_is_known_by_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    assert log._in_journal()
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    assert not log._in_journal()


def test_a_terminal_gets_colours_unless_raw() -> None:
    script = (
        "import logging, sys; from compatd import log; log.set_up('info', 'text', raw=len(sys.argv) > 1); "
        "logging.getLogger().info('hello'); logging.getLogger().debug('no')"
    )
    for words, expected in (([], b"\x1b[36mINFO\x1b[0m["), (["raw"], b"level=info msg=hello")):
        leader, follower = os.openpty()
        subprocess.run([sys.executable, "-c", script, *words], stderr=follower, check=True, timeout=60)
        os.close(follower)
        shown = os.read(leader, 4096)
        os.close(leader)
        assert expected in shown
        assert b"no" not in shown.replace(b"now", b"")


@pytest.mark.parametrize("level", ["trace", "DEBUG", "info", "warn", "error", "fatal", "panic"])
def test_levels(level: str) -> None:
    before = logging.getLogger().level
    try:
        log.set_level(level)
    finally:
        logging.getLogger().setLevel(before)
