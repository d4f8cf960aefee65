"""Swarm secrets."""

from apispec.model import MapOf, String, Struct
from apispec.types import common

SecretSpec = Struct(
    "secret.SecretSpec",
    Name=String,
    Labels=MapOf(String),
    Data=String,
    Driver=common.Driver,
    Templating=common.Driver,
)

Secret = Struct(
    "secret.Secret",
    ID=String,
    Version=common.Version,
    CreatedAt=String,
    UpdatedAt=String,
    Spec=SecretSpec,
)
