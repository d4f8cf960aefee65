"""Handlers of the noun system: ping is answered by the server itself."""

from typing import Any

from apispec import Version
from compatd.engine.errors import InvalidParameter
from compatd.engine.timestamps import parse_timestamp
from compatd.http import Answer, Call, Handler, Json, accept

_WITHOUT_LEGACY_FIELDS = Version("1.52")
_IMAGE_CREATE = Version("1.46")


async def version(engine: Any, _: Call) -> Answer:
    """SystemVersion."""
    return Json(engine.system.version())


async def info(engine: Any, _: Call) -> Answer:
    """SystemInfo."""
    await engine.system.ask_runtimes()
    return Json(engine.system.info())


async def events(engine: Any, call: Call) -> None:
    """SystemEvents: a stream of JSON objects until the client goes or `until` is reached."""
    since, until = _time(call, "since"), _time(call, "until")
    if since is not None and until is not None and since > until:
        raise InvalidParameter(
            f"`since` time ({call.query['since']}) cannot be after `until` time ({call.query['until']})"
        )
    newest = call.version >= _WITHOUT_LEGACY_FIELDS
    with engine.events.subscribe(call.query.get("filters") or {}, since, until) as subscription:
        kind = accept.JSON_LINES if newest else "application/json"
        kind = accept.named(call.header("accept"), accept.JSON_STREAMS) or kind
        start = accept.RECORD_SEPARATOR if kind == accept.JSON_SEQUENCE else b""
        stream = await call.stream(kind)
        async for event in subscription:
            if not _too_new(event, call.version):
                await stream.json(_without_legacy_fields(event) if newest else event, start=start)


_LEGACY_USAGE = ("LayersSize", "Images", "Containers", "Volumes", "BuildCache")


async def data_usage(engine: Any, call: Call) -> Answer:
    """SystemDataUsage: both shapes, unless `verbose` says that the client knows the newer one."""
    call.abandonable = True
    found = await engine.usage.disk_usage(call.query.get("type") or ())
    if call.query.get("verbose"):
        found = {name: value for name, value in found.items() if name not in _LEGACY_USAGE}
    return Json(found)


async def auth(engine: Any, call: Call) -> Answer:
    """SystemAuth."""
    from compatd.engine.images.registry.login import login

    call.abandonable = True
    identity = await login(engine.config, call.body or {})
    return Json({"Status": "Login Succeeded", "IdentityToken": identity or ""})


def _time(call: Call, name: str) -> int | None:
    text = call.query.get(name)
    if not text:
        return None
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise InvalidParameter(f"invalid value for '{name}': {error}") from None


def _too_new(event: dict[str, Any], asked: Version) -> bool:
    """Events that clients of older versions do not get."""
    return asked < _IMAGE_CREATE and (event["Type"], event["Action"]) == ("image", "create")


def _without_legacy_fields(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in ("status", "id", "from")}


HANDLERS: dict[str, Handler] = {
    "SystemVersion": version,
    "SystemInfo": info,
    "SystemEvents": events,
    "SystemDataUsage": data_usage,
    "SystemAuth": auth,
}
