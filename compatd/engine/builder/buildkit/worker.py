"""What the builder says of itself: its one worker, and its capabilities.

Source: moby/buildkit api/types, util/apicaps.
"""

from collections.abc import Iterable

from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.exporting import emulation
from compatd.engine.images import platform as platforms
from compatd.engine.images.platform import Platform

VERSION = "v0.13.2-moby"  # whose behaviour this is; clients take decisions by it
_GATEWAY = (
    "frontend.caps", "frontend.inputs", "gateway.evaluate", "gateway.solve.evaluate",
    "gateway.solve.metadata", "gateway.warnings", "importcaches", "proto.refarray", "readfile",
    "reference.attestations", "reference.output", "resolveimage", "resolveimage.resolvemode", "return",
    "returnmap", "solve.base", "solve.inlinereturn", "source.metaresolver",
)  # fmt: skip
_LOW_LEVEL = (
    "constraints", "exec.cgroup", "exec.meta.base", "exec.meta.cgroup.parent", "exec.meta.network",
    "exec.meta.proxyenv", "exec.meta.security", "exec.meta.setsdefaultpath", "exec.meta.ulimit",
    "exec.mount.bind", "exec.mount.cache", "exec.mount.cache.sharing", "exec.mount.secret",
    "exec.mount.selector", "exec.mount.ssh", "exec.mount.tmpfs", "exec.mount.tmpfs.size",
    "exporter.image.annotations", "exporter.image.attestations", "exporter.multiple",
    "exporter.sourcedateepoch", "file.base", "meta.description", "meta.exportcache", "meta.ignorecache",
    "platform", "source.buildop.llbfilename", "source.git", "source.git.fullurl", "source.git.httpauth",
    "source.git.keepgitdir", "source.git.subdir", "source.http", "source.image", "source.image.resolvemode",
    "source.local", "source.local.differ", "source.local.excludepatterns", "source.local.followpaths",
    "source.local.includepatterns", "source.local.sessionid", "source.local.sharedkeyhint",
    "source.local.unique", "source.ocilayout",
)  # fmt: skip
_DEPRECATED = ("solve.inlinereturn",)


def record(
    identity: str, labels: dict[str, str], policies: Iterable[Message] = (), **more: object
) -> Message:
    """The worker, as ListWorkers and Ping tell of it."""
    return proto("moby.buildkit.v1.types.WorkerRecord")(
        ID=identity,
        Labels=labels,
        platforms=[_platform(platform) for platform in runnable()],
        GCPolicy=list(policies),
        **more,
    )


def version() -> Message:
    """BuildkitVersion."""
    return proto("moby.buildkit.v1.types.BuildkitVersion")(
        package="github.com/moby/buildkit", version=VERSION, revision=""
    )


def capabilities() -> tuple[list[Message], list[Message]]:
    """Of the gateway, and of low-level builds."""
    make = proto("moby.buildkit.v1.apicaps.APICap")
    gateway = [make(ID=name, Enabled=True, Deprecated=name in _DEPRECATED) for name in _GATEWAY]
    return gateway, [make(ID=name, Enabled=True) for name in _LOW_LEVEL]


def runnable() -> list[Platform]:
    """What RUN can run here, this machine's own first, then what binfmt_misc has handlers for."""
    here = platforms.host()
    found = [here]
    if here.architecture == "amd64":
        found.append(Platform("linux", "386"))
    return list(dict.fromkeys((*found, *emulation.emulated())))


def _platform(platform: Platform) -> Message:
    return proto("pb.Platform")(OS=platform.os, Architecture=platform.architecture, Variant=platform.variant)
