"""The `--mount`s of a RUN with all their defaults. Source: moby/buildkit dockerfile2llb (texts)."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.instructions import Mount
from compatd.engine.builder.dockerfile.text import quote

if TYPE_CHECKING:
    from compatd.engine.builder.snapshots import Tree

SECRETS = "/run/secrets/"
AGENTS = "/run/buildkit/ssh_agent."


@dataclass(frozen=True, slots=True)
class ResolvedMount:
    """A `--mount` with its defaults filled in.

    `target` is absolute. `tree` is where bind and cache (its seed) take files from, `source` the path below
    it; `id` of a cache is its whole key, of a secret or an agent the client's name for it; `target` "" is a
    secret that is an environment variable only.
    """

    mount: Mount
    target: str
    id: str = ""
    source: str = "/"
    tree: "Tree | None" = None


def resolve(
    mounts: Sequence[Mount], cwd: str, trees: "Sequence[Tree | None]" = (), namespace: str = ""
) -> list[ResolvedMount]:
    """All mounts of a RUN in the order in which they are made.

    `trees`: where each one takes files from (None: an empty folder), in the order of `mounts`; to check only
    it may be left out. `namespace`: the build argument BUILDKIT_CACHE_MOUNT_NS. Raises DockerfileError.
    """
    found: list[ResolvedMount] = []
    agents = 0
    for index, mount in enumerate(mounts):
        tree = trees[index] if index < len(trees) else None
        if mount.type == "secret":
            found.append(_secret(mount, cwd))
        elif mount.type == "ssh":
            found.append(_agent(mount, cwd, agents))
            agents += 1
        else:
            found.append(_files(mount, cwd, tree, namespace))
    return sorted(found, key=lambda one: one.target)


def check(mounts: Sequence[Mount], cwd: str) -> None:
    """Raise DockerfileError for mounts that cannot be."""
    resolve(mounts, cwd)


def _absolute(cwd: str, path: str) -> str:
    return posixpath.normpath(posixpath.join("/", cwd, path)).replace("//", "/", 1)


def _secret(mount: Mount, cwd: str) -> ResolvedMount:
    id = mount.source or mount.id
    if not id:
        if not mount.target:
            raise DockerfileError("one of source, target required")
        id = posixpath.basename(mount.target.rstrip("/")) or "/"
    target = mount.target
    if not target and mount.env is None:
        target = SECRETS + (posixpath.basename(id.rstrip("/")) or "/")
    if mount.env == "":
        mount = replace(mount, env=id)
    return ResolvedMount(mount, _absolute(cwd, target) if target else "", id)


def _agent(mount: Mount, cwd: str, number: int) -> ResolvedMount:
    if mount.source:
        raise DockerfileError("ssh does not support source")
    return ResolvedMount(mount, _absolute(cwd, mount.target or f"{AGENTS}{number}"), mount.id or "default")


def _files(mount: Mount, cwd: str, tree: "Tree | None", namespace: str) -> ResolvedMount:
    target = _absolute(cwd, mount.target)
    if target == "/":
        raise DockerfileError(f"invalid mount target {quote(mount.target)}")
    id = ""
    if mount.type == "cache":
        id = f"{namespace}/{mount.id or posixpath.normpath(mount.target)}"
        tree = tree if mount.source_stage else None
    source = posixpath.normpath(posixpath.join("/", mount.source)).replace("//", "/", 1)
    return ResolvedMount(mount, target, id, source, None if mount.type == "tmpfs" else tree)
