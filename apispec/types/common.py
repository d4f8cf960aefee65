"""Types that several nouns share."""

from apispec.model import Field, Int, Int64, ListOf, MapOf, String, Struct, Uint64

ErrorResponse = Struct(
    "common.ErrorResponse",
    message=String,
)

IDResponse = Struct(
    "common.IDResponse",
    Id=String,
)

ErrorDetail = Struct(
    "jsonstream.Error",
    code=Int,
    message=String,
)

ProgressDetail = Struct(
    "jsonstream.Progress",
    current=Int,
    total=Int,
)

Version = Struct(
    "swarm.Version",
    Index=Uint64,
)

Driver = Struct(
    "swarm.Driver",
    Name=String,
    Options=MapOf(String),
)

TLSInfo = Struct(
    "swarm.TLSInfo",
    TrustRoot=String,
    CertIssuerSubject=String,
    CertIssuerPublicKey=String,
)

Platform = Struct(
    "v1.Platform",
    architecture=String,
    os=String,
    variant=String,
    more={"os.version": String, "os.features": ListOf(String)},
)

Descriptor = Struct(
    "v1.Descriptor",
    mediaType=String,
    digest=String,
    size=Int64,
    urls=Field(ListOf(String), nullable=True),
    annotations=Field(MapOf(String), nullable=True),
    data=Field(String, nullable=True),
    platform=Platform,
    artifactType=Field(String, nullable=True),
)
