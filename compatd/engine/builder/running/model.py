"""What a RUN needs, as data. Made by the executor from a step, the snapshot it runs on and the request."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.dockerfile.instructions import Heredoc
from compatd.engine.builder.mountrules import ResolvedMount

if TYPE_CHECKING:
    from compatd.engine.builder.request import Secrets, Ssh
    from compatd.engine.builder.snapshots import Snapshot

Json = dict[str, Any]
NetworkMode = str
"""`default`, `host`, `none`, `container:X` or a network's name."""


@dataclass(slots=True)
class Run:
    """One RUN. `resources` has HostConfig's fields (Memory, MemorySwap, CpuShares, CpuPeriod, CpuQuota,
    CpusetCpus, CpusetMems, CgroupParent, Ulimits, ShmSize).

    `environment` is that of the step with the proxies behind it. With `classic` the files and the host name
    are those of a container of the classic builder, else BuildKit's. What is written below `volumes` is gone
    with the command, as it is in the classic builder's containers. `id` names all that it has on this
    machine; the classic text shows its first twelve digits.
    """

    snapshot: Snapshot
    args: Sequence[str]
    environment: Sequence[str]
    cwd: str = "/"
    user: str = ""
    script: Heredoc | None = None
    network: NetworkMode = "default"
    security: str = "sandbox"
    mounts: Sequence[ResolvedMount] = ()
    hostname: str = ""
    extra_hosts: Sequence[str] = ()
    resources: Json = field(default_factory=dict)
    secrets: Secrets | None = None
    ssh: Ssh | None = None
    entitlements: frozenset[str] = frozenset()
    classic: bool = False
    volumes: Sequence[str] = ()
    labels: Json = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_hex(32))
