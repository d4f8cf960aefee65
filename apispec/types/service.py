"""Swarm services."""

from apispec.model import Anything, Enum, Field, ListOf, MapOf, String, Struct, Uint64
from apispec.types import common, task

EndpointSpec = Struct(
    "service.EndpointSpec",
    Mode=Enum("vip", "dnsrr"),
    Ports=ListOf(task.PortConfig),
)

ServiceSpec = Struct(
    "service.ServiceSpec",
    Name=String,
    Labels=MapOf(String),
    TaskTemplate=task.TaskSpec,
    Mode=Anything(),
    UpdateConfig=Anything(),
    RollbackConfig=Anything(),
    Networks=ListOf(task.NetworkAttachmentConfig),
    EndpointSpec=EndpointSpec,
)

Service = Struct(
    "service.Service",
    ID=String,
    Version=common.Version,
    CreatedAt=String,
    UpdatedAt=String,
    Spec=ServiceSpec,
    Endpoint=Struct(
        "swarm.Endpoint",
        Spec=EndpointSpec,
        Ports=ListOf(task.PortConfig),
        VirtualIPs=ListOf(
            Struct(
                "swarm.EndpointVirtualIP",
                NetworkID=String,
                Addr=String,
            )
        ),
    ),
    UpdateStatus=Anything(),
    ServiceStatus=Struct(
        "swarm.ServiceStatus",
        RunningTasks=Uint64,
        DesiredTasks=Uint64,
        CompletedTasks=Uint64,
    ),
    JobStatus=Anything(),
)

ServiceCreateResponse = Struct(
    "service.ServiceCreateResponse",
    ID=String,
    Warnings=Field(ListOf(String), nullable=True),
)

ServiceUpdateResponse = Struct(
    "service.ServiceUpdateResponse",
    Warnings=ListOf(String),
)
