"""`/images`: pull, import, load, save, list, inspect, history, tag, remove, prune."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

from compatd.api import platforms
from compatd.engine.engine import Engine
from compatd.engine.errors import InvalidParameter, NotBuilt
from compatd.engine.images import reference
from compatd.engine.images.platform import parse as parse_platform
from compatd.http import Answer, Call, Empty, Handler, Json

JSON = "application/json"
TAR = "application/x-tar"
_MAX_CREDENTIALS = 1 << 20


class Progress:
    """A stream of progress objects whose head goes out with the first: before it, errors have a status."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._stream: Any = None

    async def write(self, value: dict[str, Any]) -> None:
        """Send one object."""
        await self.open()
        await self._stream.json(value)

    async def open(self) -> None:
        """Send the head."""
        if self._stream is None:
            self._stream = await self._call.stream(JSON)


def registry_auth(header: str) -> dict[str, str]:
    """X-Registry-Auth: base64url, padded or not, of {"username", "password", "identitytoken",
    "registrytoken", …}; some clients write `auth`, the pair in base64, instead. A broken one is none.
    """
    try:
        return credentials(_base64(header))
    except ValueError:
        return {}


def credentials(document: bytes) -> dict[str, str]:
    """The JSON of an AuthConfig, keys in lower case; nothing or a broken one is none."""
    try:
        value = json.loads(document) if document.strip() else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    given = {key.lower(): text for key, text in value.items() if isinstance(text, str) and text}
    if "auth" in given and not given.keys() & {"username", "identitytoken", "registrytoken"}:
        try:
            given["username"], _, given["password"] = _base64(given["auth"]).decode().partition(":")
        except ValueError:
            return {}
    return given


def _base64(text: str) -> bytes:
    text = text.strip().rstrip("=").replace("+", "-").replace("/", "_")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def image_list(engine: Engine, call: Call) -> Answer:
    filters = dict(call.query.get("filters") or {})
    if call.query.get("filter") and "reference" not in filters:
        filters["reference"] = [call.query["filter"]]
    if call.query.get("identity") and not call.query.get("manifests"):
        raise InvalidParameter("conflicting options: identity requires manifests=1")
    # An image here is of one platform: `manifests` and `digests` ask for nothing that is not told anyway
    rows = engine.images.list(
        filters,
        all_images=bool(call.query.get("all")),
        shared_size=bool(call.query.get("shared-size")),
    )
    return Json(rows)


async def image_inspect(engine: Engine, call: Call) -> Answer:
    platform = platforms.optional(call.query.get("platform"))
    if platform and call.query.get("manifests"):
        raise InvalidParameter("conflicting options: manifests and platform options cannot both be set")
    return Json(engine.images.inspect(call.path["name"], platform))


async def image_attestations(engine: Engine, call: Call) -> Answer:
    """As of an engine with this kind of image store, which keeps no attestations beside an image."""
    wanted = call.query.get("platform") or []
    if len(wanted) > 1:
        raise InvalidParameter("only one platform value is currently supported")
    platforms.optional(wanted[0] if wanted else None)
    raise NotBuilt("the legacy image store does not support attestations")


async def image_history(engine: Engine, call: Call) -> Answer:
    return Json(engine.images.history(call.path["name"], platforms.optional(call.query.get("platform"))))


async def image_create(engine: Engine, call: Call) -> None:
    query = call.query
    platform = parse_platform(query["platform"]) if query.get("platform") else None
    progress = Progress(call)
    call.abandonable = True
    if query.get("fromImage"):
        wanted = reference.parse(query["fromImage"].removesuffix(":"))
        tag = query.get("tag") or ""
        if reference.is_digest(tag):
            wanted = wanted.with_digest(tag)
        elif tag:
            wanted = wanted.with_tag(tag)
        auth = registry_auth(call.header("X-Registry-Auth"))
        await engine.images.pull(wanted, progress.write, auth=auth, platform=platform)
        return
    source = query.get("fromSrc") or ""
    target = reference.repo_and_tag(
        query.get("repo") or "", query.get("tag") or "", digest_error="cannot import digest reference"
    )
    chunks: AsyncIterator[bytes] = call.chunks()
    if source != "-":
        chunks = await engine.images.download(source, progress.write)
    image = await engine.images.import_(
        chunks,
        reference=target,
        message=query.get("message") or f"Imported from {source}",
        changes=query.get("changes") or [],
        platform=platform,
    )
    await progress.write({"status": image.id})


async def image_load(engine: Engine, call: Call) -> None:
    platform = platforms.one_of_archive(call)
    progress = Progress(call)
    try:
        await engine.images.load(
            call.chunks(), progress.write, quiet=bool(call.query.get("quiet", True)), platform=platform
        )
    finally:
        # Errors come as messages here, never as a status; and no head goes out while the archive comes in:
        # skopeo takes it for the end, and sends no more
        await progress.open()


async def image_get(engine: Engine, call: Call) -> None:
    await _save(engine, call, [call.path["name"]])


async def image_get_all(engine: Engine, call: Call) -> None:
    await _save(engine, call, call.query.get("names") or [])


async def _save(engine: Engine, call: Call, names: list[str]) -> None:
    archive = engine.images.save(names, platforms.one_of_archive(call))
    stream = await call.stream(TAR)
    async for data in archive:
        await stream.write(data)


async def image_push(engine: Engine, call: Call) -> None:
    name, tag = call.path["name"], call.query.get("tag") or ""
    wanted = reference.parse(name)
    if tag and wanted.digest:
        raise InvalidParameter("cannot import digest reference")
    if tag:
        wanted = wanted.with_tag(tag)
    platform = platforms.optional(call.query.get("platform"))
    progress = Progress(call)
    call.abandonable = True
    header = call.header("X-Registry-Auth")
    # Clients of Docker before 1.0 send the credentials as the body
    auth = registry_auth(header) if header else credentials(await call.read(_MAX_CREDENTIALS))
    await engine.images.push(wanted, progress.write, auth=auth, platform=platform)


async def image_search(engine: Engine, call: Call) -> Answer:
    call.abandonable = True
    query = call.query
    found = await engine.images.search(
        query.get("term") or "",
        query.get("limit") or 0,
        query.get("filters") or {},
        registry_auth(call.header("X-Registry-Auth")),
    )
    return Json(found)


async def image_tag(engine: Engine, call: Call) -> Answer:
    target = reference.repo_and_tag(
        call.query.get("repo") or "",
        call.query.get("tag") or "",
        digest_error="cannot import digest reference",
    )
    if target is None:
        raise InvalidParameter("invalid reference format")
    if target.familiar_name == "sha256":
        raise InvalidParameter("refusing to create an ambiguous tag using digest algorithm as name")
    engine.images.tag(engine.images.resolve(call.path["name"]), target)
    return Empty(201)


async def image_delete(engine: Engine, call: Call) -> Answer:
    name = call.path["name"]
    if not name.strip():
        raise InvalidParameter("image name cannot be blank")
    records = engine.images.delete(
        name,
        force=bool(call.query.get("force")),
        prune=not call.query.get("noprune"),
        platform=platforms.one_to_delete(call),
    )
    return Json(records)


async def image_prune(engine: Engine, call: Call) -> Answer:
    return Json(engine.images.prune(call.query.get("filters") or {}))


async def distribution_inspect(engine: Engine, call: Call) -> Answer:
    wanted = reference.parse(call.path["name"])
    return Json(await engine.images.distribution(wanted, registry_auth(call.header("X-Registry-Auth"))))


HANDLERS: dict[str, Handler] = {
    "DistributionInspect": distribution_inspect,
    "ImageList": image_list,
    "ImageInspect": image_inspect,
    "ImageAttestations": image_attestations,
    "ImageHistory": image_history,
    "ImageCreate": image_create,
    "ImageLoad": image_load,
    "ImageGet": image_get,
    "ImageGetAll": image_get_all,
    "ImagePush": image_push,
    "ImageSearch": image_search,
    "ImageTag": image_tag,
    "ImageDelete": image_delete,
    "ImagePrune": image_prune,
}
