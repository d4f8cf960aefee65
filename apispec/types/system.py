"""The engine itself: version, events, disk usage."""

from typing import Any

from apispec.model import MISSING, Anything, Bool, Enum, Field, Int64, ListOf, MapOf, String, Struct
from apispec.types import build, common, container, image, volume


def _action(event: dict[str, Any]) -> Any:
    return event["Action"] if event.get("Type") in ("container", "image") else MISSING


def _actor(event: dict[str, Any]) -> Any:
    return event["Actor"]["ID"] if event.get("Type") in ("container", "image") else MISSING


def _image(event: dict[str, Any]) -> Any:
    image = event["Actor"]["Attributes"].get("image") if event.get("Type") == "container" else None
    return image or MISSING


VersionResponse = Struct(
    "system.VersionResponse",
    Platform=Struct(
        "system.PlatformInfo",
        Name=String,
    ),
    Components=ListOf(
        Struct(
            "system.ComponentVersion",
            Name=String,
            Version=String,
            Details=Field(MapOf(Anything()), nullable=True),
        )
    ),
    Version=String,
    ApiVersion=String,
    MinAPIVersion=String,
    GitCommit=String,
    GoVersion=String,
    Os=String,
    Arch=String,
    KernelVersion=String,
    Experimental=Bool,
    BuildTime=String,
)

Actor = Struct(
    "events.Actor",
    ID=String,
    Attributes=MapOf(String),
)

Message = Struct(
    "events.Message",
    Type=Enum(
        "builder",
        "config",
        "container",
        "daemon",
        "image",
        "network",
        "node",
        "plugin",
        "secret",
        "service",
        "volume",
    ),
    Action=String,
    Actor=Actor,
    scope=Enum("local", "swarm"),
    time=Int64,
    timeNano=Int64,
    status=Field(String, until="1.51", older=_action),
    id=Field(String, until="1.51", older=_actor),
    more={"from": Field(String, until="1.51", older=_image)},
)

ContainerItem = Struct(
    "container.Summary",
    container.Summary,
    ImageManifestDescriptor=common.Descriptor,
    Health=container.Summary.fields["Health"].type,
)
"""A container here and in older answers is shown as it is now."""

ImageItem = Struct("image.Summary", image.Summary, Descriptor=common.Descriptor)


def _builder_size(usage: dict[str, Any]) -> Any:
    return sum(record["Size"] for record in usage.get("BuildCache") or ())


DiskUsage = Struct(
    "system.DiskUsage",
    ImageUsage=Field(image.DiskUsage, since="1.52"),
    ContainerUsage=Field(container.DiskUsage, since="1.52"),
    VolumeUsage=Field(volume.DiskUsage, since="1.52"),
    BuildCacheUsage=Field(build.CacheDiskUsage, since="1.52"),
    LayersSize=Int64,
    Images=ListOf(ImageItem),
    Containers=ListOf(ContainerItem),
    Volumes=ListOf(volume.Volume),
    BuildCache=ListOf(build.CacheRecord),
    BuilderSize=Field(Int64, until="1.41", older=_builder_size),
)
