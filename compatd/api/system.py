"""Handlers of the noun system: ping is answered by the server itself."""

from typing import Any

from apispec import Version
from compatd.engine.errors import InvalidParameter
from compatd.engine.timestamps import parse_timestamp
from compatd.http import Answer, Call, Handler, Json

_WITHOUT_LEGACY_FIELDS = Version("1.52")


async def version(engine: Any, _: Call) -> Answer:
    """SystemVersion."""
    return Json(engine.system.version())


async def info(engine: Any, _: Call) -> Answer:
    """SystemInfo."""
    return Json(engine.system.info())


async def events(engine: Any, call: Call) -> None:
    """SystemEvents: a stream of JSON objects until the client goes or `until` is reached."""
    since, until = _time(call, "since"), _time(call, "until")
    if since is not None and until is not None and since > until:
        raise InvalidParameter(
            f"`since` time ({call.query['since']}) must be before `until` time ({call.query['until']})"
        )
    newest = call.version >= _WITHOUT_LEGACY_FIELDS
    with engine.events.subscribe(call.query.get("filters") or {}, since, until) as subscription:
        stream = await call.stream("application/jsonl" if newest else "application/json")
        async for event in subscription:
            await stream.json(_without_legacy_fields(event) if newest else event)


def _time(call: Call, name: str) -> int | None:
    text = call.query.get(name)
    if not text:
        return None
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise InvalidParameter(f"invalid value for '{name}': {error}") from None


def _without_legacy_fields(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in ("status", "id", "from")}


HANDLERS: dict[str, Handler] = {
    "SystemVersion": version,
    "SystemInfo": info,
    "SystemEvents": events,
}
