"""COPY and ADD, as the executor calls them: `fetch`, then `key`, then (unless it is cached) `copy`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.context.folder import Context, Progress
from compatd.engine.builder.evaluate import Step
from compatd.engine.builder.snapshots import LayerTree, Snapshot

if TYPE_CHECKING:
    from compatd.engine.builder.service import Builder

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Copy:
    """One COPY or ADD. `source`: where its paths are looked for (None: there is no context).

    `users`: the layers in whose `/etc/passwd` and `/etc/group` --chown's names are looked up: those that the
    step stands on. `fetched`: what `fetch` brought, to be closed.
    """

    step: Step
    source: Context | LayerTree | None
    users: Sequence[str] = ()
    classic: bool = False
    fetched: list[Any] = field(default_factory=list)

    async def close(self) -> None:
        """Remove what `fetch` brought."""
        for one in self.fetched:
            await one.close()
        self.fetched.clear()


@dataclass(frozen=True, slots=True)
class Key:
    """`digest`: of all that is copied (names, modes, owners, attributes, links, content; no times).

    `hash`: how the classic history calls it: `file:<hex>`, `dir:<hex>`, `multi:<hex>`.
    """

    digest: str
    hash: str = ""


async def fetch(builder: "Builder", copy: Copy, progress: Progress | None = None, **options: Any) -> None:
    """Bring what ADD wants from URLs and git repositories; nothing for all else. Raises BuildError."""
    raise NotImplementedError


async def key(builder: "Builder", copy: Copy) -> Key:
    """What would be copied. Raises BuildError in the words of either door (sources that are missing …)."""
    raise NotImplementedError


async def copy(builder: "Builder", copy: Copy, snapshot: Snapshot) -> None:
    """Do it. With `--link` the snapshot is one of no layers, and its layer goes onto whatever. Raises BuildError."""
    raise NotImplementedError
