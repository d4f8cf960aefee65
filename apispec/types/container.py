"""Containers: the create request, what inspect and list tell, and the small answers."""

from typing import Any

from apispec.model import (
    MISSING,
    BadRequest,
    Bool,
    Enum,
    Field,
    Int,
    Int64,
    ListOf,
    MapOf,
    String,
    Struct,
    Uint16,
    Uint64,
    Words,
)
from apispec.types import common, hostconfig, network


def _of_bridge(name: str) -> Any:
    """Before 1.52 the default bridge's endpoint was shown a second time, one level up."""

    def value(settings: dict[str, Any]) -> Any:
        bridge = (settings.get("Networks") or {}).get("bridge")
        return bridge.get(name) if bridge else MISSING

    return value


def _short_id_alias(container: dict[str, Any]) -> None:
    """Until 1.44 the aliases on user-defined networks held the short ID and the host name too."""
    settings = container.get("NetworkSettings") or {}
    networks = dict(settings.get("Networks") or {})
    more = [container.get("Id", "")[:12], (container.get("Config") or {}).get("Hostname", "")]
    for name, endpoint in networks.items():
        if name not in ("bridge", "host", "none", "default") and not name.startswith("container:"):
            aliases = list(dict.fromkeys([*(endpoint.get("Aliases") or ()), *more]))
            networks[name] = {**endpoint, "Aliases": aliases}
    container["NetworkSettings"] = {**settings, "Networks": networks}


def _not_empty(request: dict[str, Any]) -> None:
    if not request.keys() - {"HostConfig", "NetworkingConfig"}:
        raise BadRequest("config cannot be empty in order to create a container")


HealthConfig = Struct(
    "v1.HealthcheckConfig",
    Test=ListOf(String),
    Interval=Int64,
    Timeout=Int64,
    Retries=Int,
    StartPeriod=Int64,
    StartInterval=Int64,
)

HealthcheckResult = Struct(
    "container.HealthcheckResult",
    Start=String,
    End=String,
    ExitCode=Int,
    Output=String,
)

Health = Struct(
    "container.Health",
    Status=Enum("none", "starting", "healthy", "unhealthy"),
    FailingStreak=Int,
    Log=ListOf(HealthcheckResult),
)

Config = Struct(
    "container.Config",
    Hostname=String,
    Domainname=String,
    User=String,
    AttachStdin=Bool,
    AttachStdout=Bool,
    AttachStderr=Bool,
    ExposedPorts=Field(MapOf(Struct("struct {}")), nullable=True),
    Tty=Bool,
    OpenStdin=Bool,
    StdinOnce=Bool,
    Env=ListOf(String),
    Cmd=Words(),
    Healthcheck=HealthConfig,
    ArgsEscaped=Field(Bool, nullable=True),
    Image=String,
    Volumes=MapOf(Struct("struct {}")),
    WorkingDir=String,
    Entrypoint=Words(),
    NetworkDisabled=Field(Bool, nullable=True),
    OnBuild=Field(ListOf(String), nullable=True),
    Labels=MapOf(String),
    StopSignal=Field(String, nullable=True),
    StopTimeout=Field(Int, nullable=True),
    Shell=Field(ListOf(String), nullable=True),
    MacAddress=Field(String, until="1.51"),
)

MountPoint = Struct(
    "container.MountPoint",
    Type=Enum("bind", "cluster", "image", "npipe", "tmpfs", "volume"),
    Name=String,
    Source=String,
    Destination=String,
    Driver=String,
    Mode=String,
    RW=Bool,
    Propagation=String,
)

PortSummary = Struct(
    "container.PortSummary",
    IP=String,
    PrivatePort=Uint16,
    PublicPort=Uint16,
    Type=Enum("tcp", "udp", "sctp"),
)

DriverData = Struct(
    "storage.DriverData",
    Name=String,
    Data=MapOf(String),
)

RootFSStorageSnapshot = Struct(
    "storage.RootFSStorageSnapshot",
    Name=String,
)

RootFSStorage = Struct(
    "storage.RootFSStorage",
    Snapshot=Field(RootFSStorageSnapshot, nullable=True),
)

Storage = Struct(
    "storage.Storage",
    RootFS=Field(RootFSStorage, nullable=True),
)

State = Struct(
    "container.State",
    Status=Enum("created", "running", "paused", "restarting", "removing", "exited", "dead"),
    Running=Bool,
    Paused=Bool,
    Restarting=Bool,
    OOMKilled=Bool,
    Dead=Bool,
    Pid=Int,
    ExitCode=Int,
    Error=String,
    StartedAt=String,
    FinishedAt=String,
    Health=Health,
)

NetworkSettings = Struct(
    "container.NetworkSettings",
    SandboxID=String,
    SandboxKey=String,
    Ports=hostconfig.PortMap,
    Networks=MapOf(network.EndpointSettings),
    EndpointID=Field(String, until="1.51", older=_of_bridge("EndpointID")),
    Gateway=Field(String, until="1.51", older=_of_bridge("Gateway")),
    GlobalIPv6Address=Field(String, until="1.51", older=_of_bridge("GlobalIPv6Address")),
    GlobalIPv6PrefixLen=Field(Int, until="1.51", older=_of_bridge("GlobalIPv6PrefixLen")),
    IPAddress=Field(String, until="1.51", older=_of_bridge("IPAddress")),
    IPPrefixLen=Field(Int, until="1.51", older=_of_bridge("IPPrefixLen")),
    IPv6Gateway=Field(String, until="1.51", older=_of_bridge("IPv6Gateway")),
    MacAddress=Field(String, until="1.51", older=_of_bridge("MacAddress")),
)

InspectResponse = Struct(
    "container.InspectResponse",
    Id=String,
    Created=Field(String, nullable=True),
    Path=String,
    Args=ListOf(String),
    State=State,
    Image=String,
    ResolvConfPath=String,
    HostnamePath=String,
    HostsPath=String,
    LogPath=Field(String, nullable=True),
    Name=String,
    RestartCount=Int,
    Driver=String,
    Platform=String,
    ImageManifestDescriptor=Field(common.Descriptor, since="1.48"),
    MountLabel=String,
    ProcessLabel=String,
    AppArmorProfile=String,
    ExecIDs=Field(ListOf(String), nullable=True),
    HostConfig=hostconfig.HostConfig,
    GraphDriver=Field(DriverData, nullable=True, until="1.51"),
    Storage=Field(Storage, since="1.52", nullable=True),
    SizeRw=Field(Int64, nullable=True),
    SizeRootFs=Field(Int64, nullable=True),
    Mounts=ListOf(MountPoint),
    Config=Config,
    NetworkSettings=NetworkSettings,
    legacy=(("1.44", _short_id_alias),),
)

Summary = Struct(
    "container.Summary",
    Id=String,
    Names=ListOf(String),
    Image=String,
    ImageID=String,
    ImageManifestDescriptor=Field(common.Descriptor, since="1.48", nullable=True),
    Command=String,
    Created=Int64,
    Ports=ListOf(PortSummary),
    SizeRw=Field(Int64, nullable=True),
    SizeRootFs=Field(Int64, nullable=True),
    Labels=MapOf(String),
    State=Enum("created", "running", "paused", "restarting", "exited", "removing", "dead"),
    Status=String,
    HostConfig=Struct(
        "container.SummaryHostConfig",
        NetworkMode=String,
        Annotations=Field(MapOf(String), since="1.46", nullable=True),
    ),
    NetworkSettings=Struct(
        "container.NetworkSettingsSummary",
        Networks=MapOf(network.EndpointSettings),
    ),
    Mounts=ListOf(MountPoint),
    Health=Field(
        Struct(
            "container.HealthSummary",
            Status=Enum("none", "starting", "healthy", "unhealthy"),
            FailingStreak=Int,
        ),
        since="1.52",
    ),
)

FilesystemChange = Struct(
    "container.FilesystemChange",
    Path=String,
    Kind=Int,
)

CreateResponse = Struct(
    "container.CreateResponse",
    Id=String,
    Warnings=ListOf(String),
)

UpdateResponse = Struct(
    "container.UpdateResponse",
    Warnings=ListOf(String),
)

TopResponse = Struct(
    "container.TopResponse",
    Titles=ListOf(String),
    Processes=ListOf(ListOf(String)),
)

WaitExitError = Struct(
    "container.WaitExitError",
    Message=String,
)

WaitResponse = Struct(
    "container.WaitResponse",
    StatusCode=Int64,
    Error=WaitExitError,
)

DiskUsage = Struct(
    "container.DiskUsage",
    ActiveCount=Int64,
    TotalCount=Int64,
    Reclaimable=Int64,
    TotalSize=Int64,
    Items=ListOf(Summary),
)

RequestedHealth = Struct(
    "v1.HealthcheckConfig",
    HealthConfig,
    StartInterval=Field(Int64, since="1.44"),
)

CreateRequest = Struct(
    "container.CreateRequest",
    Config,
    Healthcheck=RequestedHealth,
    HostConfig=hostconfig.Request,
    NetworkingConfig=network.RequestedNetworking,
    check=_not_empty,
)

UpdateRequest = Struct(
    "container.UpdateConfig",
    hostconfig.UpdatableResources,
    RestartPolicy=hostconfig.RestartPolicy,
)

PruneReport = Struct(
    "container.PruneReport",
    ContainersDeleted=ListOf(String),
    SpaceReclaimed=Uint64,
)
