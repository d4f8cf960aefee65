"""Build cache and build progress."""

from apispec.model import Bool, Enum, Field, Int, Int64, ListOf, String, Struct, Uint64
from apispec.types import common, image

CacheRecord = Struct(
    "build.CacheRecord",
    ID=String,
    Parents=Field(ListOf(String), since="1.42", nullable=True),
    Type=Enum("internal", "frontend", "source.local", "source.git.checkout", "exec.cachemount", "regular"),
    Description=String,
    InUse=Bool,
    Shared=Bool,
    Size=Int,
    CreatedAt=String,
    LastUsedAt=Field(String, nullable=True),
    UsageCount=Int,
)

CacheDiskUsage = Struct(
    "build.CacheDiskUsage",
    ActiveCount=Int64,
    TotalCount=Int64,
    Reclaimable=Int64,
    TotalSize=Int64,
    Items=ListOf(CacheRecord),
)

BuildInfo = Struct(
    "build.BuildInfo",
    id=String,
    stream=String,
    errorDetail=common.ErrorDetail,
    status=String,
    progressDetail=common.ProgressDetail,
    aux=image.ImageID,
)

CachePruneReport = Struct(
    "build.CachePruneReport",
    CachesDeleted=ListOf(String),
    SpaceReclaimed=Uint64,
)
