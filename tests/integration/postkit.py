"""Builds by `POST /build`, both builders: version 1 is the classic one, 2 is BuildKit."""

import base64
import contextlib
import http.client
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.integration.daemon import Daemon, UnixConnection, answer_to


def tar_of(dockerfile: str, files: Mapping[str, bytes] | None = None, **fields: Any) -> bytes:
    """A context; `fields` are set in the headers of its files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in {"Dockerfile": dockerfile.encode(), **(files or {})}.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), 0o644, 1_700_000_000
            if name != "Dockerfile":
                for key, value in fields.items():
                    setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@dataclass
class Built:
    """What a build's stream said."""

    messages: list[dict[str, Any]]

    @property
    def error(self) -> str:
        return next((str(one["error"]) for one in self.messages if "error" in one), "")

    @property
    def told(self) -> bytes:
        """All that was said, whichever builder it was."""
        found = b""
        for one in self.messages:
            found += str(one.get("stream", "")).encode()
            if one.get("id") == "moby.buildkit.trace":
                found += base64.b64decode(one["aux"])
        return found

    @property
    def image(self) -> str:
        """The image that came out. Raises AssertionError when none did."""
        assert not self.error, self.error
        return [one["aux"]["ID"] for one in self.messages if isinstance(one.get("aux"), dict)][-1]


def begin(daemon: Daemon, context: bytes, **query: Any) -> http.client.HTTPConnection:
    """Send a build; `getresponse` waits for its answer. `query`: version, t, nocache …"""
    connection = UnixConnection(daemon.socket)
    connection.timeout = 300
    path = f"/build?{urlencode(query)}"
    connection.request("POST", path, context, {"Content-Type": "application/x-tar"})
    return connection


def build(daemon: Daemon, context: bytes, **query: Any) -> Built:
    """Build to the end. Raises ApiError for what is refused."""
    with contextlib.closing(begin(daemon, context, **query)) as connection:
        _, read = answer_to(connection)
    return Built([json.loads(line) for line in read.splitlines() if line.strip()])


def records(daemon: Daemon) -> list[dict[str, Any]]:
    """The build cache's records."""
    found = daemon.call("GET", "/v1.51/system/df?type=build-cache")
    return list(found["BuildCache"] or ())
