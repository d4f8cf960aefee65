"""What a frontend answers instead of building: targets, outline, build checks, and what it can answer.

Source: moby/buildkit frontend/subrequests (names, versions, descriptions and layout of the texts).
"""

import base64
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.buildkit import errors
from compatd.engine.builder.buildkit.jobs import Solved
from compatd.engine.builder.buildkit.options import FrontendOptions
from compatd.engine.builder.buildkit.outline import described, location, outline
from compatd.engine.builder.dockerfile import lint, typed
from compatd.engine.builder.dockerfile.errors import DockerfileError, excerpt
from compatd.engine.builder.dockerfile.parser import parse

if TYPE_CHECKING:
    from compatd.engine.builder.request import BuildRequest
    from compatd.engine.builder.service import Builder

Json = dict[str, Any]

_VERSION = b"1.0.0"
_RESULTS = [{"name": "result.json", "description": ""}, {"name": "result.txt", "description": ""}]
DESCRIBE, TARGETS, OUTLINE, LINT = (
    "frontend.subrequests.describe", "frontend.targets", "frontend.outline", "frontend.lint",
)  # fmt: skip
_DESCRIPTIONS = {
    OUTLINE: "List all parameters current build target supports",
    TARGETS: "List all targets current build supports",
    LINT: "Lint a Dockerfile",
    DESCRIBE: "List available subrequest types",
}


async def answer(builder: "Builder", request: "BuildRequest", name: str, wanted: FrontendOptions) -> Solved:
    """The answer to the request of that name. Raises GrpcError, DockerfileError."""
    source = request.dockerfile
    if name == DESCRIBE:
        return _result(_described(), _describe_text())
    if name == TARGETS:
        found = _targets(source)
        return _result(found, _targets_text(found["targets"]))
    if name == OUTLINE:
        found = outline(source, wanted)
        return _result(found, _outline_text(found))
    if name == LINT:
        return await _lint(builder, request)
    raise errors.no_request(name)


def _result(document: Any, text: str, **more: bytes) -> Solved:
    data = json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "surrogateescape")
    shown = text.encode("utf-8", "surrogateescape")
    return Solved(metadata={"result.json": data, "result.txt": shown, "version": _VERSION, **more})


def _described() -> list[Json]:
    found: list[Json] = []
    for name, description in _DESCRIPTIONS.items():
        options = [{"name": "target", "description": "Target build stage"}] if name == OUTLINE else []
        results = [*_RESULTS, {"name": "result.statuscode", "description": ""}] if name == LINT else _RESULTS
        found.append(
            {
                "name": name,
                "version": _VERSION.decode(),
                "type": "rpc",
                "description": description,
                "opts": None if name == DESCRIBE else options,
                "inputs": None,
                "metadata": results,
                "refs": None,
            }
        )
    return found


def _describe_text() -> str:
    rows = [(name.removeprefix("frontend."), "1.0.0", text) for name, text in _DESCRIPTIONS.items()]
    return _table([("NAME", "VERSION", "DESCRIPTION"), *rows], 1)


def _targets(source: bytes) -> Json:
    stages = typed.program(parse(source)).stages
    found: list[Json] = []
    for index, stage in enumerate(stages):
        start = stage.start
        target: Json = {
            "name": start.stage,
            "default": index == len(stages) - 1,
            "description": described(start.comments, start.stage) if start.stage else "",
            "base": start.base,
            "platform": start.platform,
            "location": location(start.lines),
        }
        found.append({key: value for key, value in target.items() if value})
    return {"targets": found, "sources": [base64.b64encode(source).decode()]}


def _targets_text(targets: Sequence[Json]) -> str:
    rows = [("TARGET", "DESCRIPTION")]
    for target in targets:
        name, default = target.get("name", ""), target.get("default", False)
        shown = f"{name} (default)".lstrip() if default else name
        rows.append((shown, target.get("description", "")))
    return _table(rows, 1)


def _outline_text(found: Json) -> str:
    parts = []
    name, description = found.get("name", ""), found.get("description", "")
    if name or description:
        rows = [("TARGET:", name or "(default)")]
        parts.append(_table(rows + ([("DESCRIPTION:", description)] if description else []), 1))
    if args := found.get("args"):
        cells = [(arg["name"], arg.get("value", ""), arg.get("description", "")) for arg in args]
        parts.append(_table([("BUILD ARG", "VALUE", "DESCRIPTION"), *cells], 3))
    for key, title in (("secrets", "SECRET"), ("ssh", "SSH")):
        if items := found.get(key):
            needed = [(item["name"], "true" if item.get("required") else "") for item in items]
            parts.append(_table([(title, "REQUIRED"), *needed], 3))
    return "".join(part + "\n" for part in parts)


def _table(rows: Sequence[Sequence[str]], padding: int) -> str:
    """As Go's text/tabwriter: all columns but the last are as wide as their widest cell."""
    widths = [max(len(row[column]) for row in rows) + padding for column in range(len(rows[0]) - 1)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[-1] + "\n"
        for row in rows
    )


async def _lint(builder: "Builder", request: "BuildRequest") -> Solved:
    from compatd.engine.builder.progress import Observer

    failure: DockerfileError | None = None
    warnings: Sequence[lint.Warning] = ()
    try:
        async with await builder.build(request, Observer()) as built:
            warnings = built.warnings
    except DockerfileError as error:
        failure, warnings = error, getattr(error, "warnings", ())
    data = base64.b64encode(request.dockerfile).decode()
    info = {"filename": request.name, "data": data, "language": "Dockerfile"}
    found: Json = {
        "warnings": [_warning(warning) for warning in warnings] or None,
        "sources": [info],
    }
    if failure is not None:
        where: Json = location(failure.locations[0]) if failure.locations else {}
        found["buildError"] = {"message": failure.message, "location": where}
    status = b"1" if warnings or failure is not None else b"0"
    text = request.dockerfile.decode("utf-8", "replace")
    shown = sorted(warnings, key=lambda warning: warning.lines[0])
    return _result(
        found,
        "".join(_warning_text(warning, text, request.name) for warning in shown),
        **{"result.statuscode": status},
    )


def _warning(warning: lint.Warning) -> Json:
    found = {
        "ruleName": warning.rule,
        "description": warning.description,
        "url": warning.url,
        "detail": warning.message,
        "location": location(warning.lines),
    }
    return {key: value for key, value in found.items() if value}


def _warning_text(warning: lint.Warning, source: str, name: str) -> str:
    link = f" - {warning.url}" if warning.url else ""
    return f"\nWARNING: {warning.rule}{link}\n{warning.message}\n{excerpt(source, warning.lines, name)}"
