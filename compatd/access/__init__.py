"""Who may do what: rules by socket, user and group, and a log of who asked for what (docs/access.md)."""

from compatd.access.gate import Gate

__all__ = ["Gate"]
