"""A COPY or ADD as the workers take it: which trees are read, and one action a source. Pure.

Source: moby/buildkit frontend/dockerfile/dockerfile2llb (convert_copy), daemon/builder/dockerfile of moby.
"""

import posixpath
from dataclasses import dataclass, field
from typing import Any

from compatd.engine.builder.dockerfile import chmod
from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.sources import kind, normal_path
from compatd.engine.builder.state import Step
from runtime.storage.patterns import has_wildcards

Json = dict[str, Any]

LOCAL = "local"


@dataclass(slots=True)
class Work:
    """`sources` are LOCAL, {"files": …}, or the number of something fetched; `actions` name them by place."""

    sources: list[str | Json | int] = field(default_factory=list)
    actions: list[Json] = field(default_factory=list)

    def source(self, one: str | Json | int) -> int:
        """The place of this source, added if it is new."""
        if one not in self.sources:
            self.sources.append(one)
        return self.sources.index(one)


def work(step: Step, *, classic: bool, names: list[str]) -> Work:
    """What is to be done. `names`: of each URL's file, "" for what is no file (a git repository)."""
    one = step.instruction
    assert isinstance(one, i.Transfer)
    found = Work()
    target = cleaned(step.destination)
    if classic:
        for source in one.sources:
            found.actions.append(_classic(found, one, source, target, names))
        return found
    common: Json = {"target": target, "exclude": list(one.exclude)}
    if one.chmod:
        common["mode"] = chmod.parse(one.chmod)
    fetched = 0
    for source in one.sources:
        if isinstance(one, i.Add) and kind(source) != LOCAL:
            place = found.source(fetched)
            name, fetched = names[fetched], fetched + 1
            unpack = bool(one.unpack) if name else False
            found.actions.append(common | {"source": place, "path": f"/{name}", "unpack": unpack})
        else:
            found.actions.append(common | _local(found, one, source))
    for document in one.contents:
        place = found.source({"files": {document.name: document.data}})
        found.actions.append(common | {"source": place, "path": f"/{document.name}"})
    return found


def _local(found: Work, one: i.Transfer, source: str) -> Json:
    include: list[str] = []
    required: list[str] = []
    if isinstance(one, i.Copy) and one.parents:
        above, pivot, pattern = source.partition("/./")
        if not pivot:
            above, pattern = "/", source
        pattern = posixpath.normpath("/" + pattern).lstrip("/")
        include = [pattern] if pattern else []
        if not has_wildcards(above) and not has_wildcards(pattern):
            required = [normal_path("/", posixpath.normpath(f"/{above}/{pattern}"))]
        source = above
    path = "/" + posixpath.normpath("/" + source).lstrip("/")
    unpack = isinstance(one, i.Add) and one.unpack is not False
    return {
        "source": found.source(LOCAL), "path": path, "follow": True, "contents": True,
        "wildcards": has_wildcards(path), "include": include, "required": required, "unpack": unpack,
    }  # fmt: skip


def _classic(found: Work, one: i.Transfer, source: str, target: str, names: list[str]) -> Json:
    if isinstance(one, i.Add) and kind(source) == "http":
        number = sum(isinstance(other, int) for other in found.sources)
        return {"source": found.source(number), "path": names[number], "target": target}
    path = source.removeprefix("/").removeprefix("./")
    return {
        "source": found.source(LOCAL), "path": path, "target": target, "wildcards": has_wildcards(path),
        "unpack": isinstance(one, i.Add),
    }  # fmt: skip


def cleaned(path: str) -> str:
    """The destination without `..` and doubled slashes; a slash or `/.` at its end stays."""
    plain = "/" + posixpath.normpath("/" + path).lstrip("/")
    if path.endswith("/.") or path == ".":
        return plain.rstrip("/") + "/."
    if path.endswith("/") and plain != "/":
        return plain + "/"
    return plain
