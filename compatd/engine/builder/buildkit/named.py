"""`--build-context NAME=…`: what the client says a name stands for.

Source: moby/buildkit frontend/dockerui/namedcontext.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compatd.engine.builder import sources
from compatd.engine.builder.bases import Base
from compatd.engine.builder.buildkit import definitions
from compatd.engine.builder.buildkit.locals import Wanted
from compatd.engine.builder.context import Context
from compatd.engine.builder.dockerfile.ignore import read_patterns
from compatd.engine.builder.request import NamedContext
from compatd.engine.errors import EngineError, NotFound
from compatd.engine.images.index import Pins
from compatd.engine.images.platform import Platform

if TYPE_CHECKING:
    from compatd.engine.builder.buildkit.inputs import Inputs

_IGNORE = ".dockerignore"


def named_contexts(inputs: "Inputs", given: Mapping[str, str]) -> dict[str, NamedContext]:
    """One for each name. Raises EngineError for what cannot be any."""
    found: dict[str, NamedContext] = {}
    for name, value in given.items():
        kind, colon, rest = value.partition(":")
        if not colon:
            raise EngineError(f"invalid context specifier {value} for {name}")
        rest = rest.removeprefix("//")
        if kind in ("docker-image", "oci-layout"):
            found[name] = inputs.kit.image_context(inputs.job, name, kind, rest)
        elif kind == "local":
            found[name] = _Local(inputs, name, rest)
        elif kind == "input":
            found[name] = _Given(inputs, name, rest)
        elif kind in ("http", "https", "git") or sources.kind(value) == "git":
            found[name] = _Remote(inputs, name, value)
        else:
            raise EngineError(f"unsupported context source {kind} for {name}")
    return found


@dataclass(frozen=True, slots=True)
class _Local:
    inputs: "Inputs"
    name: str
    folder: str

    async def resolve(self, platform: Platform, pins: Pins) -> Base | Context:
        """The client's folder, without what its own .dockerignore leaves out."""
        title, hint = f"[context {self.name}] load ", f"context:{self.name}"
        fetch = self.inputs.locals.fetch
        files = await fetch(
            Wanted(self.folder, f"{title}{_IGNORE}", f"{hint}-{_IGNORE}", [_IGNORE], always=True)
        )
        try:
            patterns = read_patterns(await files.read(_IGNORE))
        except NotFound:
            patterns = []
        return await fetch(Wanted(self.folder, f"{title}from client", hint, None, patterns))


@dataclass(frozen=True, slots=True)
class _Remote:
    inputs: "Inputs"
    name: str
    url: str

    async def resolve(self, platform: Platform, pins: Pins) -> Base | Context:
        """Files of a repository or of a URL."""
        return await self.inputs.remote(self.url, f"[context {self.name}] {self.url}", keep_git=True)


@dataclass(frozen=True, slots=True)
class _Given:
    inputs: "Inputs"
    name: str
    key: str

    async def resolve(self, platform: Platform, pins: Pins) -> Base | Context:
        """What the client has made with a Solve before (`bake`: one target stands on another)."""
        if self.key not in self.inputs.given:
            raise EngineError(f"invalid input {self.key} for {self.name}")
        return await definitions.base(self.inputs, self.inputs.given[self.key], platform, pins)
