"""Swarm configs."""

from apispec.model import MapOf, String, Struct
from apispec.types import common

ConfigSpec = Struct(
    "config.ConfigSpec",
    Name=String,
    Labels=MapOf(String),
    Data=String,
    Templating=common.Driver,
)

Config = Struct(
    "config.Config",
    ID=String,
    Version=common.Version,
    CreatedAt=String,
    UpdatedAt=String,
    Spec=ConfigSpec,
)
