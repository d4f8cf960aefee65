"""Containers: making, running, stopping, watching and removing them (API: ContainerXxx operations)."""

from compatd.engine.containers.model import Container, State
from compatd.engine.containers.service import Containers

__all__ = ["Container", "Containers", "State"]
