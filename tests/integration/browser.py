"""Chromium without a window, spoken to by its DevTools protocol over two pipes (--remote-debugging-pipe)."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SECONDS = 180.0


class Browser:
    """One tab; `complaints` are errors on its console: exceptions, failed loads, broken policies."""

    def __init__(self, prefix: list[str], profile: Path) -> None:
        program = shutil.which("chromium")
        assert program, "chromium is missing: run scripts/setup --test"
        there, self._write = os.pipe()
        self._read, back = os.pipe()
        script = 'exec "$@" 3<&"$IN" 4>&"$OUT"'
        self._process = subprocess.Popen(
            [
                *("bash", "-c", script, "bash", *prefix, program),
                *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
                *("--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"),
            ],
            env={**os.environ, "IN": str(there), "OUT": str(back), "HOME": str(profile)},
            pass_fds=[there, back],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(there)
        os.close(back)
        self._buffer, self._number, self._session = b"", 0, ""
        self.complaints: list[str] = []
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})
        self._session = attached["sessionId"]
        for name in ("Runtime", "Log", "Page"):
            self._call(f"{name}.enable", {})

    def _call(self, method: str, params: dict[str, Any]) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _SECONDS
        while True:
            answer = self._next(deadline)
            self._note(answer)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self, deadline: float) -> Any:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            assert left > 0, "the browser does not answer"
            if select.select([self._read], [], [], left)[0]:
                data = os.read(self._read, 1 << 20)
                assert data, "the browser has ended"
                self._buffer += data
        text, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(text)

    def _note(self, message: Any) -> None:
        params = message.get("params") or {}
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                self.complaints.append(json.dumps(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.complaints.append(json.dumps(params["entry"]))

    def open(self, url: str) -> None:
        """Go to a page."""
        found = self._call("Page.navigate", {"url": url})
        assert "errorText" not in found, found

    def run(self, script: str) -> Any:
        """The value of an expression in the page. Raises AssertionError when it fails."""
        found = self._call(
            "Runtime.evaluate", {"expression": script, "returnByValue": True, "awaitPromise": True}
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def close(self) -> None:
        """End the browser and all its processes; by itself it waits for its children."""
        with contextlib.suppress(AssertionError, OSError, subprocess.TimeoutExpired):
            self._session = ""
            self._call("Browser.close", {})
            self._process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait(60)
        os.close(self._read)
        os.close(self._write)


@contextlib.contextmanager
def a_browser(prefix: list[str]) -> Iterator[Browser]:
    """A browser started by the command `prefix` (`nsenter …`); it leaves nothing."""
    profile = Path(tempfile.mkdtemp(prefix="compatd-browser-"))
    found: Browser | None = None
    try:
        found = Browser(prefix, profile)
        yield found
    finally:
        if found is not None:
            found.close()
        shutil.rmtree(profile, ignore_errors=True)
