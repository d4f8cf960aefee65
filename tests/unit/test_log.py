"""The daemon's log lines."""

import json
import logging

from compatd.log import JSONFormatter, TextFormatter


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
