"""The daemon's own log: dockerd's text lines on stderr, or JSON ones."""

import logging
import sys

import orjson

from compatd.engine.timestamps import rfc3339

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
_NAMES = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "fatal",
}


class TextFormatter(logging.Formatter):
    """`time="…" level=info msg="…"`, with the traceback as `error="…"` when there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        stamp = rfc3339(int(record.created * 1e9))
        line = f'time="{stamp}" level={_NAMES.get(record.levelno, "info")} msg={_quote(record.getMessage())}'
        if record.exc_info:
            line += f" error={_quote(self.formatException(record.exc_info))}"
        return line


class JSONFormatter(logging.Formatter):
    """One JSON object a line: level, msg, time, and error."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        entry = {
            "level": _NAMES.get(record.levelno, "info"),
            "msg": record.getMessage(),
            "time": rfc3339(int(record.created * 1e9)),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return orjson.dumps(entry).decode()


def _quote(text: str) -> str:
    return orjson.dumps(text).decode()


def set_up(level: str, form: str) -> None:
    """Send all log records of `level` (dockerd's names) and above to stderr, as `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    logging.getLogger("asyncio").setLevel(logging.WARNING)
