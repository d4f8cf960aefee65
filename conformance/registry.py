"""Debian's docker-registry on loopback, filled by plain HTTP requests."""

import base64
import contextlib
import gzip
import http.client
import json
import os
import re
import ssl
import subprocess
from pathlib import Path
from typing import Any

from conformance import netns
from conformance.images import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Image,
    canonical,
    digest,
)
from conformance.until import until

PROGRAM = "/usr/bin/docker-registry"
USER, PASSWORD = "somebody", "secret"
HTPASSWD = f"{USER}:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n"


class Registry:
    """A registry process in the engine's network namespace, its data in `folder`.

    `guarded`: only for USER with PASSWORD. `tls`: files of a certificate and its key to be used.
    """

    def __init__(self, folder: Path, *, guarded: bool = False, tls: tuple[Path, Path] | None = None) -> None:
        self.folder = folder
        self.guarded = guarded
        self.tls = tls
        self.log = folder / "registry.log"
        for _ in range(5):
            self.port = netns.free_port()
            if self._start():
                return
        raise AssertionError(self.log.read_text())

    def _start(self) -> bool:
        config = self.folder / "config.yml"
        config.write_text(json.dumps(self._config()))  # JSON is YAML
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*netns.prefix(), PROGRAM, "serve", str(config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
            )

        def up() -> bool:
            if self.process.poll() is not None:
                return True
            with contextlib.suppress(OSError):
                return self.request("GET", "/v2/")[0] == 200
            return False

        until(up, "docker-registry answers")
        return self.process.poll() is None

    def _config(self) -> dict[str, Any]:
        storage = {"filesystem": {"rootdirectory": str(self.folder / "data")}, "delete": {"enabled": True}}
        http: dict[str, Any] = {"addr": f"127.0.0.1:{self.port}"}
        config = {"version": 0.1, "log": {"level": "info"}, "storage": storage, "http": http}
        if self.tls:
            http["tls"] = {"certificate": str(self.tls[0]), "key": str(self.tls[1])}
        if self.guarded:
            users = self.folder / "htpasswd"
            users.write_text(HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "here", "path": str(users)}}
        return config

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One request: status, headers (lower case), body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.sock = netns.connect("127.0.0.1", self.port)
        if self.tls:
            connection.sock = ssl._create_unverified_context().wrap_socket(connection.sock)  # noqa: S323
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        given = {"Authorization": f"Basic {pair}"} if self.guarded else {}
        try:
            connection.request(method, path, body, {**given, **(headers or {})})
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.headers.items()}, response.read()
        finally:
            connection.close()

    def put_blob(self, repository: str, data: bytes) -> dict[str, Any]:
        """Upload, and return the descriptor's digest and size."""
        status, headers, _ = self.request("POST", f"/v2/{repository}/blobs/uploads/", b"")
        assert status == 202, status
        path = re.sub(r"^https?://[^/]+", "", headers["location"])
        query = f"{'&' if '?' in path else '?'}digest={digest(data)}"
        status, _, answer = self.request(
            "PUT", path + query, data, {"Content-Type": "application/octet-stream"}
        )
        assert status == 201, answer
        return {"digest": digest(data), "size": len(data)}

    def put_manifest(self, repository: str, reference: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Store a manifest under a tag or its digest ('' as reference); returns its descriptor."""
        data = canonical(manifest)
        kind = str(manifest["mediaType"])
        path = f"/v2/{repository}/manifests/{reference or digest(data)}"
        status, _, answer = self.request("PUT", path, data, {"Content-Type": kind})
        assert status == 201, answer
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    def push(self, repository: str, reference: str, image: Image, *, oci: bool = False) -> dict[str, Any]:
        """Store an image (layers gzipped); returns the descriptor of its manifest."""
        layers = [
            {
                "mediaType": OCI_LAYER + "+gzip" if oci else DOCKER_LAYER,
                **self.put_blob(repository, gzip.compress(layer, 1, mtime=0)),
            }
            for layer in image.layers
        ]
        config = {
            "mediaType": OCI_CONFIG if oci else DOCKER_CONFIG,
            **self.put_blob(repository, image.document()),
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST if oci else DOCKER_MANIFEST,
            "config": config,
            "layers": layers,
        }
        return self.put_manifest(repository, reference, manifest)

    def push_list(
        self, repository: str, reference: str, images: dict[str, Image], *, oci: bool = False
    ) -> dict[str, Any]:
        """Store a manifest list (or OCI index) of images by architecture; returns its descriptor."""
        entries = []
        for architecture, image in images.items():
            descriptor = self.push(repository, "", image, oci=oci)
            entries.append({**descriptor, "platform": {"os": "linux", "architecture": architecture}})
        kind = OCI_INDEX if oci else DOCKER_LIST
        return self.put_manifest(
            repository, reference, {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
        )

    def manifest(self, repository: str, reference: str) -> Any:
        """The stored manifest, decoded."""
        accept = ", ".join([DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX])
        status, _, body = self.request(
            "GET", f"/v2/{repository}/manifests/{reference}", None, {"Accept": accept}
        )
        assert status == 200, body
        return json.loads(body)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A private CA (`ca.crt`), and a certificate of it for 127.0.0.1: the files of that and of its key."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    def key(name: str) -> tuple[str, ...]:
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name)

    openssl("req", "-x509", *key("ca.key"), "-subj", "/CN=private", "-days", "2", "-out", "ca.crt")
    openssl("req", *key("server.key"), "-subj", "/CN=registry", "-out", "server.csr")
    (folder / "extensions").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(
        "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", "2", "-extfile", "extensions", "-out", "server.crt",
    )  # fmt: skip
    return folder / "server.crt", folder / "server.key"
