"""The seccomp profile a container gets: Docker's default, or one given, as OCI's `linux.seccomp`."""

import json
import os
import re
from pathlib import Path
from typing import Any

from compatd.engine.errors import EngineError
from compatd.engine.seccomp_default import ALWAYS, ARCHITECTURES, RULES, Rule

Json = dict[str, Any]


def seccomp_profile(option: str, capabilities: list[str], *, daemons: str = "") -> Json | None:
    """The OCI `linux.seccomp` for a container.

    option: the container's own (`--security-opt seccomp=`): '', `builtin`, `unconfined`, or a profile's JSON,
    which the command line reads from a file and sends inline; never a path, for a client may not read files
    of the host. daemons: what `--seccomp-profile` of the daemon says, where '' or `builtin` is Docker's
    default, `unconfined`, or else a path; for when `option` is ''. capabilities: the container's bounding
    set. None: no filter. Raises EngineError in Docker's words.
    """
    if option == "builtin":
        return default_profile(capabilities)
    if option == "unconfined" or (not option and daemons == "unconfined"):
        return None
    if not option:
        if daemons in ("", "builtin"):
            return default_profile(capabilities)
        option = _read(daemons)
    return _custom(_decoded(option), capabilities)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise EngineError(f"opening seccomp profile ({path}) failed: open {path}: {reason}") from None


def _decoded(text: str) -> Json:
    """A profile's JSON. Raises EngineError as Go's decoder words it."""
    prefix = "Decoding seccomp profile failed: "
    try:
        profile = json.loads(text)
    except ValueError as error:
        raise EngineError(prefix + _complaint(text, getattr(error, "pos", 0))) from None
    except RecursionError:
        raise EngineError(prefix + "exceeded max depth") from None
    if profile is None:
        return {}
    if not isinstance(profile, dict):
        raise EngineError(
            f"{prefix}json: cannot unmarshal {_kind(profile)} into Go value of type seccomp.Seccomp"
        )
    for field, kind in (
        ("defaultAction", str),
        ("syscalls", list),
        ("archMap", list),
        ("architectures", list),
    ):
        value = profile.get(field)
        if value is not None and not isinstance(value, kind):
            raise EngineError(
                f"{prefix}json: cannot unmarshal {_kind(value)} into Go struct field Seccomp.{field} of type "
                + _GO_TYPES[field]
            )
    for call in profile.get("syscalls") or []:
        if call is not None and not isinstance(call, dict):
            raise EngineError(
                f"{prefix}json: cannot unmarshal {_kind(call)} into Go struct field Seccomp.syscalls of type "
                "seccomp.Syscall"
            )
    return profile


_GO_TYPES = {
    "defaultAction": "specs.LinuxSeccompAction",
    "syscalls": "[]*seccomp.Syscall",
    "archMap": "[]seccomp.Architecture",
    "architectures": "[]specs.Arch",
}


def _kind(value: Any) -> str:
    """What Go's decoder calls a JSON value."""
    if isinstance(value, bool):
        return "bool"
    names = {dict: "object", list: "array", str: "string", int: "number", float: "number"}
    return names.get(type(value), "null")


def _complaint(text: str, position: int) -> str:
    """Go's text about the first character that is not JSON."""
    if position >= len(text.rstrip()):
        return "unexpected end of JSON input"
    for literal in ("null", "true", "false"):
        if text[position] != literal[0]:
            continue
        for place, wanted in enumerate(literal):
            found = text[position + place : position + place + 1]
            if not found:
                return "unexpected end of JSON input"
            if found != wanted:
                return f"invalid character '{found}' in literal {literal} (expecting '{wanted}')"
    return f"invalid character '{text[position]}' looking for beginning of value"


def default_profile(capabilities: list[str], machine: str = "") -> Json:
    """Docker's default profile on `machine` (uname's; '' is this one)."""
    arch, architectures = ARCHITECTURES.get(machine or os.uname().machine, ("", ()))
    have = set(capabilities)
    syscalls: list[Json] = [{"names": ALWAYS.split(), "action": "SCMP_ACT_ALLOW"}]
    syscalls += [_oci(rule) for rule in RULES if _applies(rule, arch, have)]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": list(architectures),
        "syscalls": syscalls,
    }


def _applies(rule: Rule, arch: str, have: set[str]) -> bool:
    return (
        have.issuperset(rule.caps)
        and have.isdisjoint(rule.without)
        and (not rule.arches or arch in rule.arches)
        and arch not in rule.not_arches
    )


def _oci(rule: Rule) -> Json:
    result: Json = {"names": rule.names.split(), "action": "SCMP_ACT_ALLOW"}
    if rule.errno:
        result.update(action="SCMP_ACT_ERRNO", errnoRet=rule.errno)
    if rule.comparison:
        index, operator, value, second = rule.comparison
        arg: Json = {"index": index, "value": value, "op": f"SCMP_CMP_{operator}"}
        if operator == "MASKED_EQ":
            arg["valueTwo"] = second
        result["args"] = [arg]
    return result


def _custom(profile: Json, capabilities: list[str]) -> Json | None:
    """A profile in Docker's format (OCI's, plus `archMap`, `includes`, `excludes`) as OCI's."""
    if not profile.get("defaultAction") and not profile.get("syscalls"):
        return None
    if profile.get("architectures") and profile.get("archMap"):
        raise EngineError(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, "
            "use either 'architectures' or 'archMap'"
        )
    arch, native = ARCHITECTURES.get(os.uname().machine, ("", ("",)))
    architectures = list(profile.get("architectures") or [])
    for entry in profile.get("archMap") or []:
        if entry.get("architecture") == native[0]:
            architectures += [entry["architecture"], *(entry.get("subArchitectures") or [])]
            break
    result: Json = {"defaultAction": profile.get("defaultAction", "")}
    for key in ("defaultErrnoRet", "flags", "listenerPath", "listenerMetadata"):
        if profile.get(key) is not None:
            result[key] = profile[key]
    result["architectures"] = architectures
    result["syscalls"] = []
    for call in profile.get("syscalls") or []:
        names = list(call.get("names") or [])
        if call.get("name"):
            if names:
                raise EngineError(
                    "both 'name' and 'names' are specified in the seccomp profile, "
                    "use either 'name' or 'names'"
                )
            names = [call["name"]]
        excludes, includes = call.get("excludes") or {}, call.get("includes") or {}
        if _any(excludes, arch, capabilities) or not _all(includes, arch, capabilities):
            continue
        kept = {key: call[key] for key in ("action", "errnoRet", "args") if call.get(key) is not None}
        result["syscalls"].append({"names": names, **kept})
    return result


def _any(condition: Json, arch: str, capabilities: list[str]) -> bool:
    return (
        arch in (condition.get("arches") or [])
        or any(name in capabilities for name in condition.get("caps") or [])
        or (bool(condition.get("minKernel")) and _kernel_at_least(condition["minKernel"]))
    )


def _all(condition: Json, arch: str, capabilities: list[str]) -> bool:
    return (
        (not condition.get("arches") or arch in condition["arches"])
        and all(name in capabilities for name in condition.get("caps") or [])
        and (not condition.get("minKernel") or _kernel_at_least(condition["minKernel"]))
    )


def _kernel_at_least(wanted: str) -> bool:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", text)[:2]]

    return numbers(os.uname().release) >= numbers(wanted)
