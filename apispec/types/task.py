"""Swarm tasks."""

from apispec.model import Anything, Enum, Int, Int64, ListOf, MapOf, String, Struct, Uint64
from apispec.types import common, network

Limit = Struct(
    "task.Limit",
    NanoCPUs=Int64,
    MemoryBytes=Int64,
    Pids=Int64,
)

Resources = Struct(
    "task.Resources",
    NanoCPUs=Int64,
    MemoryBytes=Int64,
    GenericResources=ListOf(Anything()),
)

NetworkAttachmentConfig = Struct(
    "task.NetworkAttachmentConfig",
    Target=String,
    Aliases=ListOf(String),
    DriverOpts=MapOf(String),
)

TaskSpec = Struct(
    "task.TaskSpec",
    PluginSpec=Anything(),
    ContainerSpec=Anything(),
    NetworkAttachmentSpec=Anything(),
    Resources=Anything(),
    RestartPolicy=Anything(),
    Placement=Anything(),
    ForceUpdate=Uint64,
    Runtime=String,
    Networks=ListOf(NetworkAttachmentConfig),
    LogDriver=Anything(),
)

ContainerStatus = Struct(
    "task.ContainerStatus",
    ContainerID=String,
    PID=Int,
    ExitCode=Int,
)

PortConfig = Struct(
    "task.PortConfig",
    Name=String,
    Protocol=Enum("tcp", "udp", "sctp"),
    TargetPort=Int,
    PublishedPort=Int,
    PublishMode=Enum("ingress", "host"),
)

PortStatus = Struct(
    "task.PortStatus",
    Ports=ListOf(PortConfig),
)

TaskStatus = Struct(
    "task.TaskStatus",
    Timestamp=String,
    State=String,
    Message=String,
    Err=String,
    ContainerStatus=ContainerStatus,
    PortStatus=PortStatus,
)

NetworkAttachment = Struct(
    "task.NetworkAttachment",
    Network=network.Network,
    Addresses=ListOf(String),
)

Task = Struct(
    "task.Task",
    ID=String,
    Version=common.Version,
    CreatedAt=String,
    UpdatedAt=String,
    Name=String,
    Labels=MapOf(String),
    Spec=TaskSpec,
    ServiceID=String,
    Slot=Int,
    NodeID=String,
    AssignedGenericResources=ListOf(Anything()),
    Status=TaskStatus,
    DesiredState=String,
    JobIteration=common.Version,
    NetworksAttachments=ListOf(NetworkAttachment),
)
