"""Provenance attestations: SLSA v0.2 predicates as BuildKit 0.13 makes them, in in-toto statements.

Source: moby/buildkit solver/llbsolver/provenance, exporter/attestation; docs/attestations/slsa-provenance.md.
"""

import base64
import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from compatd.engine import timestamps
from compatd.engine.builder.bases import Base
from compatd.engine.builder.exporting.attributes import boolean
from compatd.engine.builder.exporting.task import Invocation
from compatd.engine.builder.request import PlatformResult
from compatd.engine.errors import EngineError
from compatd.engine.images import platform as platforms
from compatd.engine.images.platform import Platform
from compatd.engine.images.reference import parse

Json = dict[str, Any]

PREDICATE = "https://slsa.dev/provenance/v0.2"
_STATEMENT = "https://in-toto.io/Statement/v0.1"
_BUILD_TYPE = "https://mobyproject.org/buildkit@v1"
_WITH_USERS = ("http", "https", "git", "ssh")
_HOST_SPECIFIC = frozenset(("cgroup-parent", "image-resolve-mode", "platform", "cache-imports"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `attest:provenance` asks for. `inline_only`: not for outputs that would become others by it."""

    full: bool = True
    inline_only: bool = False
    builder: str = ""
    reproducible: bool = False
    filename: str = "provenance.json"


def wanted(attestations: Mapping[str, str]) -> Wanted | None:
    """The provenance among the attestations asked for. Raises EngineError for what cannot be made."""
    for kind in attestations:
        if kind == "sbom":
            raise EngineError("SBOM attestations are not supported: build with --sbom=false")
        if kind != "provenance":
            raise EngineError(f'unknown attestation type "{kind}"')
    if "provenance" not in attestations:
        return None
    given = _fields(attestations["provenance"])
    mode = given.get("mode", "max")
    if mode not in ("min", "max", "full"):
        raise EngineError(f'invalid mode "{mode}"')
    if given.get("version", "v0.2") != "v0.2":
        raise EngineError(f"provenance of SLSA version {given['version']} is not supported: v0.2 is")
    return Wanted(
        full=mode != "min",
        inline_only=given.get("inline-only", "") in ("1", "t", "T", "TRUE", "true", "True"),
        builder=given.get("builder-id", ""),
        reproducible=boolean("reproducible", given.get("reproducible", "false"), empty=None),
        filename=given.get("filename", "provenance.json").rpartition("/")[2] or "provenance.json",
    )


def _fields(text: str) -> dict[str, str]:
    try:
        parts = next(csv.reader([text], strict=True), []) if text else []
    except csv.Error as error:
        raise EngineError(f"failed to parse provenance: {error}") from None
    return dict(part.partition("=")[::2] for part in parts)


def statement(subjects: Sequence[Json], predicate: Json) -> Json:
    """An in-toto statement."""
    return {
        "_type": _STATEMENT,
        "predicateType": PREDICATE,
        "subject": list(subjects),
        "predicate": predicate,
    }


def subject(name: str, digest: str) -> Json:
    """What a statement is about."""
    algorithm, _, value = digest.partition(":")
    return {"name": name, "digest": {algorithm: value}}


def image_url(reference: str, platform: Platform | None, kind: str = "docker") -> str:
    """A package URL: `pkg:docker/base@1?platform=linux%2Famd64`. Raises InvalidParameter."""
    found = parse(reference)
    named = found if found.digest else found.tagged()
    path = "/".join(quote(part, safe="") for part in named.familiar_name.split("/"))
    query = {}
    if named.digest:
        query["digest"] = named.digest
    if platform:
        query["platform"] = str(platform)
    text = "&".join(f"{key}={quote(value, safe=':')}" for key, value in query.items())
    return (
        f"pkg:{kind}/{path}"
        + (f"@{quote(named.tag, safe='')}" if named.tag else "")
        + (f"?{text}" if text else "")
    )


def redacted(url: str) -> str:
    """A URL without the name and password in it (source: moby/buildkit util/urlutil)."""
    scheme, separator, rest = url.partition("://")
    end = next((at for at, sign in enumerate(rest) if sign in "/?#"), len(rest))
    user, at, host = rest[:end].rpartition("@")
    if scheme.lower() not in _WITH_USERS or not separator or not at:
        return url
    mask = "xxxxx:xxxxx" if ":" in user else "xxxxx"
    return f"{scheme}://{mask}@{host}{rest[end:]}"


def predicate(what: Wanted, invocation: Invocation, result: PlatformResult) -> Json:
    """The predicate about one platform's build; its end is now."""
    args = {
        name: redacted(text) if name.startswith(("context", "vcs:")) else text
        for name, text in sorted(invocation.frontend.items())
        if name not in _HOST_SPECIFIC and not name.startswith("attest:")
    }
    source = {}
    if context := args.pop("context", ""):
        source["uri"] = context
    source["entryPoint"] = args.pop("filename", "") or invocation.filename
    shown = (
        args if what.full else {k: v for k, v in args.items() if not k.startswith(("build-arg:", "label:"))}
    )
    parameters: Json = {"frontend": "dockerfile.v0"}
    if shown:
        parameters["args"] = shown
    if invocation.locals:
        parameters["locals"] = [{"name": name} for name in invocation.locals]
    document: Json = {"builder": {"id": what.builder}, "buildType": _BUILD_TYPE}
    materials = [_material(base, result.platform) for base in result.bases if base.reference]
    materials += [{"uri": redacted(uri), "digest": dict(digests)} for uri, digests in invocation.materials]
    if materials:
        document["materials"] = materials
    document["invocation"] = {
        "configSource": source,
        "parameters": parameters,
        "environment": {"platform": str(platforms.host())},
    }
    if what.full:
        document["buildConfig"] = _steps(result)
    document["metadata"] = {
        "buildInvocationID": invocation.ref,
        "buildStartedOn": timestamps.rfc3339(invocation.started),
        "buildFinishedOn": timestamps.rfc3339(time.time_ns()),
        "completeness": {
            "parameters": shown == args,
            "environment": True,
            # What ADD has fetched is not told
            "materials": not invocation.locals and all(step.kind != "add" for step in result.steps),
        },
        "reproducible": what.reproducible,
        f"{_BUILD_TYPE}#metadata": _source(invocation) if what.full else {},
    }
    return document


def _material(base: Base, platform: Platform) -> Json:
    found: Json = {"uri": image_url(base.reference, platform)}
    if base.digest:
        algorithm, _, value = base.digest.partition(":")
        found["digest"] = {algorithm: value}
    return found


def _steps(result: PlatformResult) -> Json:
    """The build's steps by their cache keys; BuildKit tells its own low-level definition here."""
    names: dict[str, str] = {}
    definition = []
    for step in result.steps:
        if step.key in names:
            continue
        names[step.key] = f"step{len(names)}"
        entry: Json = {"id": names[step.key], "op": {"Op": {step.kind or "step": {"name": step.description}}}}
        inputs = [f"{names[parent]}:0" for parent in step.parents if parent in names]
        definition.append({**entry, "inputs": inputs} if inputs else entry)
    return {"llbDefinition": definition, "digestMapping": dict(sorted(names.items()))}


def _source(invocation: Invocation) -> Json:
    data = base64.b64encode(invocation.dockerfile).decode()
    return {"source": {"infos": [{"filename": invocation.filename, "language": "Dockerfile", "data": data}]}}
