"""The server on `metrics-addr`: which paths there are, and who may see them."""

import asyncio
import base64
import hashlib
import ipaddress
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from compatd.engine.engine import Engine
from compatd.http.listeners import listen
from compatd.http.plain import NOT_FOUND, Page, PlainServer
from compatd.status import metrics
from compatd.status.snapshot import Snapshots
from compatd.status.text import CONTENT_TYPE

log = logging.getLogger(__name__)

_BEAT = 15.0
"""Seconds after which a silent stream of events says that it is alive."""

_LAST_PORT = 65535

_STRICT = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class StatusError(Exception):
    """The address cannot be listened on."""


class Status:
    """`/metrics` for everybody who reaches the address; page, status and events where it is loopback.

    Nobody is asked who they are there, so with `access` rules there is no page.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._server = PlainServer(self.answer)
        self._snapshots = Snapshots(engine)
        self._page, self._policy = _load_page()
        self.with_page = False

    async def start(self, address: str) -> None:
        """Listen on `host:port`. Raises StatusError with dockerd's text."""
        failed = "failed to start metrics server"
        host, colon, port = address.rpartition(":")
        if not colon:
            raise StatusError(
                f"{failed}: error parsing tcp address: address {address}: missing port in address"
            )
        if not port.isdecimal() or int(port) > _LAST_PORT:
            raise StatusError(f"{failed}: listen tcp: address {port}: invalid port")
        try:
            sockets = listen(f"tcp://{host}:{int(port)}")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise StatusError(f"{failed}: {why}") from None
        self.with_page = all(_is_loopback(str(sock.getsockname()[0])) for sock in sockets)
        await self._server.start(sockets)
        log.info("Metrics are served", extra={"fields": {"address": address, "page": self.with_page}})

    async def stop(self) -> None:
        """End all streams."""
        await self._server.stop()

    async def answer(self, path: str, headers: Mapping[str, str]) -> Page:
        """The page at `path`."""
        if path == "/metrics":
            process = await asyncio.to_thread(metrics.of_process)
            return Page(metrics.render(self._engine, process), CONTENT_TYPE)
        if not self.with_page or self._engine.config.access:  # rules may keep users from others' containers
            return NOT_FOUND
        if not _is_own(headers):
            return Page(b"this page is for browsers on this machine only\n", status=403, headers=_STRICT)
        if path == "/":
            policy = {"Content-Security-Policy": self._policy}
            return Page(self._page, "text/html; charset=utf-8", headers={**_STRICT, **policy})
        if path == "/status.json":
            body = json.dumps(await self._snapshots.get()).encode()
            return Page(body, "application/json", headers=_STRICT)
        if path == "/events":
            return Page(self._events(), "text/event-stream", headers=_STRICT)
        return NOT_FOUND

    async def _events(self) -> AsyncIterator[bytes]:
        """Server-sent events: type, action, ID, name and image of what happens from now on."""
        with self._engine.events.subscribe({}) as events:
            yield b": here\n\n"
            iterator = aiter(events)
            coming = asyncio.ensure_future(anext(iterator))
            try:
                while True:
                    done, _ = await asyncio.wait({coming}, timeout=_BEAT)
                    if not done:
                        yield b": still here\n\n"
                        continue
                    event = coming.result()
                    coming = asyncio.ensure_future(anext(iterator))
                    actor = event["Actor"]
                    shown = {
                        "type": event["Type"],
                        "action": event["Action"],
                        "id": actor["ID"],
                        "name": actor["Attributes"].get("name", ""),
                        "time": event["time"],
                    }
                    yield b"data: " + json.dumps(shown).encode() + b"\n\n"
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)


def _load_page() -> tuple[bytes, str]:
    """The page, and a policy that lets nothing but its own style and script do anything."""
    page = (Path(__file__).parent / "page.html").read_bytes()
    sources = {}
    for tag in ("style", "script"):
        found = re.search(rb"<%s>(.*?)</%s>" % (tag.encode(), tag.encode()), page, re.DOTALL)
        assert found is not None
        sources[tag] = base64.b64encode(hashlib.sha256(found[1]).digest()).decode()
    rules = (
        "default-src 'none'",
        f"style-src 'sha256-{sources['style']}'",
        f"script-src 'sha256-{sources['script']}'",
        "connect-src 'self'",
        "img-src data:",  # the empty icon, so that no browser asks for one
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
    return page, "; ".join(rules)


def _is_own(headers: Mapping[str, str]) -> bool:
    """Whether the browser means us: by an address or localhost, not by a name that somebody gave our address.

    Else any site could read the page by a name of its own that resolves to 127.0.0.1 (DNS rebinding).
    """
    name = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return False
    return name == "localhost" or _is_loopback(name.strip("[]"))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
