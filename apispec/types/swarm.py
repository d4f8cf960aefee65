"""The swarm as a whole."""

from apispec.model import Anything, Bool, Field, ListOf, MapOf, String, Struct, Uint32
from apispec.types import common

Spec = Struct(
    "swarm.Spec",
    Name=String,
    Labels=MapOf(String),
    Orchestration=Field(Anything(), nullable=True),
    Raft=Anything(),
    Dispatcher=Field(Anything(), nullable=True),
    CAConfig=Field(Anything(), nullable=True),
    EncryptionConfig=Anything(),
    TaskDefaults=Anything(),
)

JoinTokens = Struct(
    "swarm.JoinTokens",
    Worker=String,
    Manager=String,
)

ClusterInfo = Struct(
    "swarm.ClusterInfo",
    ID=String,
    Version=common.Version,
    CreatedAt=String,
    UpdatedAt=String,
    Spec=Spec,
    TLSInfo=common.TLSInfo,
    RootRotationInProgress=Bool,
    DataPathPort=Uint32,
    DefaultAddrPool=ListOf(String),
    SubnetSize=Uint32,
)

Swarm = Struct(
    "swarm.Swarm",
    ClusterInfo,
    JoinTokens=JoinTokens,
)

InitRequest = Struct(
    "swarm.InitRequest",
    ListenAddr=String,
    AdvertiseAddr=String,
    DataPathAddr=String,
    DataPathPort=Uint32,
    ForceNewCluster=Bool,
    Spec=Spec,
    AutoLockManagers=Bool,
    Availability=String,
    DefaultAddrPool=ListOf(String),
    SubnetSize=Uint32,
)

JoinRequest = Struct(
    "swarm.JoinRequest",
    ListenAddr=String,
    AdvertiseAddr=String,
    DataPathAddr=String,
    RemoteAddrs=ListOf(String),
    JoinToken=String,
    Availability=String,
)

UnlockKey = Struct(
    "swarm.UnlockKeyResponse",
    UnlockKey=String,
)

UnlockRequest = Struct(
    "swarm.UnlockRequest",
    UnlockKey=String,
)
