"""The OCI runtime spec (version 1.1) as types: `config.json` as `json.loads` gives it.

Only annotations: nothing here costs memory or time where it is used under `TYPE_CHECKING`. Every key may be
missing unless a consumer says so. Sizes are bytes, times are as in the spec (microseconds for CPU periods).
Extra keys of ours, ignored by other runtimes: `User.username` and `User.additionalGroups`, which are resolved
in the container's own `/etc/passwd` and `/etc/group` (see `runtime.init.users`).
"""

from __future__ import annotations

from typing import Any, TypedDict


class Root(TypedDict, total=False):
    path: str
    readonly: bool


class Mount(TypedDict, total=False):
    destination: str
    type: str
    source: str
    options: list[str]
    lower: list[str]  # ours, with type `image`: its layers' folders, top first
    subpath: str  # ours, with types `image` and `tree`: what is mounted of it
    tree: Overlay  # ours, with type `tree`: what it is a part of


class User(TypedDict, total=False):
    uid: int
    gid: int
    umask: int
    additionalGids: list[int]
    username: str  # ours on Linux: "name|uid[:group|gid]"
    additionalGroups: list[str]  # ours: names or numbers


class Capabilities(TypedDict, total=False):
    bounding: list[str]
    effective: list[str]
    inheritable: list[str]
    permitted: list[str]
    ambient: list[str]


class Rlimit(TypedDict):
    type: str
    hard: int
    soft: int


class ConsoleSize(TypedDict):
    height: int
    width: int


class Process(TypedDict, total=False):
    terminal: bool
    consoleSize: ConsoleSize
    user: User
    args: list[str]
    env: list[str]
    cwd: str
    capabilities: Capabilities
    rlimits: list[Rlimit]
    noNewPrivileges: bool
    apparmorProfile: str
    oomScoreAdj: int
    selinuxLabel: str


class Namespace(TypedDict, total=False):
    type: str  # pid, network, mount, ipc, uts, user, cgroup, time
    path: str


class IdMapping(TypedDict):
    containerID: int
    hostID: int
    size: int


class Device(TypedDict, total=False):
    path: str
    type: str  # c, b, u, p
    major: int
    minor: int
    fileMode: int
    uid: int
    gid: int


class DeviceRule(TypedDict, total=False):
    allow: bool
    type: str  # a, c, b
    major: int  # missing or negative: any
    minor: int
    access: str


class SeccompArg(TypedDict, total=False):
    index: int
    value: int
    valueTwo: int
    op: str


class SeccompSyscall(TypedDict, total=False):
    names: list[str]
    action: str
    errnoRet: int
    args: list[SeccompArg]


class Seccomp(TypedDict, total=False):
    defaultAction: str
    defaultErrnoRet: int
    architectures: list[str]
    flags: list[str]
    syscalls: list[SeccompSyscall]


class Resources(TypedDict, total=False):
    devices: list[DeviceRule]
    memory: dict[str, Any]
    cpu: dict[str, Any]
    pids: dict[str, Any]
    blockIO: dict[str, Any]
    hugepageLimits: list[dict[str, Any]]
    unified: dict[str, str]


class Linux(TypedDict, total=False):
    namespaces: list[Namespace]
    uidMappings: list[IdMapping]
    gidMappings: list[IdMapping]
    devices: list[Device]
    cgroupsPath: str
    resources: Resources
    rootfsPropagation: str
    seccomp: Seccomp
    sysctl: dict[str, str]
    maskedPaths: list[str]
    readonlyPaths: list[str]
    mountLabel: str


class Spec(TypedDict, total=False):
    ociVersion: str
    process: Process
    root: Root
    hostname: str
    domainname: str
    mounts: list[Mount]
    hooks: dict[str, Any]
    annotations: dict[str, str]
    linux: Linux


class Overlay(TypedDict, total=False):
    lower: list[str]  # absolute, top layer first
    upper: str  # absent: the root is read-only
    work: str
    flat: str  # instead of all that: one tree that is the root


class RootPlan(TypedDict, total=False):
    """How the root is mounted; empty: `root.path` is a ready tree."""

    overlay: Overlay
