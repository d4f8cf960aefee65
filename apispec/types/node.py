"""Swarm nodes."""

from apispec.model import Bool, Enum, ListOf, MapOf, String, Struct
from apispec.types import common, task

NodeSpec = Struct(
    "node.NodeSpec",
    Name=String,
    Labels=MapOf(String),
    Role=Enum("worker", "manager"),
    Availability=Enum("active", "pause", "drain"),
)

EngineDescription = Struct(
    "swarm.EngineDescription",
    EngineVersion=String,
    Labels=MapOf(String),
    Plugins=ListOf(
        Struct(
            "swarm.PluginDescription",
            Type=String,
            Name=String,
        )
    ),
)

Platform = Struct(
    "swarm.Platform",
    Architecture=String,
    OS=String,
)

NodeDescription = Struct(
    "node.NodeDescription",
    Hostname=String,
    Platform=Platform,
    Resources=task.Resources,
    Engine=EngineDescription,
    TLSInfo=common.TLSInfo,
)

NodeStatus = Struct(
    "node.NodeStatus",
    State=Enum("unknown", "down", "ready", "disconnected"),
    Message=String,
    Addr=String,
)

ManagerStatus = Struct(
    "node.ManagerStatus",
    Leader=Bool,
    Reachability=Enum("unknown", "unreachable", "reachable"),
    Addr=String,
)

Node = Struct(
    "node.Node",
    ID=String,
    Version=common.Version,
    CreatedAt=String,
    UpdatedAt=String,
    Spec=NodeSpec,
    Description=NodeDescription,
    Status=NodeStatus,
    ManagerStatus=ManagerStatus,
)
