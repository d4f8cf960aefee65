"""The daemon's side of the runtime: shims and workers, from asyncio."""

from runtime.client.runtime import Runtime
from runtime.client.types import (
    Adopted,
    Attachment,
    AttachOptions,
    Exited,
    Lost,
    Running,
    RuntimeError_,
    Started,
    WorkerError,
)

__all__ = [
    "Adopted",
    "AttachOptions",
    "Attachment",
    "Exited",
    "Lost",
    "Running",
    "Runtime",
    "RuntimeError_",
    "Started",
    "WorkerError",
]
