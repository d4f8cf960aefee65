"""The audit log: a JSON line when a request is decided, and one when it is answered."""

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any

log = logging.getLogger(__name__)

_MODE = 0o600


class Audit:
    """Lines into a file of root's; without a path there is none. What cannot be written is told once."""

    def __init__(self, path: str) -> None:
        """Raises OSError when the file cannot be opened."""
        self.path = path
        self._fd = -1
        self._failed = False
        self.reopen()

    def reopen(self) -> None:
        """The file anew, after somebody has moved it away. Raises OSError; the old one is written on then."""
        if not self.path:
            return
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
        self.close()
        self._fd = fd
        self._failed = False

    def close(self) -> None:
        """No more lines."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def write(self, event: str, fields: dict[str, Any]) -> None:
        """One line."""
        if self._fd < 0:
            return
        moment = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        line = json.dumps({"time": moment, "event": event, **fields}, ensure_ascii=False, default=str)
        try:
            os.write(self._fd, line.encode("utf-8", "replace") + b"\n")
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.error("audit log: %s", error)
            self._failed = True
