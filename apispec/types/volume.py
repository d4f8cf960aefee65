"""Volumes; the cluster ones are of Swarm."""

from apispec.model import Anything, Enum, Field, Int64, ListOf, MapOf, String, Struct, Uint64
from apispec.types import common

ClusterVolumeSpec = Struct(
    "volume.ClusterVolumeSpec",
    Group=String,
    AccessMode=Anything(),
)

Topology = Struct(
    "volume.Topology",
    Segments=MapOf(String),
)

ClusterVolume = Struct(
    "volume.ClusterVolume",
    ID=String,
    Version=common.Version,
    CreatedAt=String,
    UpdatedAt=String,
    Spec=ClusterVolumeSpec,
    Info=Anything(),
    PublishStatus=ListOf(Anything()),
)

Volume = Struct(
    "volume.Volume",
    Name=String,
    Driver=String,
    Mountpoint=String,
    CreatedAt=String,
    Status=MapOf(Anything()),
    Labels=MapOf(String),
    Scope=Enum("local", "global"),
    ClusterVolume=Field(ClusterVolume, since="1.42"),
    Options=MapOf(String),
    UsageData=Field(
        Struct(
            "volume.UsageData",
            Size=Int64,
            RefCount=Int64,
        ),
        nullable=True,
    ),
)

ListResponse = Struct(
    "volume.ListResponse",
    Volumes=ListOf(Volume),
    Warnings=ListOf(String),
)

CreateRequest = Struct(
    "volume.CreateRequest",
    Name=String,
    Driver=String,
    DriverOpts=MapOf(String),
    Labels=MapOf(String),
    ClusterVolumeSpec=Field(ClusterVolumeSpec, since="1.42"),
)

DiskUsage = Struct(
    "volume.DiskUsage",
    ActiveCount=Int64,
    TotalCount=Int64,
    Reclaimable=Int64,
    TotalSize=Int64,
    Items=ListOf(Volume),
)

UpdateRequest = Struct(
    "volume.UpdateOptions",
    Spec=ClusterVolumeSpec,
)

PruneReport = Struct(
    "volume.PruneReport",
    VolumesDeleted=ListOf(String),
    SpaceReclaimed=Uint64,
)
