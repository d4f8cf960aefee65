"""Errors as statuses and JSON bodies."""

from __future__ import annotations

import errno
import re

from apispec.model import BadRequest, Operation
from compatd.http.answers import Empty, Json


def answer(status: int, message: str) -> Json | Empty:
    """The answer for an error: ``{"message": …}``; nothing but the status for 304."""
    if status == 304:
        return Empty(304)
    return Json({"message": message}, status, gated=False)


def status_and_message(error: BaseException) -> tuple[int, str]:
    """What the client is told about an exception that a handler raised."""
    known = _engine_error(error)
    if known is not None:
        return known
    if isinstance(error, BadRequest):
        return 400, error.message
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return (
            500,
            f"{error.filename}: no space left on device" if error.filename else "no space left on device",
        )
    return 500, str(error) or type(error).__name__


def unexpected(error: BaseException) -> bool:
    """Nobody foresaw it: its traceback belongs in the log."""
    return _engine_error(error) is None


def _engine_error(error: BaseException) -> tuple[int, str] | None:
    """Status and text of an error of the engine's.

    They are known by the ``status`` of their class, so that this room need not import the engine.
    """
    status, message = getattr(type(error), "status", None), getattr(error, "message", None)
    return (status, message) if isinstance(status, int) and isinstance(message, str) else None


def too_young(operation: Operation) -> Json | Empty:
    """The answer to a client of a version from before the operation."""
    path = operation.path
    if not operation.path.startswith(("/secrets", "/configs")):
        path = re.sub(r"\{\w+\}", "{name:.*}", path)
    return answer(400, f"{operation.method} {path} requires minimum API version {operation.since}")
