"""HTTP to one endpoint of a registry: authenticated, through proxies, with errors in Docker's words.

Credentials go to the endpoint itself and to nobody that it redirects to. aiohttp is imported only when a
registry is really asked.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from compatd import VERSION
from compatd.engine.errors import EngineError
from compatd.engine.images.registry.auth import Authenticator
from compatd.engine.images.registry.endpoints import Endpoint
from compatd.engine.images.registry.errors import Unreachable, from_response, from_scope
from compatd.engine.images.registry.proxies import proxy_for

Body = Callable[[], Any]
"""Makes a request's body (bytes, or an iterator of them) anew for each attempt."""

USER_AGENT = f"docker/{VERSION} go/go1.24 os/linux arch/amd64"
READ_TIMEOUT = 120.0
_MAX_REDIRECTS = 10
_MAX_ERROR = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)


class Http:
    """Requests to one endpoint. Close it after use (`async with`)."""

    def __init__(self, endpoint: Endpoint, auth: Authenticator, tls: Any = None) -> None:
        self.endpoint = endpoint
        self.auth = auth
        self.tls = tls
        self._session: Any = None

    async def __aenter__(self) -> "Http":
        import aiohttp

        if self.tls is None:
            self.tls = await asyncio.to_thread(self.endpoint.tls)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.tls, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, connect=60, sock_connect=30, sock_read=READ_TIMEOUT),
            # What is packed on the way would have another digest
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=1 << 15,
            max_field_size=1 << 15,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    def sibling(self) -> "Http":
        """Another one with connections of its own, and the same credentials."""
        return Http(self.endpoint, self.auth, self.tls)

    async def ping(self) -> None:
        """Ask whether this is a registry, and how it wants to be authenticated.

        Raises Unreachable when there is no HTTP on the other side, EngineError for other answers.
        """
        async with self._exchange("GET", f"{self.endpoint.url}/v2/", {}, None) as response:
            if response.status == 401:
                self.auth.challenge(_challenge(response))
            elif response.status >= 400 and response.status != 404:
                raise await _failure(response)

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        body: Body | None = None,
        scopes: Sequence[str] = (),
        missing: bool = False,
        answers: bool = False,
        name: str = "",
    ) -> AsyncIterator[Any]:
        """The response to an authenticated request, below 400 (or 404 with `missing`, or any with `answers`).

        `scopes` are asked for besides those of the authenticator; `name` is the request's in error texts.
        Raises EngineError.
        """
        name = name or f'{method.title()} "{url}"'
        ours = _origin(url) == _origin(self.endpoint.url)
        for attempt in (1, 2):
            sent = dict(headers or {})
            if ours and (given := await self.auth.header(self, name, scopes)):
                sent["Authorization"] = given
            async with self._exchange(method, url, sent, body) as response:
                if response.status == 401 and ours and attempt == 1:
                    # A token that ran out, or a registry that asks only now
                    self.auth.challenge(_challenge(response))
                    self.auth.refused(sent.get("Authorization", ""))
                    continue
                fine = answers or response.status < 400 or (missing and response.status == 404)
                if not fine:
                    raise await _failure(response)
                yield response
                return

    @asynccontextmanager
    async def token_request(
        self,
        method: str,
        realm: str,
        *,
        headers: dict[str, str] | None = None,
        query: Sequence[tuple[str, str]] = (),
        form: dict[str, str] | None = None,
    ) -> AsyncIterator[Any]:
        """The token server's response, whatever its status."""
        import yarl

        url = str(yarl.URL(realm).extend_query(list(query))) if query else realm
        body = None if form is None else lambda: dict(form)
        async with self._exchange(method, url, headers or {}, body) as response:
            yield response

    @asynccontextmanager
    async def _exchange(
        self, method: str, url: str, headers: dict[str, str], body: Body | None
    ) -> AsyncIterator[Any]:
        """One request, with the redirects of a reading one followed."""
        import aiohttp
        import yarl

        try:
            for _ in range(_MAX_REDIRECTS):
                async with self._session.request(
                    method,
                    yarl.URL(url, encoded=True),
                    headers=headers,
                    data=body() if body else None,
                    proxy=proxy_for(url),
                    allow_redirects=False,
                ) as response:
                    target = response.headers.get("Location")
                    if method in ("GET", "HEAD") and response.status in _REDIRECTS and target:
                        url, before = urljoin(url, target), url
                        if not url.startswith(("http://", "https://")):
                            raise EngineError(f'{method.title()} "{url}": unsupported protocol scheme')
                        if _origin(url) != _origin(before):
                            headers = {k: v for k, v in headers.items() if k != "Authorization"}
                        continue
                    yield response
                    return
            raise EngineError(f'{method.title()} "{url}": stopped after {_MAX_REDIRECTS} redirects')
        except (aiohttp.ClientError, ssl.SSLError, TimeoutError, ConnectionError) as error:
            why = await asyncio.to_thread(reason, error, url)
            raise Unreachable(f'{method.title()} "{url}": {why}') from error


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _challenge(response: Any) -> str:
    return ", ".join(response.headers.getall("WWW-Authenticate", []))


async def _failure(response: Any) -> EngineError:
    body = b""
    while len(body) < _MAX_ERROR and (more := await response.content.read(_MAX_ERROR - len(body))):
        body += more
    retry_after = response.headers.get("Retry-After", "")
    error = from_response(response.status, body, reason=response.reason, retry_after=retry_after)
    return from_scope(_challenge(response), error) if response.status < 500 else error


# Errors in the words of Go's net, tls and x509 packages --------------------------------------------------

_UNKNOWN_AUTHORITY = (18, 19, 20, 21)
_EXPIRED = (9, 10)


def reason(error: Exception, url: str) -> str:
    """Why there is no answer. May look names up: not for the event loop."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _certificate(error.certificate_error, url)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error, url)
    text = str(error)
    if "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text:
        return "http: server gave HTTP response to HTTPS client"
    if "CERTIFICATE_REQUIRED" in text:
        return "remote error: tls: certificate required"
    if "ALERT_BAD_CERTIFICATE" in text:
        return "remote error: tls: bad certificate"
    if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError):
        return f"tls: {error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _dial(error, url)
    if isinstance(error, TimeoutError):
        return "net/http: request canceled (Client.Timeout exceeded while awaiting headers)"
    if isinstance(error, aiohttp.ClientResponseError):
        return "net/http: HTTP/1.x transport connection broken: malformed HTTP response"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return "unexpected EOF"
    return text or type(error).__name__


def _certificate(error: Any, url: str) -> str:
    code = getattr(error, "verify_code", 0)
    if code in _UNKNOWN_AUTHORITY:
        why = "certificate signed by unknown authority"
    elif code in _EXPIRED:
        why = "certificate has expired or is not yet valid"
    elif code in (62, 64):
        why = f"certificate is not valid for {urlsplit(url).hostname}"
    else:
        why = getattr(error, "verify_message", "") or str(error)
    return f"tls: failed to verify certificate: x509: {why}"


def _dial(error: Any, url: str) -> str:
    """A failed connection in the words of Go's net package."""
    cause = error.os_error
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if isinstance(cause, socket.gaierror):
        return f"dial tcp: lookup {parts.hostname} on {_nameserver()}: no such host"
    text = os.strerror(cause.errno).lower() if cause.errno else str(cause)
    if cause.errno in (errno.ETIMEDOUT, None) and "timed out" in text:
        return f"dial tcp {_numeric(parts.hostname or '', port)}: i/o timeout"
    if not cause.errno or cause.errno > 200:
        return str(cause)
    return f"dial tcp {_numeric(parts.hostname or '', port)}: connect: {text}"


def _numeric(host: str, port: int) -> str:
    """The numeric address that was dialled last: IPv4 where the name has one."""
    try:
        found = sorted({str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except OSError:
        found = []
    address = next((item for item in found if ":" not in item), found[0] if found else host)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _nameserver() -> str:
    try:
        for line in Path("/etc/resolv.conf").read_text("utf-8", "replace").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                return f"[{words[1]}]:53" if ":" in words[1] else f"{words[1]}:53"
    except OSError:
        pass
    return "[::1]:53"
