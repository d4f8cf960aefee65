"""Tar archives for `docker cp` and what comes back from it."""

import base64
import io
import json
import tarfile
from typing import Any

from conformance.engine import Engine
from conformance.wire import Answer

MTIME = 1_600_000_000


def member(
    name: str, data: bytes | None = None, *, link: str = "", kind: bytes = tarfile.REGTYPE, **fields: Any
) -> tuple[tarfile.TarInfo, bytes]:
    """One member, of uid and gid 7 unless `fields` say otherwise."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.uid = info.gid = 7
    info.mtime = MTIME
    info.mode = 0o750 if kind == tarfile.DIRTYPE else 0o640
    for field, value in fields.items():
        setattr(info, field, value)
    info.size = len(data or b"")
    return info, data or b""


def pack(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    """An archive; `mode` as tarfile's, `w:gz` say."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, tarfile.TarInfo]:
    """The members by name, in their order."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: info for info in tar}


def content(data: bytes, name: str) -> bytes:
    """What a member holds."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        file = tar.extractfile(name)
        assert file is not None, name
        return file.read()


def archive(engine: Engine, method: str, container: str, path: str, body: Any = None, **query: Any) -> Answer:
    """A request to /containers/…/archive."""
    headers = {"Content-Type": "application/x-tar"} if body is not None else None
    return engine.wire.request(
        method, f"/containers/{container}/archive", body, headers=headers, path=path, **query
    )


def get(engine: Engine, container: str, path: str) -> bytes:
    answer = archive(engine, "GET", container, path)
    assert answer.status == 200, answer
    return answer.body


def put(engine: Engine, container: str, path: str, body: Any, **query: Any) -> None:
    answer = archive(engine, "PUT", container, path, body, **query)
    assert answer.status == 200, answer


def stat(answer: Answer) -> Any:
    """What the header says of the path."""
    assert answer.status == 200, answer
    return json.loads(base64.b64decode(answer.headers["x-docker-container-path-stat"]))
