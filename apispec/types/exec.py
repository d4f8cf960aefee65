"""Exec instances."""

from apispec.model import Bool, Field, Int, ListOf, String, Struct, Words

ProcessConfig = Struct(
    "container.ExecProcessConfig",
    privileged=Bool,
    user=String,
    tty=Bool,
    entrypoint=String,
    arguments=ListOf(String),
)

CreateRequest = Struct(
    "container.ExecCreateRequest",
    User=String,
    Privileged=Bool,
    Tty=Bool,
    ConsoleSize=Field(ListOf(Int), since="1.42"),
    AttachStdin=Bool,
    AttachStderr=Bool,
    AttachStdout=Bool,
    DetachKeys=String,
    Env=ListOf(String),
    WorkingDir=String,
    Cmd=Words(),
    Detach=Bool,
)

StartRequest = Struct(
    "container.ExecStartRequest",
    Detach=Bool,
    Tty=Bool,
    ConsoleSize=Field(ListOf(Int), since="1.42"),
)

InspectResponse = Struct(
    "container.ExecInspectResponse",
    ID=String,
    Running=Bool,
    ExitCode=Field(Int, nullable=True),
    ProcessConfig=ProcessConfig,
    OpenStdin=Bool,
    OpenStderr=Bool,
    OpenStdout=Bool,
    CanRemove=Bool,
    ContainerID=String,
    DetachKeys=String,
    Pid=Int,
)
