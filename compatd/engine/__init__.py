"""What a Docker engine is: no HTTP, no syscalls. The parts are made and joined here."""

from compatd.engine.engine import Engine

__all__ = ["Engine"]
