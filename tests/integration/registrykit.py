"""A registry to pull from and push to, honest or not: plain HTTP on a loopback port that the kernel chose."""

import base64
import hashlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
GOOD = "Basic " + base64.b64encode(b"joe:secret").decode()
SPECIAL = re.compile(r"/v2/(?P<name>.+)/(?P<what>manifests|blobs/uploads|blobs|tags)/(?P<rest>.*)")


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Seen:
    """One request."""

    method: str
    path: str
    query: dict[str, list[str]]
    authorization: str
    range: str


@dataclass
class Fault:
    """What to do instead of answering a request of that method whose path has `part` in it."""

    method: str
    part: str
    action: Callable[["Handler"], None]
    times: int
    when_range: bool


class FakeRegistry:
    """`manifests` by tag or digest: (bytes, media type); `blobs` by digest. Its one repository is `a/b`.

    `auth`: "" for none, "basic" or "bearer", for user `joe` with password `secret`. `cut`: the first answer
    with a blob breaks off after that many bytes; `cut_upload` likewise. `keep`: uploads can go on after that.
    """

    def __init__(self) -> None:
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, bytearray] = {}
        self.auth = ""
        self.refresh = self.realm = ""
        self.cut = self.cut_upload = 0
        self.keep = True
        self.seen: list[Seen] = []
        self.forms: list[dict[str, str]] = []
        self.faults: list[Fault] = []
        self.results: list[dict[str, Any]] | None = None
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

    def fault(
        self,
        part: str,
        action: Callable[["Handler"], None],
        times: int = 1,
        method: str = "GET",
        *,
        when_range: bool = False,
    ) -> None:
        """Let requests go wrong, the first so many of them (of those with a Range, if told so)."""
        self.faults.append(Fault(method, part, action, times, when_range))

    def paths(self, method: str, part: str = "") -> list[str]:
        """The paths of requests seen."""
        return [seen.path for seen in self.seen if seen.method == method and part in seen.path]

    @property
    def host_url(self) -> str:
        return f"http://{self.host}"

    @property
    def ranges(self) -> list[str]:
        return [seen.range for seen in self.seen if seen.range]


def status(code: int, body: bytes = b"", **headers: str) -> Callable[["Handler"], None]:
    """A fault: that answer."""

    def act(handler: "Handler") -> None:
        for _ in handler.body():
            pass
        handler.answer(code, body, **headers)

    return act


def hang_up(handler: "Handler") -> None:
    """A fault: no answer at all."""
    handler.close_connection = True


class Handler(BaseHTTPRequestHandler):
    registry: FakeRegistry
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", headers.pop("Content_Length", str(len(body))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status: int, code: str, message: str, **headers: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.answer(status, body, Content_Type="application/json", **headers)

    def body(self) -> Iterator[bytes]:
        """The request's body, by its length or in chunks."""
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            left = int(self.headers.get("Content-Length") or 0)
            while left and (data := self.rfile.read(min(left, 1 << 16))):
                left -= len(data)
                yield data
            return
        while size := int(self.rfile.readline() or b"0", 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _allowed(self) -> bool:
        registry = self.registry
        given = self.headers.get("Authorization", "")
        if not registry.auth:
            return True
        if registry.auth == "basic":
            challenge, good = 'Basic realm="here"', GOOD
        else:
            challenge = f'Bearer realm="{registry.realm or registry.host_url}/token",service="it",scope="x"'
            good = "Bearer t0ken"
        if given == good:
            return True
        for _ in self.body():
            pass
        self.error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge)
        return False

    def _token(self, query: dict[str, list[str]]) -> None:
        if self.command == "POST":
            form = dict(parse_qsl(b"".join(self.body()).decode()))
            self.registry.forms.append(form)
            good = form.get("refresh_token") == "refresh" or form.get("password") == "secret"
        else:
            good = self.headers.get("Authorization") == GOOD
        if not good:
            self.error(401, "UNAUTHORIZED", "incorrect username or password")
            return
        extra = {"refresh_token": self.registry.refresh} if self.registry.refresh else {}
        self.answer(200, json.dumps({"token": "t0ken", **extra}).encode())

    def _route(self) -> None:
        registry = self.registry
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        seen = Seen(
            self.command, parts.path, query, self.headers.get("Authorization", ""),
            self.headers.get("Range", ""),
        )  # fmt: skip
        registry.seen.append(seen)
        for fault in registry.faults:
            fits = fault.method == self.command and fault.part in self.path
            if fits and fault.times and (seen.range or not fault.when_range):
                fault.times -= 1
                fault.action(self)
                return
        if parts.path == "/token":
            self._token(query)
        elif parts.path == "/v1/search" and registry.results is not None:
            self.answer(200, json.dumps({"results": registry.results}).encode())
        elif not self._allowed():
            return
        elif parts.path == "/v2/":
            self.answer(200, b"{}")
        elif (match := SPECIAL.fullmatch(parts.path)) and match["name"] == "a/b":
            name = f"_{self.command}_{match['what'].replace('/', '_')}"
            getattr(self, name, self._unknown)(match["rest"], query)
        else:
            self._unknown("", query)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _route

    def _unknown(self, rest: str, query: dict[str, list[str]]) -> None:
        self.error(404, "NAME_UNKNOWN", "repository name not known to registry")

    def _GET_tags(self, rest: str, query: dict[str, list[str]]) -> None:
        tags = [name for name in self.registry.manifests if ":" not in name]
        self.answer(200, json.dumps({"name": "a/b", "tags": tags}).encode())

    def _GET_manifests(self, rest: str, query: dict[str, list[str]]) -> None:
        found = self.registry.manifests.get(rest)
        if found:
            self.answer(200, found[0], Content_Type=found[1])
        else:
            self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")

    def _PUT_manifests(self, rest: str, query: dict[str, list[str]]) -> None:
        data = b"".join(self.body())
        self.registry.put(data, self.headers["Content-Type"], rest)
        self.answer(201, Location=self.path, Docker_Content_Digest=digest(data))

    def _GET_blobs(self, rest: str, query: dict[str, list[str]]) -> None:
        data = self.registry.blobs.get(rest)
        if data is None:
            self.error(404, "BLOB_UNKNOWN", "blob unknown to registry")
            return
        wanted = self.headers.get("Range", "")
        start = int(wanted[6:-1]) if wanted else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.registry.cut and len(data) > self.registry.cut:
            self.wfile.write(data[start : self.registry.cut])
            self.registry.cut = 0
            self.close_connection = True
            return
        self.wfile.write(data[start:])

    _HEAD_blobs = _GET_blobs

    def _POST_blobs_uploads(self, rest: str, query: dict[str, list[str]]) -> None:
        name = f"u{len(self.registry.uploads)}"
        self.registry.uploads[name] = bytearray()
        self.answer(202, Location=f"/v2/a/b/blobs/uploads/{name}?state=x", Range="0-0")

    def _PATCH_blobs_uploads(self, rest: str, query: dict[str, list[str]]) -> None:
        held = self.registry.uploads[rest]
        wanted = self.headers.get("Content-Range", "")
        if wanted and int(wanted.partition("-")[0]) != len(held):
            self.answer(416)
            return
        for data in self.body():
            held += data
            if self.registry.cut_upload and len(held) >= self.registry.cut_upload:
                self.registry.cut_upload = 0
                self.close_connection = True
                return
        self.answer(202, Location=f"/v2/a/b/blobs/uploads/{rest}?state=y", Range=f"0-{max(len(held) - 1, 0)}")

    def _GET_blobs_uploads(self, rest: str, query: dict[str, list[str]]) -> None:
        if rest not in self.registry.uploads or not self.registry.keep:
            self.error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
            return
        held = self.registry.uploads[rest]
        self.answer(204, Location=f"/v2/a/b/blobs/uploads/{rest}?state=z", Range=f"0-{max(len(held) - 1, 0)}")

    def _PUT_blobs_uploads(self, rest: str, query: dict[str, list[str]]) -> None:
        held = self.registry.uploads.pop(rest)
        held += b"".join(self.body())
        if digest(bytes(held)) != query["digest"][0]:
            self.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
            return
        self.registry.blobs[digest(bytes(held))] = bytes(held)
        self.answer(201, Location=f"/v2/a/b/blobs/{query['digest'][0]}")


class _Server(ThreadingHTTPServer):
    context: ssl.SSLContext | None = None

    def handle_error(self, request: Any, address: Any) -> None:
        pass  # clients that hang up are what is tested here

    def finish_request(self, request: Any, address: Any) -> None:
        if self.context:
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except OSError:
                return  # what a client sends that does not trust us
        super().finish_request(request, address)


@contextmanager
def fake_registry(context: ssl.SSLContext | None = None) -> Iterator[FakeRegistry]:
    """The registry, serving repository `a/b` at `host` until the block ends; by TLS with a `context`."""
    registry = FakeRegistry()
    handler = type("Handler", (Handler,), {"registry": registry})
    server = _Server(("127.0.0.1", 0), handler)
    server.context = context
    registry.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
