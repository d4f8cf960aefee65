"""One repository of one registry: its manifests, tags and blobs.

Source: OCI distribution spec, "Pull" and "Push".
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from compatd.engine.errors import EngineError
from compatd.engine.images.registry.auth import Authenticator, Credentials
from compatd.engine.images.registry.backoff import pause
from compatd.engine.images.registry.endpoints import Endpoint
from compatd.engine.images.registry.errors import Unreachable, is_busy, pause_of
from compatd.engine.images.registry.http import Http

Result = TypeVar("Result")

MAX_MANIFEST = 4 << 20
MAX_CONFIG = 16 << 20
MAX_TAGS = 100_000
ATTEMPTS = 3
ACCEPT = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)


class Repository:
    """Requests about one repository. Close it after use (`async with`).

    `actions` is what its tokens are to allow: `("pull",)` or `("push", "pull")`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        path: str,
        credentials: Credentials,
        actions: tuple[str, ...] = ("pull",),
        http: Http | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.path = path
        scope = f"repository:{path}:{','.join(actions)}"
        self.http = http or Http(endpoint, Authenticator(credentials, [scope]))
        self.base = f"{endpoint.url}/v2/{path}"

    async def __aenter__(self) -> "Repository":
        await self.http.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.http.__aexit__(*exc)

    async def ping(self) -> None:
        """As `Http.ping`; a busy registry is asked again, but not a mirror: there are others."""
        await (self.http.ping() if self.endpoint.mirror else patiently(self.http.ping, broken=False))

    def sibling(self) -> "Repository":
        """The same repository with connections of its own; to be opened with `async with`."""
        return Repository(self.endpoint, self.path, {}, http=self.http.sibling())

    # Reading -----------------------------------------------------------------------------------------------

    async def _read(
        self, what: str, limit: int, name: str, headers: dict[str, str] | None = None, told: str = ""
    ) -> tuple[bytes, Any]:
        """(body, response) of a GET; tried again where the registry is busy or the connection breaks."""
        url = what if "://" in what else f"{self.base}/{what}"

        async def once() -> tuple[bytes, Any]:
            async with self.http.request("GET", url, headers=headers, name=told) as response:
                return await _limited(response, limit, name), response

        return await patiently(once)

    async def manifest(self, name: str) -> tuple[bytes, str, str]:
        """(bytes, media type, digest) of a tag or digest; the digest is computed, and checked against `name`.

        Raises EngineError.
        """
        # Docker asks for a tag's digest first, and that is the request that its errors name
        told = "" if ":" in name else f'Head "{self.base}/manifests/{name}"'
        data, response = await self._read(
            f"manifests/{name}", MAX_MANIFEST, "manifest", {"Accept": ", ".join(ACCEPT)}, told
        )
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
        data, _ = await self._read(f"blobs/{digest}", MAX_CONFIG, "image config")
        algorithm, _, value = digest.partition(":")
        if hashlib.new(algorithm, data).hexdigest() != value:
            raise EngineError(f"image config verification failed for digest {digest}")
        return data

    async def tags(self) -> list[str]:
        """All tags, in the registry's order. Raises EngineError."""
        found: list[str] = []
        what = f"{self.base}/tags/list"
        seen = {what}
        while True:
            data, response = await self._read(what, MAX_MANIFEST, "list of tags")
            try:
                document = await asyncio.to_thread(json.loads, data)
                tags = document.get("tags") or []
                found += [tag for tag in tags if isinstance(tag, str)]
            except (ValueError, AttributeError, TypeError, RecursionError):
                raise EngineError("error parsing the list of tags: no JSON object with tags") from None
            if len(found) > MAX_TAGS:
                raise EngineError(f"the list of tags is too long: over {MAX_TAGS}")
            link = response.links.get("next") if "Link" in response.headers else None
            here = str(response.url)
            what = urljoin(here, str(link["url"])) if link else ""
            # A registry may not send us elsewhere with its credentials, nor round in circles
            if not what or not tags or what in seen or urlsplit(what)[:2] != urlsplit(here)[:2]:
                return found
            seen.add(what)

    @asynccontextmanager
    async def blob(self, digest: str, offset: int = 0) -> AsyncIterator[Any]:
        """The response with a blob's bytes from `offset` on (status 206 when the registry can do that)."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self.http.request("GET", f"{self.base}/blobs/{digest}", headers=headers) as response:
            yield response

    # Writing -----------------------------------------------------------------------------------------------

    async def has_blob(self, digest: str) -> int | None:
        """The size of a blob that the repository has, or None. Raises EngineError."""

        async def once() -> int | None:
            url = f"{self.base}/blobs/{digest}"
            async with self.http.request("HEAD", url, missing=True) as response:
                return None if response.status == 404 else response.content_length or 0

        return await patiently(once)

    async def start_upload(self, mount: str = "", source: str = "") -> str:
        """The URL to upload a blob to; "" when `mount` could be taken over from repository `source`."""
        query, scopes = "", []
        if mount:
            query = f"?mount={quote(mount)}&from={quote(source, safe='')}"
            scopes = [f"repository:{source}:pull"]
        url = f"{self.base}/blobs/uploads/{query}"
        headers = {"Content-Length": "0"}
        async with self.http.request("POST", url, headers=headers, scopes=scopes) as response:
            if mount and response.status == 201:
                return ""
            return self.location(response)

    def location(self, response: Any) -> str:
        """Where an upload goes on. Raises EngineError."""
        where = response.headers.get("Location")
        if not where:
            raise EngineError("the registry does not say where to upload to")
        return urljoin(str(response.url), str(where))

    async def put_blob(self, digest: str, data: bytes) -> None:
        """Upload a small blob unless it is there. Raises EngineError."""
        if await self.has_blob(digest) is not None:
            return

        async def once() -> None:
            where = with_digest(await self.start_upload(), digest)
            headers = {"Content-Type": "application/octet-stream"}
            async with self.http.request("PUT", where, headers=headers, body=lambda: data):
                return

        await patiently(once)

    async def put_manifest(self, tag: str, data: bytes, kind: str) -> None:
        """Store a manifest under a tag. Raises EngineError."""
        url = f"{self.base}/manifests/{tag}"

        async def once() -> None:
            async with self.http.request("PUT", url, headers={"Content-Type": kind}, body=lambda: data):
                return

        await patiently(once)


def with_digest(url: str, digest: str) -> str:
    """An upload's URL that ends it."""
    return f"{url}{'&' if '?' in url else '?'}digest={quote(digest)}"


async def patiently(once: Callable[[], Awaitable[Result]], *, broken: bool = True) -> Result:
    """Do it, again after a pause where the registry is busy, or (`broken`) the connection breaks.

    Raises EngineError.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return await once()
        except EngineError as error:
            if not is_busy(error) and not (broken and isinstance(error, Unreachable)):
                raise
            await pause(attempt, pause_of(error))
    return await once()


async def _limited(response: Any, limit: int, what: str) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > limit:
            raise EngineError(f"{what} is too large: over {limit} bytes")
    return bytes(data)
