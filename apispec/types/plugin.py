"""Managed plugins."""

from apispec.model import Bool, Enum, ListOf, String, Struct, Uint32

Mount = Struct(
    "plugin.Mount",
    Name=String,
    Description=String,
    Settable=ListOf(String),
    Source=String,
    Destination=String,
    Type=String,
    Options=ListOf(String),
)

Device = Struct(
    "plugin.Device",
    Name=String,
    Description=String,
    Settable=ListOf(String),
    Path=String,
)

Env = Struct(
    "plugin.Env",
    Name=String,
    Description=String,
    Settable=ListOf(String),
    Value=String,
)

Privilege = Struct(
    "plugin.Privilege",
    Name=String,
    Description=String,
    Value=ListOf(String),
)

Plugin = Struct(
    "plugin.Plugin",
    Id=String,
    Name=String,
    Enabled=Bool,
    Settings=Struct(
        "plugin.Settings",
        Mounts=ListOf(Mount),
        Env=ListOf(String),
        Args=ListOf(String),
        Devices=ListOf(Device),
    ),
    PluginReference=String,
    Config=Struct(
        "plugin.Config",
        Description=String,
        Documentation=String,
        Interface=Struct(
            "plugin.Interface",
            Types=ListOf(String),
            Socket=String,
            ProtocolScheme=Enum("", "moby.plugins.http/v1"),
        ),
        Entrypoint=ListOf(String),
        WorkDir=String,
        User=Struct(
            "plugin.User",
            UID=Uint32,
            GID=Uint32,
        ),
        Network=Struct(
            "plugin.NetworkConfig",
            Type=String,
        ),
        Linux=Struct(
            "plugin.LinuxConfig",
            Capabilities=ListOf(String),
            AllowAllDevices=Bool,
            Devices=ListOf(Device),
        ),
        PropagatedMount=String,
        IpcHost=Bool,
        PidHost=Bool,
        Mounts=ListOf(Mount),
        Env=ListOf(Env),
        Args=Struct(
            "plugin.Args",
            Name=String,
            Description=String,
            Settable=ListOf(String),
            Value=ListOf(String),
        ),
        rootfs=Struct(
            "plugin.RootFS",
            type=String,
            diff_ids=ListOf(String),
        ),
    ),
)
