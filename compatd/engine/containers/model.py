"""A container as the engine holds it in memory, and its JSON document in the store."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compatd.engine.containers.times import human_duration, now, rfc3339

Json = dict[str, Any]


@dataclass(slots=True)
class State:
    """What a container is doing. Moments are nanoseconds since 1970, 0 for never.

    As in Docker a restarting container (waiting for its restart policy's next try) counts as running.
    `starting` is ours: written before the runtime is asked, so that a crash in between is seen.
    """

    running: bool = False
    paused: bool = False
    restarting: bool = False
    starting: bool = False
    oom_killed: bool = False
    dead: bool = False
    removing: bool = False
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: int = 0
    finished_at: int = 0
    health: Json | None = None

    @property
    def status(self) -> str:
        """One of created, running, paused, restarting, removing, exited, dead."""
        if self.running:
            return "paused" if self.paused else "restarting" if self.restarting else "running"
        if self.removing:
            return "removing"
        if self.dead:
            return "dead"
        return "exited" if self.started_at else "created"

    def describe(self, moment: int | None = None) -> str:
        """The `STATUS` column of `docker ps`, for the moment given (now)."""
        moment = now() if moment is None else moment
        if self.running:
            up = "Up " + human_duration(moment - self.started_at)
            if self.paused:
                return up + " (Paused)"
            if self.restarting:
                return f"Restarting ({self.exit_code}) {human_duration(moment - self.finished_at)} ago"
            if self.health:
                status = self.health.get("Status", "")
                return f"{up} (health: starting)" if status == "starting" else f"{up} ({status})"
            return up
        if self.removing:
            return "Removal In Progress"
        if self.dead:
            return "Dead"
        if not self.started_at:
            return "Created"
        if not self.finished_at:
            return ""
        return f"Exited ({self.exit_code}) {human_duration(moment - self.finished_at)} ago"

    def to_api(self) -> Json:
        """The `State` object of an inspect answer."""
        state: Json = {
            "Status": self.status,
            "Running": self.running,
            "Paused": self.paused,
            "Restarting": self.restarting,
            "OOMKilled": self.oom_killed,
            "Dead": self.dead,
            "Pid": self.pid,
            "ExitCode": self.exit_code,
            "Error": self.error,
            "StartedAt": rfc3339(self.started_at),
            "FinishedAt": rfc3339(self.finished_at),
        }
        if self.health is not None:
            state["Health"] = self.health
        return state


_STORED_STATE = [name for name in State.__dataclass_fields__ if name != "removing"]


@dataclass(eq=False)
class Container:
    """One container. `config`, `host_config` and `network_settings` are in the API's spelling.

    `name` has no slash. `networking` is the request's `EndpointsConfig` (by network name or ID) and stays as
    the user wrote it; `network_settings` is inspect's `NetworkSettings` (`SandboxID`, `SandboxKey`, `Ports`,
    `Networks`), kept up to date by start and exit.
    """

    id: str
    name: str
    created: int
    image_id: str
    config: Json
    host_config: Json
    path: str
    args: list[str]
    driver: str = "overlay2"
    platform: Json = field(default_factory=dict)
    networking: Json = field(default_factory=dict)
    network_settings: Json = field(default_factory=dict)
    mounts: list[Json] = field(default_factory=list)
    chain_ids: list[str] = field(default_factory=list)
    image_descriptor: Json | None = None
    state: State = field(default_factory=State)
    restart_count: int = 0
    manually_stopped: bool = False
    log_path: str = ""
    hostname_path: str = ""
    hosts_path: str = ""
    resolv_conf_path: str = ""
    apparmor: str = ""

    def __post_init__(self) -> None:
        self.lock = asyncio.Lock()
        self.dir = Path()
        self.exec_ids: list[str] = []
        self.version = 0
        self.manually_restarted = False
        self.linked_hosts: list[tuple[str, str]] = []
        self.started_once = False
        self.removed = False
        self.hidden = False  # no container for the API: a build's RUN
        self.stop_waiters: list[asyncio.Future[tuple[int, str]]] = []
        self.remove_waiters: list[asyncio.Future[tuple[int, str]]] = []
        self.pending: list[Any] = []
        self.restart: Any = None
        self.restart_task: asyncio.Task[None] | None = None
        self.cache: Any = None

    @property
    def short_id(self) -> str:
        """The 12 digits that people see."""
        return self.id[:12]

    @property
    def pid(self) -> int:
        """The first process as the host sees it, 0 while not running."""
        return self.state.pid

    @property
    def network_mode(self) -> str:
        """`bridge`, `host`, `none`, `container:<id>` or a network's name or ID."""
        mode = str(self.host_config.get("NetworkMode") or "default")
        return "bridge" if mode == "default" else mode

    @property
    def tty(self) -> bool:
        """Whether the process has a terminal."""
        return bool(self.config.get("Tty"))

    def to_document(self) -> Json:
        """The whole container as JSON, for the store."""
        return {
            "Id": self.id,
            "Name": self.name,
            "Created": self.created,
            "Image": self.image_id,
            "Config": self.config,
            "HostConfig": self.host_config,
            "Path": self.path,
            "Args": self.args,
            "Driver": self.driver,
            "Platform": self.platform,
            "Networking": self.networking,
            "NetworkSettings": self.network_settings,
            "MountPoints": self.mounts,
            "ChainIds": self.chain_ids,
            "ImageManifestDescriptor": self.image_descriptor,
            "State": {name: getattr(self.state, name) for name in _STORED_STATE},
            "RestartCount": self.restart_count,
            "ManuallyStopped": self.manually_stopped,
            "LogPath": self.log_path,
            "HostnamePath": self.hostname_path,
            "HostsPath": self.hosts_path,
            "ResolvConfPath": self.resolv_conf_path,
            "AppArmorProfile": self.apparmor,
        }

    @classmethod
    def from_document(cls, document: Json) -> "Container":
        """The inverse of `to_document`. Raises KeyError for a document of another kind."""
        return cls(
            id=document["Id"],
            name=document["Name"],
            created=document["Created"],
            image_id=document["Image"],
            config=document["Config"],
            host_config=document["HostConfig"],
            path=document["Path"],
            args=document["Args"],
            driver=document["Driver"],
            platform=document["Platform"],
            networking=document["Networking"] or _networking_of(document["NetworkSettings"]),
            network_settings=document["NetworkSettings"],
            mounts=document["MountPoints"],
            chain_ids=document["ChainIds"],
            image_descriptor=document.get("ImageManifestDescriptor"),
            state=State(**document["State"]),
            restart_count=document["RestartCount"],
            manually_stopped=document["ManuallyStopped"],
            log_path=document["LogPath"],
            hostname_path=document["HostnamePath"],
            hosts_path=document["HostsPath"],
            resolv_conf_path=document["ResolvConfPath"],
            apparmor=document.get("AppArmorProfile", ""),
        )


def _networking_of(settings: Json) -> Json:
    """Earlier releases did not note the network of a container that named none."""
    networks = settings.get("Networks") or {}
    return {name: {"NetworkID": shown.get("NetworkID") or ""} for name, shown in networks.items()}
