"""From a container to its OCI runtime spec (`config.json`), as dockerd makes it."""

from compatd.engine.containers.spec.build import Surroundings, build_spec
from compatd.engine.containers.spec.process import exec_process

__all__ = ["Surroundings", "build_spec", "exec_process"]
