"""An OCI spec to a running process: `spawn` for a container's first process, `enter` for further ones.

The road and its reasons are told in `runtime.init.spawning`.
"""

from __future__ import annotations

from runtime.init.child import NEW_CONSOLE, Child
from runtime.init.entering import enter
from runtime.init.errors import InitError
from runtime.init.spawning import spawn

__all__ = ["NEW_CONSOLE", "Child", "InitError", "enter", "spawn"]
