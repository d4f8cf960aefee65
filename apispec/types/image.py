"""Images: inspect, list, history, and what delete and pull report."""

from typing import Any

from apispec.model import Anything, Bool, Enum, Field, Int, Int64, ListOf, MapOf, String, Struct, Uint64
from apispec.types import common, container


def _uncounted(image: dict[str, Any]) -> None:
    """The number of containers was not told until 1.51."""
    image["Containers"] = -1


def _none_for_untagged(image: dict[str, Any]) -> None:
    """Until 1.42 an image without a name was shown with one made up, and empty lists were null."""
    tags, digests = image.get("RepoTags"), image.get("RepoDigests")
    if not tags and not digests:
        tags, digests = ["<none>:<none>"], ["<none>@<none>"]
    image["RepoTags"], image["RepoDigests"] = tags or None, digests or None


_UNSET = {
    "Cmd": None,
    "Entrypoint": None,
    "Env": None,
    "Labels": None,
    "OnBuild": None,
    "User": "",
    "Volumes": None,
}


def _unset_shown(image: dict[str, Any]) -> None:
    """Until 1.51 these were there even when empty."""
    for name in ("Parent", "Comment", "DockerVersion", "Author"):
        image.setdefault(name, "")
    image["Config"] = {**_UNSET, "WorkingDir": "", **(image.get("Config") or {})}


def _created_shown(image: dict[str, Any]) -> None:
    """Until 1.43 an image without a date had Go's zero time."""
    image.setdefault("Created", "0001-01-01T00:00:00Z")


Config = Struct(
    "v1.DockerOCIImageConfig",
    User=String,
    ExposedPorts=Field(MapOf(Struct("struct {}")), nullable=True),
    Env=ListOf(String),
    Cmd=ListOf(String),
    Healthcheck=container.HealthConfig,
    ArgsEscaped=Field(Bool, nullable=True),
    Volumes=MapOf(Struct("struct {}")),
    WorkingDir=String,
    Entrypoint=ListOf(String),
    OnBuild=Field(ListOf(String), nullable=True),
    Labels=MapOf(String),
    StopSignal=Field(String, nullable=True),
    Shell=Field(ListOf(String), nullable=True),
    Hostname=Field(String, until="1.49", older=""),
    Domainname=Field(String, until="1.49", older=""),
    AttachStdin=Field(Bool, until="1.49", older=False),
    AttachStdout=Field(Bool, until="1.49", older=False),
    AttachStderr=Field(Bool, until="1.49", older=False),
    Tty=Field(Bool, until="1.49", older=False),
    OpenStdin=Field(Bool, until="1.49", older=False),
    StdinOnce=Field(Bool, until="1.49", older=False),
    Image=Field(String, until="1.49", older=""),
)

BuildIdentity = Struct(
    "image.BuildIdentity",
    Ref=String,
    CreatedAt=String,
)

PullIdentity = Struct(
    "image.PullIdentity",
    Repository=String,
)

SignatureTimestamp = Struct(
    "image.SignatureTimestamp",
    Type=Enum("Tlog", "TimestampAuthority"),
    URI=String,
    Timestamp=String,
)

SignerIdentity = Struct(
    "image.SignerIdentity",
    CertificateIssuer=String,
    SubjectAlternativeName=String,
    Issuer=String,
    BuildSignerURI=String,
    BuildSignerDigest=String,
    RunnerEnvironment=String,
    SourceRepositoryURI=String,
    SourceRepositoryDigest=String,
    SourceRepositoryRef=String,
    SourceRepositoryIdentifier=String,
    SourceRepositoryOwnerURI=String,
    SourceRepositoryOwnerIdentifier=String,
    BuildConfigURI=String,
    BuildConfigDigest=String,
    BuildTrigger=String,
    RunInvocationURI=String,
    SourceRepositoryVisibilityAtSigning=String,
)

SignatureIdentity = Struct(
    "image.SignatureIdentity",
    Name=String,
    Timestamps=ListOf(SignatureTimestamp),
    KnownSigner=Enum("DHI"),
    DockerReference=String,
    Signer=SignerIdentity,
    SignatureType=Enum("bundle-v0.3", "simplesigning-v1"),
    Error=String,
    Warnings=ListOf(String),
)

Identity = Struct(
    "image.Identity",
    Signature=ListOf(SignatureIdentity),
    Pull=ListOf(PullIdentity),
    Build=ListOf(BuildIdentity),
)

ManifestSummary = Struct(
    "image.ManifestSummary",
    ID=String,
    Descriptor=common.Descriptor,
    Available=Bool,
    Size=Struct(
        "image.ManifestSize",
        Total=Int64,
        Content=Int64,
    ),
    Kind=Enum("image", "attestation", "unknown"),
    ImageData=Field(
        Struct(
            "image.ImageProperties",
            Platform=common.Platform,
            Identity=Field(Identity, nullable=True),
            Containers=ListOf(String),
            Size=Struct(
                "image.ImagePropertiesSize",
                Unpacked=Int64,
            ),
        ),
        nullable=True,
    ),
    AttestationData=Field(
        Struct(
            "image.AttestationProperties",
            For=String,
        ),
        nullable=True,
    ),
)

InspectResponse = Struct(
    "image.InspectResponse",
    Id=String,
    Descriptor=Field(common.Descriptor, since="1.48", nullable=True),
    Manifests=Field(ListOf(ManifestSummary), since="1.48", nullable=True),
    Identity=Field(Identity, since="1.53", nullable=True),
    RepoTags=ListOf(String),
    RepoDigests=ListOf(String),
    Comment=Field(String, nullable=True),
    Created=Field(String, nullable=True),
    Author=Field(String, nullable=True),
    Config=Config,
    Architecture=String,
    Variant=Field(String, nullable=True),
    Os=String,
    OsVersion=Field(String, nullable=True),
    Size=Int64,
    GraphDriver=Field(container.DriverData, nullable=True),
    RootFS=Struct(
        "image.RootFS",
        Type=String,
        Layers=ListOf(String),
    ),
    Metadata=Struct(
        "image.Metadata",
        LastTagTime=Field(String, nullable=True),
    ),
    VirtualSize=Field(Int64, until="1.43", older=lambda image: image.get("Size", 0)),
    Container=Field(String, until="1.44", older=""),
    ContainerConfig=Field(Anything(), until="1.44", older=None),
    Parent=String,
    DockerVersion=String,
    legacy=(("1.51", _unset_shown), ("1.43", _created_shown)),
)

Summary = Struct(
    "image.Summary",
    Id=String,
    ParentId=String,
    RepoTags=ListOf(String),
    RepoDigests=ListOf(String),
    Created=Int,
    Size=Int64,
    SharedSize=Int64,
    Labels=MapOf(String),
    Containers=Int,
    Manifests=ListOf(ManifestSummary),
    Descriptor=Field(common.Descriptor, since="1.48", nullable=True),
    VirtualSize=Field(Int64, until="1.43", older=lambda image: image.get("Size", 0)),
    legacy=(("1.50", _uncounted), ("1.42", _none_for_untagged)),
)

HistoryResponseItem = Struct(
    "image.HistoryResponseItem",
    Id=String,
    Created=Int64,
    CreatedBy=String,
    Tags=ListOf(String),
    Size=Int64,
    Comment=String,
)

DeleteResponse = Struct(
    "image.DeleteResponse",
    Untagged=String,
    Deleted=String,
)

DiskUsage = Struct(
    "image.DiskUsage",
    ActiveCount=Int64,
    TotalCount=Int64,
    Reclaimable=Int64,
    TotalSize=Int64,
    Items=ListOf(Summary),
)

AttestationStatement = Struct(
    "image.AttestationStatement",
    Descriptor=common.Descriptor,
    PredicateType=String,
    Statement=Field(MapOf(Anything()), nullable=True),
)

ImageID = Struct(
    "image.ImageID",
    ID=String,
)

CreateImageInfo = Struct(
    "image.CreateImageInfo",
    id=String,
    errorDetail=common.ErrorDetail,
    status=String,
    progressDetail=common.ProgressDetail,
)

PushImageInfo = Struct(
    "image.PushImageInfo",
    errorDetail=common.ErrorDetail,
    status=String,
    progressDetail=common.ProgressDetail,
)

PruneReport = Struct(
    "image.PruneReport",
    ImagesDeleted=ListOf(DeleteResponse),
    SpaceReclaimed=Uint64,
)

SearchResult = Struct(
    "registry.SearchResult",
    star_count=Int,
    is_official=Bool,
    name=String,
    is_automated=Bool,
    description=String,
)
