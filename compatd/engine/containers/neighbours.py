"""What the containers' room asks of its neighbours, as protocols: so that each can be tested with fakes.

The concrete ones are `compatd.engine.images`, `.networks`, `.events`, `runtime.client` and
`runtime.storage`; `compatd.app` puts them together.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from compatd.engine.containers.model import Container, Json


class Image(Protocol):
    """A local image."""

    @property
    def id(self) -> str: ...
    @property
    def config(self) -> Json: ...
    @property
    def chain_ids(self) -> list[str]: ...


class Images(Protocol):
    """The image store."""

    def resolve(self, reference: str) -> Image: ...


class Events(Protocol):
    """The event bus."""

    def emit(self, type: str, action: str, id: str, attributes: dict[str, str], scope: str = ...) -> Any: ...


class Lease(Protocol):
    """What a container got of its networks: the shim's plan, held sockets, inspect's NetworkSettings."""

    @property
    def plan(self) -> Any: ...
    @property
    def holds(self) -> Sequence[Any]: ...
    @property
    def settings(self) -> Json: ...


class Networks(Protocol):
    """The networks."""

    def plan(self, container: Any) -> Any: ...
    def release(self, container_id: str) -> Any: ...
    def write_files(self, container: Any) -> Any: ...


class Runtime(Protocol):
    """`runtime.client.Runtime`."""

    async def start(self, container_id: str, attachments: Any, holds: Any) -> Any: ...
    async def adopt(self, container_id: str) -> Any: ...
    async def attach(self, container_id: str, options: Any) -> Any: ...
    async def exec(
        self, container_id: str, exec_id: str, process: Any, attachments: Any, *, detach_keys: bytes
    ) -> int: ...
    async def resize(self, container_id: str, exec_id: str | None, width: int, height: int) -> None: ...
    async def kill(self, container_id: str, signal: int, *, all: bool = False) -> None: ...
    async def pause(self, container_id: str) -> None: ...
    async def resume(self, container_id: str) -> None: ...
    async def delete(self, container_id: str) -> None: ...
    async def worker(self, function: str, arguments: dict[str, Any], fds: list[int] = ...) -> Any: ...


class Storage(Protocol):
    """`runtime.storage.overlay.Overlay`."""

    def create_rw(self, container_id: str) -> Any: ...
    def remove_rw(self, container_id: str) -> Any: ...
    def root_plan(self, container_id: str, chain_ids: list[str]) -> Json: ...


class Folders(Protocol):
    """The configuration's paths."""

    @property
    def data_root(self) -> Path: ...
    @property
    def exec_root(self) -> Path: ...


Sleep = Callable[[float], Awaitable[None]]
__all__ = [
    "Container",
    "Events",
    "Folders",
    "Image",
    "Images",
    "Lease",
    "Networks",
    "Runtime",
    "Sleep",
    "Storage",
]
