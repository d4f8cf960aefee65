"""One repository of one registry: its manifests, tags and blobs, read over HTTP.

Source: OCI distribution spec, "Pull". aiohttp is imported only when a registry is really asked.
"""

import asyncio
import errno
import hashlib
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from compatd import VERSION
from compatd.engine.errors import EngineError
from compatd.engine.images.registry.auth import Authenticator, Credentials
from compatd.engine.images.registry.endpoints import Endpoint
from compatd.engine.images.registry.errors import Unreachable, from_response

MAX_MANIFEST = 4 << 20
MAX_CONFIG = 16 << 20
ACCEPT = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)


class Repository:
    """Requests about one repository. Close it after use (`async with`)."""

    def __init__(self, endpoint: Endpoint, path: str, credentials: Credentials) -> None:
        self.endpoint = endpoint
        self.path = path
        self._auth = Authenticator(credentials, path)
        self._challenge = ""
        self._session: Any = None

    async def __aenter__(self) -> "Repository":
        import aiohttp

        tls = await asyncio.to_thread(self.endpoint.tls)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, connect=60, sock_connect=30, sock_read=120),
            headers={"User-Agent": f"docker/{VERSION} go/go1.24 os/linux arch/amd64"},
            auto_decompress=False,
            trust_env=True,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def ping(self) -> None:
        """Ask whether this is a registry, and how it wants to be authenticated.

        Raises Unreachable when there is no HTTP on the other side, EngineError for other answers.
        """
        url = f"{self.endpoint.url}/v2/"
        async with self._send("GET", url, {}) as response:
            if response.status == 401:
                self._challenge = ", ".join(response.headers.getall("WWW-Authenticate", []))
            elif response.status >= 400:
                body = await response.content.read(1 << 16)
                raise from_response(response.status, body)
        if self._challenge and not self._auth.header:
            await self._auth.answer(self._session, self._challenge, f'Get "{url}"')

    async def status(self) -> int:
        """The status of an authenticated request of nothing in particular; after `ping`."""
        async with self._send("GET", f"{self.endpoint.url}/v2/", {}) as response:
            return int(response.status)

    @asynccontextmanager
    async def _send(self, method: str, url: str, headers: dict[str, str]) -> AsyncIterator[Any]:
        import aiohttp

        if self._auth.header:
            headers = {**headers, "Authorization": self._auth.header}
        try:
            async with self._session.request(method, url, headers=headers) as response:
                yield response
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(
                f'{method.title()} "{url}": {await asyncio.to_thread(_dial, error, url)}'
            ) from error
        except aiohttp.ClientSSLError as error:
            raise Unreachable(f'{method.title()} "{url}": tls: {error}') from error
        except TimeoutError as error:
            raise Unreachable(
                f'{method.title()} "{url}": net/http: request canceled '
                "(Client.Timeout exceeded while awaiting headers)"
            ) from error
        except (aiohttp.ClientError, ssl_error(), ValueError) as error:
            raise Unreachable(f'{method.title()} "{url}": {error or type(error).__name__}') from error

    @asynccontextmanager
    async def get(self, what: str, headers: dict[str, str] | None = None) -> AsyncIterator[Any]:
        """GET `<repository>/<what>`, authenticated; the response is below 400. Raises EngineError."""
        url = what if "://" in what else f"{self.endpoint.url}/v2/{self.path}/{what}"
        for attempt in (1, 2):
            async with self._send("GET", url, headers or {}) as response:
                if response.status == 401 and attempt == 1:
                    # A token that ran out, or one for another scope
                    challenge = ", ".join(response.headers.getall("WWW-Authenticate", []))
                    await self._auth.answer(self._session, challenge or self._challenge, f'Get "{url}"')
                    continue
                if response.status >= 400:
                    raise from_response(response.status, await response.content.read(1 << 16))
                yield response
                return

    async def manifest(self, name: str) -> tuple[bytes, str, str]:
        """(bytes, media type, digest) of a tag or digest; the digest is computed, and checked against `name`.

        Raises EngineError.
        """
        async with self.get(f"manifests/{name}", {"Accept": ", ".join(ACCEPT)}) as response:
            data = await _limited(response, MAX_MANIFEST, "manifest")
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if ":" in name and name != digest:
            algorithm, _, value = name.partition(":")
            if algorithm not in ("sha384", "sha512") or hashlib.new(algorithm, data).hexdigest() != value:
                raise EngineError(f"manifest verification failed for digest {name}")
            digest = name
        return data, kind, digest

    async def config(self, digest: str) -> bytes:
        """An image config, checked. Raises EngineError."""
        async with self.get(f"blobs/{digest}") as response:
            data = await _limited(response, MAX_CONFIG, "image config")
        algorithm, _, value = digest.partition(":")
        if hashlib.new(algorithm, data).hexdigest() != value:
            raise EngineError(f"image config verification failed for digest {digest}")
        return data

    async def tags(self) -> list[str]:
        """All tags, in the registry's order. Raises EngineError."""
        found: list[str] = []
        what = "tags/list"
        for _ in range(1000):
            async with self.get(what) as response:
                document = json.loads(await _limited(response, MAX_MANIFEST, "list of tags"))
                link = response.links.get("next") if "Link" in response.headers else None
                here = str(response.url)
            found += [tag for tag in document.get("tags") or [] if isinstance(tag, str)]
            if not link:
                break
            what = urljoin(here, str(link["url"]))
            if urlsplit(what).netloc != urlsplit(here).netloc:
                break  # a registry may not send us elsewhere with its credentials
        return found

    @asynccontextmanager
    async def blob(self, digest: str, offset: int = 0) -> AsyncIterator[Any]:
        """The response with a blob's bytes from `offset` on (status 206 when the registry can do that)."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self.get(f"blobs/{digest}", {**headers, "Accept-Encoding": "identity"}) as response:
            yield response


def ssl_error() -> type[Exception]:
    """ssl.SSLError; a function only so that the tuple of exceptions stays readable."""
    import ssl

    return ssl.SSLError


async def _limited(response: Any, limit: int, what: str) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > limit:
            raise EngineError(f"{what} is too large: over {limit} bytes")
    return bytes(data)


def _dial(error: Any, url: str) -> str:
    """A failed connection in the words of Go's net package."""
    cause = error.os_error
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if isinstance(cause, socket.gaierror):
        return f"dial tcp: lookup {parts.hostname} on {_nameserver()}: no such host"
    text = os.strerror(cause.errno).lower() if cause.errno else str(cause)
    if cause.errno in (errno.ETIMEDOUT, None) and "timed out" in text:
        return f"dial tcp {_address(parts.hostname or '', port)}: i/o timeout"
    if not cause.errno or cause.errno > 200:
        return str(cause)
    return f"dial tcp {_address(parts.hostname or '', port)}: connect: {text}"


def _address(host: str, port: int) -> str:
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
