"""What the containers' room asks of its neighbours, as protocols: so that each can be tested with fakes.

The concrete ones are `compatd.config.Config`, `compatd.store.Store`, `compatd.engine.images`, `.networks`,
`.volumes` and `.events`, `runtime.client` and `runtime.storage`; `compatd.engine.engine` puts them together.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from runtime.client import Adopted, AttachOptions, Started

Json = dict[str, Any]


class Config(Protocol):
    """dockerd's options that concern containers."""

    data_root: str
    exec_root: str
    default_runtime: str
    runtimes: dict[str, dict[str, Any]]
    cgroup_parent: str
    default_cgroupns_mode: str
    default_ipc_mode: str
    default_shm_size: int
    default_ulimits: dict[str, dict[str, Any]]
    init: bool
    init_path: str
    live_restore: bool
    shutdown_timeout: int
    no_new_privileges: bool
    seccomp_profile: str
    log_driver: str
    log_opts: dict[str, str]

    @property
    def cdi_folders(self) -> list[str]: ...


class Image(Protocol):
    """A local image; `config` is the image's config JSON."""

    @property
    def id(self) -> str: ...
    @property
    def config(self) -> Json: ...
    @property
    def chain_ids(self) -> list[str]: ...


class Images(Protocol):
    """The image store. `uses` is set here: image ID → [(container ID, whether it runs)]."""

    uses: Any

    @property
    def index(self) -> Any: ...
    def resolve(self, reference: str) -> Any: ...
    def get(self, image_id: str) -> Any: ...


class Events(Protocol):
    """The event bus."""

    def emit(
        self, kind: str, action: str, actor: str, attributes: dict[str, str], scope: str = ...
    ) -> Any: ...


class Networks(Protocol):
    """The networks."""

    find: Any

    def plan(self, container: Any) -> Any: ...
    def release(self, container_id: str) -> None: ...
    def adopt(self, container: Any) -> Json | None: ...
    def settle(self) -> None: ...
    def write_files(self, container: Any) -> dict[str, Path]: ...
    def idle_settings(self, container: Any, running: Json | None = None) -> Json: ...


class Runtime(Protocol):
    """`runtime.client.Runtime`."""

    def bundle(self, container_id: str) -> Path: ...
    async def start(self, container_id: str, attachments: Sequence[Any], holds: Sequence[Any]) -> Started: ...
    async def adopt(self, container_id: str) -> Adopted: ...
    async def attach(self, container_id: str, options: AttachOptions) -> Any: ...
    async def exec(
        self,
        container_id: str,
        exec_id: str,
        process: Json,
        attachments: Sequence[Any],
        *,
        detach_keys: bytes = ...,
    ) -> int: ...
    async def resize(self, container_id: str, exec_id: str | None, width: int, height: int) -> None: ...
    async def kill(
        self, container_id: str, signal: int, *, all: bool = ..., exec_id: str | None = ...
    ) -> None: ...
    async def pause(self, container_id: str) -> None: ...
    async def resume(self, container_id: str) -> None: ...
    async def update(self, container_id: str, resources: Json) -> None: ...
    async def delete(self, container_id: str) -> None: ...
    async def worker(self, function: str, arguments: Json, fds: Sequence[int] = ...) -> Any: ...


class Storage(Protocol):
    """`runtime.storage.overlay.Overlay`."""

    @property
    def rw(self) -> Path: ...
    def create_rw(self, container_id: str) -> None: ...
    def remove_rw(self, container_id: str) -> None: ...
    def root_plan(self, container_id: str, chain_ids: list[str]) -> Json: ...
    def graph_data(self, container_id: str, chain_ids: list[str]) -> dict[str, str]: ...
