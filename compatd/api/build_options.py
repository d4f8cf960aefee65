"""The parameters of `POST /build`, decoded as the engine decodes them."""

import base64
import json
import re
from typing import Any

from apispec import gojson
from compatd.api.image import credentials
from compatd.engine.builder.buildkit.limits import Peer
from compatd.engine.builder.classic.build import Options
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.http import Call

Json = dict[str, Any]

_ISOLATIONS = ("", "default", "process", "hyperv")
_HUB = "docker.io"
_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", _HUB)
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}")
_KINDS = {str: "string", bool: "bool", dict: "object", list: "array"}
_LIMITS = {
    "Memory": "memory", "MemorySwap": "memswap", "CpuShares": "cpushares", "CpuPeriod": "cpuperiod",
    "CpuQuota": "cpuquota", "CpusetCpus": "cpusetcpus", "CpusetMems": "cpusetmems",
    "CgroupParent": "cgroupparent",
}  # fmt: skip


class Credentials:
    """X-Registry-Config: {registry: AuthConfig} in base64url; a broken one is none."""

    def __init__(self, header: str) -> None:
        self.given = _decoded(header) if header else {}

    async def credentials(self, host: str) -> dict[str, str]:
        """For a registry by its host, however the client calls it; {} for none."""
        for key in _HUB_KEYS if host == _HUB else (host,):
            if key in self.given:
                return self.given[key]
        for key, found in self.given.items():
            if re.sub(r"^https?://", "", key).partition("/")[0] == host:
                return found
        return {}


def _decoded(header: str) -> dict[str, dict[str, str]]:
    text = header.strip().rstrip("=").replace("+", "-").replace("/", "_")
    try:
        value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {key: credentials(json.dumps(one).encode()) for key, one in value.items() if isinstance(one, dict)}


def options(call: Call) -> Options:
    """What a request says. Raises InvalidParameter, EngineError."""
    query = call.query
    if query["securityopt"]:
        raise InvalidParameter("security options are not supported on linux")
    outputs(query["outputs"])
    resources = {name: query[key] for name, key in _LIMITS.items() if query[key]}
    if query["shmsize"]:
        resources["ShmSize"] = _shm_size(query["shmsize"])
    if query["isolation"] not in _ISOLATIONS:
        raise InvalidParameter(f'unsupported isolation: "{query["isolation"]}"')
    if query["ulimits"]:
        resources["Ulimits"] = _ulimits(query["ulimits"])
    return Options(
        dockerfile=query["dockerfile"],
        remote=query["remote"],
        tags=tuple(query["t"]),
        quiet=query["q"],
        no_cache=query["nocache"],
        pull=query["pull"],
        squash=query["squash"],
        platform=query["platform"],
        target=query["target"],
        build_args=_texts(query["buildargs"], "error reading build args", "*string"),
        labels={key: value or "" for key, value in _texts(query["labels"], "error reading labels").items()},
        cache_from=_list(query["cachefrom"], "error reading cache-from"),
        network=query["networkmode"],
        resources=resources,
        extra_hosts=tuple(query["extrahosts"]),
        build_id=query["buildid"],
        auth=Credentials(call.header("X-Registry-Config")),
        remove=query["rm"] or query["forcerm"],
        force_remove=query["forcerm"],
        limits=Peer(*call.access),
    )


def outputs(text: str) -> list[Json]:
    """BuildKit's exporters, `[{"Type": …, "Attrs": {…}}]`. Raises InvalidParameter."""
    found = _value(text, "invalid outputs specified", "[]buildbackend.BuildOutput", list) or []
    return [one for one in found if isinstance(one, dict)]


def _value(text: str, prefix: str, go: str, kind: type) -> Any:
    """JSON of one kind; None for "" and null."""
    try:
        value = gojson.loads(text.encode()) if text else None
    except gojson.JSONError as error:
        text = error.message.replace("unexpected EOF", "unexpected end of JSON input")  # of json.Unmarshal
        raise InvalidParameter(f"{prefix}: {text}") from None
    if value is not None and not isinstance(value, kind):
        raise _mismatch(prefix, value, go)
    return value


def _mismatch(prefix: str, value: Any, go: str) -> InvalidParameter:
    found = _KINDS.get(type(value), "number")
    return InvalidParameter(f"{prefix}: json: cannot unmarshal {found} into Go value of type {go}")


def _texts(text: str, prefix: str, go: str = "string") -> dict[str, str | None]:
    found: dict[str, str | None] = _value(text, prefix, f"map[string]{go}", dict) or {}
    for value in found.values():
        if value is not None and not isinstance(value, str):
            raise _mismatch(prefix, value, "string")
    return found


def _list(text: str, prefix: str) -> tuple[str, ...]:
    found = _value(text, prefix, "[]string", list) or []
    for value in found:
        if not isinstance(value, str):
            raise _mismatch(prefix, value, "string")
    return tuple(found)


def _ulimits(text: str) -> list[Json]:
    prefix = "error reading ulimit settings"
    found = []
    for one in _value(text, prefix, "[]*container.Ulimit", list) or []:
        if not isinstance(one, dict):
            raise _mismatch(prefix, one, "units.Ulimit")
        fields = {str(key).lower(): value for key, value in one.items()}
        limits = {name: fields.get(name.lower()) or 0 for name in ("Hard", "Soft")}
        if not isinstance(fields.get("name"), str) or not all(type(v) is int for v in limits.values()):
            raise InvalidParameter(
                f"{prefix}: json: cannot unmarshal object into Go value of type units.Ulimit"
            )
        found.append({"Name": fields["name"], **limits})
    return found


def _shm_size(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise EngineError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if not -(1 << 63) <= int(text) < 1 << 63:
        raise EngineError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)
