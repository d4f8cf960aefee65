"""What a build is asked for, and what comes of it: between the doors and the executor."""

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from compatd.engine.builder import graph
from compatd.engine.builder.bases import Auth, Base
from compatd.engine.builder.context import Context
from compatd.engine.builder.dockerfile.ignore import Matcher
from compatd.engine.images.index import Pins
from compatd.engine.images.model import Layer
from compatd.engine.images.platform import Platform

Json = dict[str, Any]

CLASSIC, BUILDKIT = "classic", "buildkit"
NETWORK_HOST, INSECURE = "network.host", "security.insecure"


class Secrets(Protocol):
    """Where RUN's secrets come from."""

    async def get(self, secret_id: str) -> bytes:
        """The content. Raises NotFound."""


class Ssh(Protocol):
    """The client's ssh agents."""

    async def connect(self, agent_id: str) -> socket.socket:
        """A stream to the agent, non-blocking; closed by the taker. Raises NotFound."""


class ContextSource(Protocol):
    """Where the build context comes from; asked when the first step needs it, once."""

    async def load(self, paths: Sequence[str] | None) -> Context:
        """At least these paths of it (they may have wildcards; None: all). Closed by who made the request."""


class NamedContext(Protocol):
    """One of `--build-context`: an image, or files."""

    async def resolve(self, platform: Platform, pins: Pins) -> Base | Context:
        """Asked at most once for each platform; an image's layers are pinned. Raises EngineError."""


class CacheSource(Protocol):
    """An imported cache (`--cache-from`)."""

    async def find(self, key: str, parent: Sequence[str], pins: Pins) -> tuple[Layer, int] | None:
        """The layer that the step of that key came to, brought here on top of these chain IDs and pinned, and
        when that was (ns); or None.
        """

    async def defined(self, definition: str) -> str:
        """The key that a step of that definition came to (see `foresight`), or ""."""


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """All that a door says. The file is `dockerfile`, and `name` is how errors call it.

    `no_cache` is for all steps, or for the stages named in it. `network` is "default", "host", "none", or, of
    the classic door, a network or `container:X`. `resources` are HostConfig's fields (Memory, CpuShares,
    CgroupParent, Ulimits, ShmSize …). `every_stage`: all stages up to the target, not only what it needs.
    `limits`: who asks, and how far it may go (a Peer). `auth`: registry's host → credentials, for bases.
    `ignore` may be a function that gets it: it is called once the bases are known. `definitions`: steps get
    theirs (see `foresight`), and with `skip` stages of which `cache_from` knows all are not built.
    """

    dockerfile: bytes
    name: str = "Dockerfile"
    options: graph.Options = field(default_factory=graph.Options)
    platforms: tuple[Platform, ...] = ()  # none: options.platform, or this machine's
    context: ContextSource | None = None
    ignore: Matcher | Callable[[], Awaitable[Matcher]] | None = None
    named: Mapping[str, NamedContext] = field(default_factory=dict)
    pull: bool = False
    no_cache: bool | frozenset[str] = False
    network: str = "default"
    entitlements: frozenset[str] = frozenset()
    resources: Json = field(default_factory=dict)
    extra_hosts: tuple[str, ...] = ()
    hostname: str = ""
    secrets: Secrets | None = None
    ssh: Ssh | None = None
    auth: Auth | None = None
    cache_from: Sequence[CacheSource] = ()
    definitions: bool = False
    skip: bool = False
    cache_images: Sequence[str] = ()  # of the classic door: whose steps are cached
    door: str = BUILDKIT
    every_stage: bool = False
    squash: bool = False
    source_date_epoch: int | None = None  # seconds
    limits: Any = None
    check_only: bool = False  # stop behind the build checks

    @property
    def owner(self) -> str:
        """Whose build it is; "" where nobody asks."""
        return self.limits.identity if self.limits else ""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step with a layer of its own, or without (`layer` None): for cache export and provenance.

    `key` is its cache key, `parents` those of what it stands on and takes from, `definition` its key by what
    leads to the content that it takes ("" if it is not wanted, or cannot be told).
    """

    key: str
    parents: tuple[str, ...]
    layer: str | None  # chain ID
    description: str
    vertex: str = ""
    created: int = 0  # ns
    cached: bool = False
    kind: str = ""
    definition: str = ""


@dataclass(frozen=True, slots=True)
class PlatformResult:
    """What came of one platform. `config` is the image's config, whole; its digest is the image's ID.

    `chain_ids`: its layers, base first, pinned until `BuildResult.close`. `image`: its ID where it was made
    as a local image already (classic door), else "".
    """

    platform: Platform
    config: bytes
    chain_ids: tuple[str, ...]
    history: Sequence[Json]
    steps: tuple[StepRecord, ...]
    bases: tuple[Base, ...]
    target: str = ""
    image: str = ""
    parent: str = ""  # the local image that it stands on, or ""


@dataclass(slots=True)
class BuildResult:
    """What came of a build: one a platform. The layers are kept until `close`, or the end of `async with`."""

    results: tuple[PlatformResult, ...]
    warnings: Sequence[Any] = ()  # of plan.linter
    pins: Any = None

    def close(self) -> None:
        """Let the layers go: the images made of them (and the cache) hold them now."""
        if self.pins is not None:
            self.pins.close()
            self.pins = None

    async def __aenter__(self) -> "BuildResult":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
