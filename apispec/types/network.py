"""Networks, endpoints and their addresses."""

from apispec.model import Bool, Field, Int, ListOf, MapOf, String, Struct, Uint64

EndpointIPAMConfig = Struct(
    "network.EndpointIPAMConfig",
    IPv4Address=String,
    IPv6Address=String,
    LinkLocalIPs=ListOf(String),
)

EndpointSettings = Struct(
    "network.EndpointSettings",
    IPAMConfig=EndpointIPAMConfig,
    Links=ListOf(String),
    MacAddress=String,
    Aliases=ListOf(String),
    DriverOpts=Field(MapOf(String), nullable=True),
    GwPriority=Int,
    NetworkID=String,
    EndpointID=String,
    Gateway=String,
    IPAddress=String,
    IPPrefixLen=Int,
    IPv6Gateway=String,
    GlobalIPv6Address=String,
    GlobalIPv6PrefixLen=Int,
    DNSNames=ListOf(String),
)

NetworkingConfig = Struct(
    "network.NetworkingConfig",
    EndpointsConfig=MapOf(EndpointSettings),
)

ConfigReference = Struct(
    "network.ConfigReference",
    Network=String,
)

RequestedEndpoint = Struct(
    "network.EndpointSettings",
    EndpointSettings,
    GwPriority=Field(Int, since="1.48"),
)
"""An endpoint in a create request."""

ConnectedEndpoint = Struct(
    "network.EndpointSettings",
    EndpointSettings,
    MacAddress=Field(String, since="1.54"),
)
"""An endpoint in a connect request, which for long did not look at the address given."""

RequestedNetworking = Struct(
    "network.NetworkingConfig",
    EndpointsConfig=MapOf(RequestedEndpoint),
)

IPAMConfig = Struct(
    "network.IPAMConfig",
    Subnet=String,
    IPRange=String,
    Gateway=String,
    AuxiliaryAddresses=MapOf(String),
)

IPAM = Struct(
    "network.IPAM",
    Driver=String,
    Config=ListOf(IPAMConfig),
    Options=MapOf(String),
)

PeerInfo = Struct(
    "network.PeerInfo",
    Name=String,
    IP=String,
)

Network = Struct(
    "network.Network",
    Name=String,
    Id=String,
    Created=String,
    Scope=String,
    Driver=String,
    EnableIPv4=Bool,
    EnableIPv6=Bool,
    IPAM=IPAM,
    Internal=Bool,
    Attachable=Bool,
    Ingress=Bool,
    ConfigFrom=ConfigReference,
    ConfigOnly=Bool,
    Options=MapOf(String),
    Labels=MapOf(String),
    Peers=ListOf(PeerInfo),
)

Summary = Struct(
    "network.Summary",
    Network,
)

SubnetStatus = Struct(
    "network.SubnetStatus",
    IPsInUse=Uint64,
    DynamicIPsAvailable=Uint64,
)

IPAMStatus = Struct(
    "network.IPAMStatus",
    Subnets=MapOf(SubnetStatus),
)

Status = Struct(
    "network.Status",
    IPAM=IPAMStatus,
)

EndpointResource = Struct(
    "network.EndpointResource",
    Name=String,
    EndpointID=String,
    MacAddress=String,
    IPv4Address=String,
    IPv6Address=String,
)

Task = Struct(
    "network.Task",
    Name=String,
    EndpointID=String,
    EndpointIP=String,
    Info=MapOf(String),
)

ServiceInfo = Struct(
    "network.ServiceInfo",
    VIP=String,
    Ports=ListOf(String),
    LocalLBIndex=Int,
    Tasks=ListOf(Task),
)

Inspect = Struct(
    "network.Inspect",
    Network,
    Containers=MapOf(EndpointResource),
    Services=MapOf(ServiceInfo),
    Status=Field(Status, since="1.52"),
)

CreateResponse = Struct(
    "network.CreateResponse",
    Id=String,
    Warning=String,
)

ConnectRequest = Struct(
    "network.ConnectRequest",
    Container=String,
    EndpointConfig=ConnectedEndpoint,
)

DisconnectRequest = Struct(
    "network.DisconnectRequest",
    Container=String,
    Force=Bool,
)

CreateRequest = Struct(
    "network.CreateRequest",
    Name=String,
    Driver=String,
    Scope=String,
    EnableIPv4=Field(Bool, since="1.48"),
    EnableIPv6=Bool,
    IPAM=IPAM,
    Internal=Bool,
    Attachable=Bool,
    Ingress=Bool,
    ConfigOnly=Bool,
    ConfigFrom=ConfigReference,
    Options=MapOf(String),
    Labels=MapOf(String),
    CheckDuplicate=Bool,
)

PruneReport = Struct(
    "network.PruneReport",
    NetworksDeleted=ListOf(String),
)
