"""Registries: credentials, distribution data and their configuration."""

from apispec.model import Bool, Field, ListOf, MapOf, String, Struct
from apispec.types import common

AuthConfig = Struct(
    "registry.AuthConfig",
    username=String,
    password=String,
    serveraddress=String,
)

AuthenticateOKBody = Struct(
    "registry.AuthenticateOKBody",
    Status=String,
    IdentityToken=String,
)

DistributionInspect = Struct(
    "registry.DistributionInspect",
    Descriptor=common.Descriptor,
    Platforms=ListOf(common.Platform),
)

IndexInfo = Struct(
    "registry.IndexInfo",
    Name=String,
    Mirrors=ListOf(String),
    Secure=Bool,
    Official=Bool,
)

ServiceConfig = Struct(
    "registry.ServiceConfig",
    InsecureRegistryCIDRs=ListOf(String),
    IndexConfigs=MapOf(IndexInfo),
    Mirrors=ListOf(String),
    AllowNondistributableArtifactsCIDRs=Field(ListOf(String), until="1.46", older=None, nullable=True),
    AllowNondistributableArtifactsHostnames=Field(ListOf(String), until="1.46", older=None, nullable=True),
)
