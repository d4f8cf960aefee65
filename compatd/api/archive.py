"""`/containers/{id}/archive`, `/export`, `/changes` and `/commit`: files out of and into containers."""

import base64
from typing import Any

from compatd.engine.containers import archive, changes, commit, export
from compatd.engine.engine import Engine
from compatd.engine.errors import InvalidParameter
from compatd.engine.images import reference
from compatd.http import Answer, Call, Empty, Handler, Json
from compatd.http.answers import encode
from compatd.http.lending import lend

TAR = "application/x-tar"
_STAT_HEADER = "X-Docker-Container-Path-Stat"


def _path(call: Call) -> str:
    path = call.query.get("path") or ""
    if not path:
        raise InvalidParameter("bad parameter: path cannot be empty")
    return str(path)


def _stat_header(stat: dict[str, Any]) -> dict[str, str]:
    return {_STAT_HEADER: base64.b64encode(encode(stat, html=True)).decode()}


def content_encoding(accepted: str) -> str:
    """What an Accept-Encoding header likes best, as the engine reads it: gzip, deflate, or "" for none."""
    best, quality = "", -1.0
    for offer in ("gzip", "deflate"):
        for item in accepted.split(","):
            name, *parameters = (part.strip() for part in item.split(";"))
            weight = 1.0
            for parameter in parameters:
                key, _, value = parameter.partition("=")
                if key.strip().lower() == "q":
                    try:
                        weight = float(value)
                    except ValueError:
                        weight = 0.0
            if weight > quality and name.lower() in (offer, "*"):
                best, quality = offer, weight
    return best if quality > 0 else ""


async def container_archive_info(engine: Engine, call: Call) -> Answer:
    stat = await archive.stat(engine.containers, call.path["id"], _path(call))
    return Empty(200, headers=_stat_header(stat))


async def container_archive(engine: Engine, call: Call) -> None:
    encoding = content_encoding(call.header("Accept-Encoding"))
    call.abandonable = True
    packed = await archive.pack(engine.containers, call.path["id"], _path(call), encoding)
    try:
        headers = _stat_header(packed.stat)
        if encoding:
            headers["Content-Encoding"] = encoding
        stream = await call.stream(TAR, headers=headers)
        async for data in packed.chunks():
            await stream.write(data)
    finally:
        packed.close()


async def put_container_archive(engine: Engine, call: Call) -> Answer:
    await archive.extract(
        engine.containers,
        call.path["id"],
        _path(call),
        call.chunks(),
        lend=lambda: lend(call),
        no_overwrite=bool(call.query.get("noOverwriteDirNonDir")),
        copy_owner=bool(call.query.get("copyUIDGID")),
    )
    return Empty(200)


async def container_export(engine: Engine, call: Call) -> None:
    chunks = export.export(engine.containers, call.path["id"])
    call.abandonable = True
    try:
        first = await anext(chunks, b"")
        stream = await call.stream("application/octet-stream")
        await stream.write(first)
        async for data in chunks:
            await stream.write(data)
    finally:
        await chunks.aclose()  # type: ignore[attr-defined]


async def container_changes(engine: Engine, call: Call) -> Answer:
    return Json(await changes.changes(engine.containers, call.path["id"]))


async def image_commit(engine: Engine, call: Call) -> Answer:
    query = call.query
    target = reference.repo_and_tag(
        query.get("repo") or "", query.get("tag") or "", digest_error="cannot import digest reference"
    )
    pause = query.get("pause")
    image_id = await commit.commit(
        engine.containers,
        query.get("container") or "",
        call.body or {},
        target=target,
        comment=query.get("comment") or "",
        author=query.get("author") or "",
        changes=query.get("changes") or [],
        pause=True if pause is None else bool(pause),
    )
    return Json({"Id": image_id}, status=201)


HANDLERS: dict[str, Handler] = {
    "ContainerArchiveInfo": container_archive_info,
    "ContainerArchive": container_archive,
    "PutContainerArchive": put_container_archive,
    "ContainerExport": container_export,
    "ContainerChanges": container_changes,
    "ImageCommit": image_commit,
}
