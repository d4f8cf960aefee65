"""What the machine withholds, so that a test says "cannot be shown here" and not "wrong"."""

from pathlib import Path

import pytest

from conformance.engine import Engine

CAP_SYS_RESOURCE = 24  # linux/capability.h


def bounding_set() -> int:
    """Our own bounding capabilities: on the engine's machine these are its own, too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return int(line.split()[1], 16)
    return 0


def skip_without_all_capabilities(text: str) -> None:
    """runc insists on all capabilities for --privileged, and fails where the machine has not all of them."""
    if "unable to apply caps: operation not permitted" in text and not bounding_set() >> CAP_SYS_RESOURCE & 1:
        pytest.skip(
            "the machine lacks CAP_SYS_RESOURCE, and this engine's runtime insists on it for --privileged"
        )


def cgroup_file(engine: Engine, controller: str, v1: str, v2: str) -> str:
    """The path inside a container of one cgroup file, for the hierarchy that the engine uses."""
    if engine.info["CgroupVersion"] == "2":
        return f"/sys/fs/cgroup/{v2}"
    return f"/sys/fs/cgroup/{controller}/{v1}"
