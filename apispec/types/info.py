"""What ``/info`` tells."""

from typing import Any

from apispec.model import Anything, Bool, Enum, Field, Int, Int64, ListOf, MapOf, String, Struct
from apispec.types import registry, swarm


def _names_only(info: dict[str, Any]) -> None:
    """Until 1.24 security options were words, and there was a field for what drove containers then."""
    options = (dict(p.split("=", 1) for p in o.split(",")) for o in info.get("SecurityOptions") or [])
    info["SecurityOptions"] = [option["name"] for option in options]
    info["ExecutionDriver"] = "<not supported>"


Commit = Struct(
    "system.Commit",
    ID=String,
    Expected=Field(String, until="1.48", older=lambda commit: commit.get("ID", "")),
)

Runtime = Struct(
    "system.RuntimeWithStatus",
    path=String,
    runtimeArgs=Field(ListOf(String), nullable=True),
    status=Field(MapOf(String), since="1.44", nullable=True),
)

ContainerdInfo = Struct(
    "system.ContainerdInfo",
    Address=String,
    Namespaces=Struct(
        "system.ContainerdNamespaces",
        Containers=String,
        Plugins=String,
    ),
)

FirewallInfo = Struct(
    "system.FirewallInfo",
    Driver=String,
    Info=ListOf(ListOf(String)),
)

DeviceInfo = Struct(
    "system.DeviceInfo",
    Source=String,
    ID=String,
)

NRIInfo = Struct(
    "system.NRIInfo",
    Info=ListOf(ListOf(String)),
)

PluginsInfo = Struct(
    "system.PluginsInfo",
    Volume=ListOf(String),
    Network=ListOf(String),
    Authorization=ListOf(String),
    Log=ListOf(String),
)

Peer = Struct(
    "swarm.Peer",
    NodeID=String,
    Addr=String,
)

SwarmInfo = Struct(
    "swarm.Info",
    NodeID=String,
    NodeAddr=String,
    LocalNodeState=Enum("", "inactive", "pending", "active", "error", "locked"),
    ControlAvailable=Bool,
    Error=String,
    RemoteManagers=Field(ListOf(Peer), nullable=True),
    Nodes=Field(Int, nullable=True),
    Managers=Field(Int, nullable=True),
    Cluster=swarm.ClusterInfo,
)

Info = Struct(
    "system.Info",
    ID=String,
    Containers=Int,
    ContainersRunning=Int,
    ContainersPaused=Int,
    ContainersStopped=Int,
    Images=Int,
    Driver=String,
    DriverStatus=ListOf(ListOf(String)),
    DockerRootDir=String,
    Plugins=PluginsInfo,
    MemoryLimit=Bool,
    SwapLimit=Bool,
    CpuCfsPeriod=Bool,
    CpuCfsQuota=Bool,
    CPUShares=Bool,
    CPUSet=Bool,
    PidsLimit=Bool,
    OomKillDisable=Bool,
    IPv4Forwarding=Bool,
    Debug=Bool,
    NFd=Int,
    NGoroutines=Int,
    SystemTime=String,
    LoggingDriver=String,
    CgroupDriver=Enum("cgroupfs", "systemd", "none"),
    CgroupVersion=Enum("1", "2"),
    NEventsListener=Int,
    KernelVersion=String,
    OperatingSystem=String,
    OSVersion=String,
    OSType=String,
    Architecture=String,
    NCPU=Int,
    MemTotal=Int64,
    IndexServerAddress=String,
    RegistryConfig=registry.ServiceConfig,
    GenericResources=ListOf(Anything()),
    HttpProxy=String,
    HttpsProxy=String,
    NoProxy=String,
    Name=String,
    Labels=ListOf(String),
    ExperimentalBuild=Bool,
    ServerVersion=String,
    Runtimes=MapOf(Runtime),
    DefaultRuntime=String,
    Swarm=SwarmInfo,
    LiveRestoreEnabled=Bool,
    Isolation=Enum("default", "hyperv", "process", ""),
    InitBinary=String,
    ContainerdCommit=Commit,
    RuncCommit=Commit,
    InitCommit=Commit,
    SecurityOptions=ListOf(String),
    ProductLicense=String,
    DefaultAddressPools=ListOf(
        Struct(
            "system.NetworkAddressPool",
            Base=String,
            Size=Int,
        )
    ),
    FirewallBackend=Field(FirewallInfo, since="1.49"),
    DiscoveredDevices=Field(ListOf(DeviceInfo), since="1.50"),
    NRI=Field(NRIInfo, since="1.53"),
    Warnings=ListOf(String),
    CDISpecDirs=ListOf(String),
    Containerd=Field(ContainerdInfo, since="1.46"),
    BridgeNfIptables=Field(Bool, until="1.49", older=False),
    BridgeNfIp6tables=Field(Bool, until="1.49", older=False),
    legacy=(("1.24", _names_only),),
)
