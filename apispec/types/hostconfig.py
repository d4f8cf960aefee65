"""``HostConfig``: what a container asks of its host: resources, mounts, ports, namespaces."""

from apispec.model import Bool, Enum, Field, Int, Int64, ListOf, MapOf, String, Struct, Uint16, Uint32, Uint64

Ulimit = Struct("container.Ulimit", Name=String, Soft=Int64, Hard=Int64)

RestartPolicy = Struct(
    "container.RestartPolicy",
    Name=Enum("", "no", "always", "unless-stopped", "on-failure"),
    MaximumRetryCount=Int,
)

DeviceMapping = Struct(
    "container.DeviceMapping",
    PathOnHost=String,
    PathInContainer=String,
    CgroupPermissions=String,
)

DeviceRequest = Struct(
    "container.DeviceRequest",
    Driver=String,
    Count=Int,
    DeviceIDs=ListOf(String),
    Capabilities=ListOf(ListOf(String)),
    Options=MapOf(String),
)

ThrottleDevice = Struct(
    "blkiodev.ThrottleDevice",
    Path=String,
    Rate=Uint64,
)

WeightDevice = Struct("blkiodev.WeightDevice", Path=String, Weight=Uint16)

Resources = Struct(
    "container.Resources",
    CpuShares=Int64,
    Memory=Int64,
    CgroupParent=String,
    BlkioWeight=Uint16,
    BlkioWeightDevice=ListOf(WeightDevice),
    BlkioDeviceReadBps=ListOf(ThrottleDevice),
    BlkioDeviceWriteBps=ListOf(ThrottleDevice),
    BlkioDeviceReadIOps=ListOf(ThrottleDevice),
    BlkioDeviceWriteIOps=ListOf(ThrottleDevice),
    CpuPeriod=Int64,
    CpuQuota=Int64,
    CpuRealtimePeriod=Int64,
    CpuRealtimeRuntime=Int64,
    CpusetCpus=String,
    CpusetMems=String,
    Devices=ListOf(DeviceMapping),
    DeviceCgroupRules=ListOf(String),
    DeviceRequests=ListOf(DeviceRequest),
    MemoryReservation=Int64,
    MemorySwap=Int64,
    MemorySwappiness=Int64,
    NanoCpus=Int64,
    OomKillDisable=Bool,
    Init=Field(Bool, nullable=True),
    PidsLimit=Field(Int64, nullable=True),
    Ulimits=ListOf(Ulimit),
    CpuCount=Int64,
    CpuPercent=Int64,
    IOMaximumIOps=Int64,
    IOMaximumBandwidth=Int64,
)

Mount = Struct(
    "mount.Mount",
    Target=String,
    Source=String,
    Type=Enum("bind", "cluster", "image", "npipe", "tmpfs", "volume"),
    ReadOnly=Bool,
    Consistency=String,
    BindOptions=Struct(
        "mount.BindOptions",
        Propagation=Enum("private", "rprivate", "shared", "rshared", "slave", "rslave"),
        NonRecursive=Bool,
        CreateMountpoint=Bool,
        ReadOnlyNonRecursive=Bool,
        ReadOnlyForceRecursive=Bool,
    ),
    VolumeOptions=Struct(
        "mount.VolumeOptions",
        NoCopy=Bool,
        Labels=MapOf(String),
        DriverConfig=Struct(
            "mount.Driver",
            Name=String,
            Options=MapOf(String),
        ),
        Subpath=String,
    ),
    ImageOptions=Struct(
        "mount.ImageOptions",
        Subpath=String,
    ),
    TmpfsOptions=Struct(
        "mount.TmpfsOptions",
        SizeBytes=Int64,
        Mode=Uint32,
        Options=ListOf(ListOf(String)),
    ),
)

PortBinding = Struct(
    "network.PortBinding",
    HostIp=String,
    HostPort=String,
)

PortMap = MapOf(ListOf(PortBinding))
"""``80/tcp`` → the host's addresses and ports."""

HostConfig = Struct(
    "container.HostConfig",
    Resources,
    Binds=ListOf(String),
    ContainerIDFile=String,
    LogConfig=Struct(
        "container.LogConfig",
        Type=Enum(
            "local",
            "json-file",
            "syslog",
            "journald",
            "gelf",
            "fluentd",
            "awslogs",
            "splunk",
            "etwlogs",
            "none",
        ),
        Config=MapOf(String),
    ),
    NetworkMode=String,
    PortBindings=PortMap,
    RestartPolicy=RestartPolicy,
    AutoRemove=Bool,
    VolumeDriver=String,
    VolumesFrom=ListOf(String),
    Mounts=ListOf(Mount),
    ConsoleSize=Field(ListOf(Int), nullable=True),
    Annotations=MapOf(String),
    CapAdd=ListOf(String),
    CapDrop=ListOf(String),
    CgroupnsMode=Enum("private", "host"),
    Dns=ListOf(String),
    DnsOptions=ListOf(String),
    DnsSearch=ListOf(String),
    ExtraHosts=ListOf(String),
    GroupAdd=ListOf(String),
    IpcMode=String,
    Cgroup=String,
    Links=ListOf(String),
    OomScoreAdj=Int,
    PidMode=String,
    Privileged=Bool,
    PublishAllPorts=Bool,
    ReadonlyRootfs=Bool,
    SecurityOpt=ListOf(String),
    StorageOpt=MapOf(String),
    Tmpfs=MapOf(String),
    UTSMode=String,
    UsernsMode=String,
    ShmSize=Int64,
    Sysctls=Field(MapOf(String), nullable=True),
    Runtime=Field(String, nullable=True),
    Isolation=Enum("default", "process", "hyperv", ""),
    MaskedPaths=ListOf(String),
    ReadonlyPaths=ListOf(String),
)

MOUNT_OPTIONS = Mount.fields["BindOptions"].type
assert isinstance(MOUNT_OPTIONS, Struct)

Request = Struct(
    "container.HostConfig",
    HostConfig,
    ConsoleSize=Field(ListOf(Int), since="1.42"),
    Annotations=Field(MapOf(String), since="1.43"),
    Mounts=ListOf(
        Struct(
            "mount.Mount",
            Mount,
            BindOptions=Struct(
                "mount.BindOptions",
                MOUNT_OPTIONS,
                NonRecursive=Field(Bool, since="1.40"),
                CreateMountpoint=Field(Bool, since="1.42"),
            ),
        )
    ),
    Capabilities=Field(ListOf(String), until="1.51"),
    KernelMemory=Field(Int64, until="1.41"),
    KernelMemoryTCP=Field(Int64, until="1.51"),
)
"""``HostConfig`` in a create request: what is younger than the client is ignored (answers show it)."""

UpdatableResources = Struct(
    "container.Resources",
    Resources,
    PidsLimit=Field(Int64, since="1.40"),
    BlkioWeightDevice=Field(ListOf(WeightDevice), since="1.55"),
    BlkioDeviceReadBps=Field(ListOf(ThrottleDevice), since="1.55"),
    BlkioDeviceWriteBps=Field(ListOf(ThrottleDevice), since="1.55"),
    BlkioDeviceReadIOps=Field(ListOf(ThrottleDevice), since="1.55"),
    BlkioDeviceWriteIOps=Field(ListOf(ThrottleDevice), since="1.55"),
)
