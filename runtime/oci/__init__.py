"""`compat-runtime`: the built-in runtime behind the command line that OCI runtimes share (runc(8))."""

from __future__ import annotations

from runtime.oci.cli import main

__all__ = ["main"]
