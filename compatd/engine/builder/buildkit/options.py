"""What clients tell the frontend `dockerfile.v0`, as data. Source: moby/buildkit frontend/dockerui."""

import csv
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.images import platform as platforms
from compatd.engine.images.platform import Platform

_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_NETWORKS = {"": "default", "sandbox": "default", "none": "none", "host": "host"}
_RESOLVE = {"": False, "default": False, "local": False, "pull": True}
_ULIMITS = frozenset(
    (
        *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
        *("rss", "rtprio", "rttime", "sigpending", "stack"),
    )
)
_INTEGER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class FrontendOptions:
    """The options of one Solve. `no_cache`: for all stages, or for those named. `pull`: even what is here.

    `contexts`: names of named contexts → what the client says of them. `cache_from`: {"Type", "Attrs"}.
    """

    filename: str = "Dockerfile"
    target: str = ""
    platforms: tuple[Platform, ...] = ()
    several_platforms: bool = False
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)
    attestations: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool | frozenset[str] = False
    pull: bool = False
    network: str = "default"
    extra_hosts: tuple[str, ...] = ()
    hostname: str = ""
    resources: Mapping[str, Any] = field(default_factory=dict)
    cache_from: tuple[Mapping[str, Any], ...] = ()
    cache_namespace: str = ""
    source_date_epoch: int | None = None
    context: str = ""  # a URL
    context_name: str = "context"
    subfolder: str = ""
    dockerfile_name: str = "dockerfile"
    local_dockerfile: bool = False  # though the context is remote
    keep_git: bool = False
    syntax: str = ""
    request: str = ""  # what is asked for instead of a build
    capabilities: tuple[str, ...] = ()


def parse(given: Mapping[str, str]) -> FrontendOptions:
    """Raises EngineError in BuildKit's words."""
    args = _with_prefix(given, "build-arg:")
    wanted = _platforms(given.get("platform", ""))
    no_cache: bool | frozenset[str] = False
    if "no-cache" in given:
        no_cache = frozenset(given["no-cache"].lower().split(",")) if given["no-cache"] else True
    context_name = given.get("contextkey", "context")
    caps = given.get("frontend.caps", "")
    return FrontendOptions(
        filename=given.get("filename", "Dockerfile"),
        target=given.get("target", ""),
        platforms=wanted,
        several_platforms=_several(given, args, wanted),
        build_args=args,
        labels=_with_prefix(given, "label:"),
        contexts=_with_prefix(given, "context:"),
        attestations=_attestations(given),
        no_cache=no_cache,
        pull=_resolve_mode(given.get("image-resolve-mode", "")),
        network=_network(given.get("force-network-mode", "")),
        extra_hosts=_extra_hosts(given.get("add-hosts", "")),
        hostname=args.get("BUILDKIT_SANDBOX_HOSTNAME") or given.get("hostname", ""),
        resources=_resources(given),
        cache_from=_cache_from(given),
        cache_namespace=args.get("BUILDKIT_CACHE_MOUNT_NS", ""),
        source_date_epoch=_epoch(args.get("SOURCE_DATE_EPOCH", "")),
        context=given.get(context_name, ""),
        context_name="context",
        subfolder=given.get("contextsubdir", ""),
        dockerfile_name=given.get("dockerfilekey", "dockerfile"),
        local_dockerfile="dockerfilekey" in given,
        keep_git=args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "") in _TRUE,
        syntax="" if "cmdline" in given else args.get("BUILDKIT_SYNTAX", ""),
        request=given.get("requestid", ""),
        capabilities=tuple(caps.split(",")) if caps else (),
    )


def truth(text: str) -> bool | None:
    """Go's strconv.ParseBool; None for what is neither."""
    return True if text in _TRUE else False if text in _FALSE else None


def _with_prefix(given: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Those of a kind, sorted: Go sends maps in any order, and an image's digest shows its labels' order."""
    return {name[len(prefix) :]: given[name] for name in sorted(given) if name.startswith(prefix)}


def _attestations(given: Mapping[str, str]) -> dict[str, str]:
    found = _with_prefix(given, "attest:") | _with_prefix(given, "build-arg:BUILDKIT_ATTEST_")
    return {kind.lower(): parameters for kind, parameters in found.items()}


def _platforms(text: str) -> tuple[Platform, ...]:
    found = []
    for part in text.split(",") if text else ():
        try:
            found.append(platforms.parse(part))
        except InvalidParameter as error:
            raise EngineError(f"failed to parse target platform {part}: {error.message}") from None
    return tuple(found)


def _several(given: Mapping[str, str], args: Mapping[str, str], wanted: tuple[Platform, ...]) -> bool:
    text = args.get("BUILDKIT_MULTI_PLATFORM") or given.get("multi-platform", "")
    if not text:
        return len(wanted) > 1
    asked = truth(text)
    if asked is None:
        raise EngineError(f"invalid boolean value for multi-platform: {text}")
    if not asked and len(wanted) > 1:
        raise EngineError("conflicting config: returning multiple target platforms is not allowed")
    return asked


def _resolve_mode(text: str) -> bool:
    if text not in _RESOLVE:
        raise EngineError(f"invalid image-resolve-mode: {text}")
    return _RESOLVE[text]


def _network(text: str) -> str:
    if text not in _NETWORKS:
        raise EngineError(f"invalid netmode {text}")
    return _NETWORKS[text]


def _fields(text: str, what: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True), []) if text else []
    except csv.Error as error:
        raise EngineError(f"failed to parse {what}: {error}") from None


def _extra_hosts(text: str) -> tuple[str, ...]:
    what, found = "additional hosts", []
    for part in _fields(text, what):
        name, equals, address = part.lower().partition("=")
        if not equals:
            raise EngineError(f"failed to parse {what}: invalid key-value pair {part}")
        try:
            found.append(f"{name}:{ipaddress.ip_address(address)}")
        except ValueError:
            raise EngineError(f"failed to parse {what}: failed to parse IP {address}") from None
    return tuple(found)


def _resources(given: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if size := given.get("shm-size", ""):
        if not _INTEGER.fullmatch(size):
            text = f'strconv.ParseInt: parsing "{size}": invalid syntax'
            raise EngineError(f"failed to parse shm size: {text}")
        if int(size) > 0:
            found["ShmSize"] = int(size)
    if limits := [_ulimit(part) for part in _fields(given.get("ulimit", ""), "ulimit")]:
        found["Ulimits"] = limits
    if parent := given.get("cgroup-parent", ""):
        found["CgroupParent"] = parent
    return found


def _ulimit(text: str) -> dict[str, Any]:
    name, equals, values = text.partition("=")
    if not equals:
        raise EngineError(f"failed to parse ulimit: invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise EngineError(f"failed to parse ulimit: invalid ulimit type: {name}")
    soft, _, hard = values.partition(":")
    hard = hard or soft
    if not _INTEGER.fullmatch(soft) or not _INTEGER.fullmatch(hard) or values.count(":") > 1:
        raise EngineError(f"failed to parse ulimit: invalid ulimit argument: {text}")
    if int(hard) != -1 and (int(soft) == -1 or int(soft) > int(hard)):
        most = "-1" if int(soft) == -1 else soft
        why = f"ulimit soft limit must be less than or equal to hard limit: {most} > {hard}"
        raise EngineError(f"failed to parse ulimit: {why}")
    return {"Name": name, "Soft": int(soft), "Hard": int(hard)}


def _cache_from(given: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
    found: list[Mapping[str, Any]] = []
    if text := given.get("cache-imports", ""):
        try:
            entries = json.loads(text)
            found += [
                {"Type": str(entry["Type"]), "Attrs": dict(entry.get("Attrs") or {})} for entry in entries
            ]
        except (ValueError, TypeError, KeyError):
            raise EngineError(f"failed to unmarshal cache-imports ({json.dumps(text)})") from None
    if text := given.get("cache-from", ""):
        found += [{"Type": "registry", "Attrs": {"ref": reference}} for reference in text.split(",")]
    return tuple(found)


def _epoch(text: str) -> int | None:
    if not text:
        return None
    if not _INTEGER.fullmatch(text):
        raise EngineError(
            f'invalid SOURCE_DATE_EPOCH: {text}: strconv.ParseInt: parsing "{text}": invalid syntax'
        )
    return int(text)
