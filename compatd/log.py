"""The daemon's own log: dockerd's text lines on stderr, coloured on a terminal, JSON ones, or the journal.

Fields beside the message are given as `extra={"fields": {…}}`; an exception shows as the field `error`.
"""

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from typing import Any

_TRACE = 5
_LEVELS = {
    "trace": _TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
}
_NAMES = {
    _TRACE: "trace",
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "fatal",
}
_COLOURS = {"trace": 37, "debug": 37, "warning": 33, "error": 31, "fatal": 31}
_BARE = re.compile(r"[A-Za-z0-9\-._/@^+]*\Z")
"""Values that logrus writes without quotes."""

_CONTAINER = re.compile(r"\bcontainer ([0-9a-f]{64})\b")
_PRIORITIES = {"trace": 7, "debug": 7, "info": 6, "warning": 4, "error": 3, "fatal": 2}  # syslog(3)


def _stamp(record: logging.LogRecord) -> str:
    nanoseconds = int(record.created * 1e9)
    moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 1_000_000_000:09}Z"


def _level(record: logging.LogRecord) -> str:
    return _NAMES.get(record.levelno, "info")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = dict(getattr(record, "fields", None) or {})
    if record.exc_info:
        fields["error"] = logging.Formatter().formatException(record.exc_info)
    return dict(sorted(fields.items()))


class TextFormatter(logging.Formatter):
    """`time="…" level=info msg="…" field=value`, one line whatever the message holds."""

    def format(self, record: logging.LogRecord) -> str:
        """As logrus does away from a terminal."""
        line = f'time="{_stamp(record)}" level={_level(record)} msg={_value(record.getMessage())}'
        return line + "".join(f" {name}={_value(value)}" for name, value in _fields(record).items())


class TerminalFormatter(logging.Formatter):
    """`INFO[2024-01-31T…Z] message   field=value`, coloured."""

    def format(self, record: logging.LogRecord) -> str:
        """As logrus does on a terminal."""
        level = _level(record)
        colour = _COLOURS.get(level, 36)
        text = record.getMessage().rstrip("\n")
        line = f"\x1b[{colour}m{level.upper()[:4]}\x1b[0m[{_stamp(record)}] {text:<44} "
        for name, value in _fields(record).items():
            line += f" \x1b[{colour}m{name}\x1b[0m={_value(value)}"
        return line


class JSONFormatter(logging.Formatter):
    """One JSON object a line: fields, level, msg, time."""

    def format(self, record: logging.LogRecord) -> str:
        """Keys in order, as Go's encoder writes a map."""
        entry = {
            **_fields(record),
            "level": _level(record),
            "msg": record.getMessage(),
            "time": _stamp(record),
        }
        return json.dumps(dict(sorted(entry.items())), ensure_ascii=False, separators=(",", ":"), default=str)


class JournalHandler(logging.Handler):
    """Entries with a priority and fields of their own; the message is the text line, for those who grep."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        from systemd import journal

        self._send = journal.send
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """To the journal, or to stderr when it does not take the entry."""
        fields = {_journal_name(name): str(value) for name, value in _fields(record).items()}
        line = self.format(record)
        try:
            self._send(
                line,
                PRIORITY=_PRIORITIES[_level(record)],
                SYSLOG_IDENTIFIER="dockerd",
                DOCKERD_MESSAGE=record.getMessage(),
                DOCKERD_LOGGER=record.name,
                CODE_FILE=record.pathname,
                CODE_LINE=record.lineno,
                CODE_FUNC=record.funcName or "",
                **_about(record.getMessage()),
                **fields,
            )
        except OSError:
            print(line, file=sys.stderr)


def _about(message: str) -> dict[str, str]:
    """The container that a message is about, by the names that Docker's log driver for the journal has."""
    found = _CONTAINER.search(message)
    return {"CONTAINER_ID": found[1][:12], "CONTAINER_ID_FULL": found[1]} if found else {}


def _journal_name(name: str) -> str:
    return "DOCKERD_" + re.sub(r"[^A-Z0-9_]", "_", name.upper())


def _value(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if _BARE.match(text) else json.dumps(text, ensure_ascii=False)


def set_up(level: str, form: str, *, raw: bool = False) -> None:
    """Send all log records of `level` (dockerd's names) and above to stderr or the journal.

    form: `text` or `json`; raw: no colours on a terminal.
    """
    root = logging.getLogger()
    root.handlers[:] = [_handler(form, raw)]
    set_level(level)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def set_level(level: str) -> None:
    """Change what is logged from now on."""
    logging.getLogger().setLevel(_LEVELS[level.lower()])


def _handler(form: str, raw: bool) -> logging.Handler:
    formatter: logging.Formatter = JSONFormatter() if form == "json" else TextFormatter()
    if _in_journal():
        try:
            return JournalHandler(formatter)
        except ImportError:
            pass
    if form != "json" and not raw and sys.stderr.isatty():
        formatter = TerminalFormatter()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    return handler


def _in_journal() -> bool:
    """Whether stderr goes to the journal (systemd.exec(5), JOURNAL_STREAM)."""
    told = os.environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return told == f"{status.st_dev}:{status.st_ino}"
