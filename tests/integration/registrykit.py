"""A registry to be pulled from, honest or not: plain HTTP on a loopback port that the kernel chose."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class FakeRegistry:
    """`manifests` by tag or digest: (bytes, media type); `blobs` by digest.

    `auth`: "" for none, "basic" or "bearer", for user `joe` with password `secret`. `cut`: the first answer
    with a blob breaks off after that many bytes.
    """

    def __init__(self) -> None:
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.blobs: dict[str, bytes] = {}
        self.auth = ""
        self.cut = 0
        self.ranges: list[str] = []
        self.seen: list[str] = []
        self.host = ""

    def add(self, layers: list[bytes], config: bytes, kind: str = MANIFEST, tag: str = "") -> str:
        """Put an image in; returns its manifest's digest."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": self._blob(config, "application/vnd.docker.container.image.v1+json"),
            "layers": [
                self._blob(layer, "application/vnd.docker.image.rootfs.diff.tar.gzip") for layer in layers
            ],
        }
        return self.put(json.dumps(manifest).encode(), kind, tag)

    def put(self, data: bytes, kind: str, tag: str = "") -> str:
        """Put a manifest in, under its digest and a tag."""
        for name in {digest(data), tag or digest(data)}:
            self.manifests[name] = (data, kind)
        return digest(data)

    def _blob(self, data: bytes, kind: str) -> dict[str, Any]:
        self.blobs[digest(data)] = data
        return {"mediaType": kind, "size": len(data), "digest": digest(data)}


class _Handler(BaseHTTPRequestHandler):
    registry: FakeRegistry
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _error(self, status: int, code: str, message: str, **headers: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self._answer(status, body, Content_Type="application/json", **headers)

    def _allowed(self) -> bool:
        registry = self.registry
        given = self.headers.get("Authorization", "")
        if not registry.auth:
            return True
        if registry.auth == "basic":
            challenge = 'Basic realm="here"'
            good = "Basic " + base64.b64encode(b"joe:secret").decode()
        else:
            challenge = f'Bearer realm="http://{registry.host}/token",service="it",scope="x"'
            good = "Bearer t0ken"
        if given == good:
            return True
        self._error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge)
        return False

    def do_GET(self) -> None:
        registry = self.registry
        parts = urlsplit(self.path)
        registry.seen.append(parts.path)
        if parts.path == "/token":
            query = parse_qs(parts.query)
            good = "Basic " + base64.b64encode(b"joe:secret").decode()
            if self.headers.get("Authorization") != good or query["scope"] != ["repository:a/b:pull"]:
                self._error(401, "UNAUTHORIZED", "incorrect username or password")
            else:
                self._answer(200, json.dumps({"token": "t0ken"}).encode())
            return
        if not self._allowed():
            return
        if parts.path == "/v2/":
            self._answer(200, b"{}")
        elif parts.path == "/v2/a/b/tags/list":
            tags = [name for name in registry.manifests if ":" not in name]
            self._answer(200, json.dumps({"name": "a/b", "tags": tags}).encode())
        elif parts.path.startswith("/v2/a/b/manifests/"):
            found = registry.manifests.get(parts.path.rpartition("/")[2])
            if found:
                self._answer(200, found[0], Content_Type=found[1])
            else:
                self._error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        elif parts.path.startswith("/v2/a/b/blobs/"):
            self._blob(parts.path.rpartition("/")[2])
        else:
            self._error(404, "NAME_UNKNOWN", "repository name not known to registry")

    def _blob(self, name: str) -> None:
        data = self.registry.blobs.get(name)
        if data is None:
            self._error(404, "BLOB_UNKNOWN", "blob unknown to registry")
            return
        wanted = self.headers.get("Range", "")
        start = int(wanted[6:-1]) if wanted else 0
        if wanted:
            self.registry.ranges.append(wanted)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.registry.cut and len(data) > self.registry.cut:
            self.wfile.write(data[start : self.registry.cut])
            self.registry.cut = 0
            self.close_connection = True
            return
        self.wfile.write(data[start:])


@contextmanager
def fake_registry() -> Iterator[FakeRegistry]:
    """The registry, serving repository `a/b` at `host` until the block ends."""
    registry = FakeRegistry()
    handler = type("Handler", (_Handler,), {"registry": registry})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    registry.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
