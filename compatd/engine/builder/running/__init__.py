"""RUN: a command in a container that is none for the API, on a writable root of the build's."""

from compatd.engine.builder.mountrules import ResolvedMount, resolve
from compatd.engine.builder.running.model import Run
from compatd.engine.builder.running.run import run

__all__ = ["ResolvedMount", "Run", "resolve", "run"]
