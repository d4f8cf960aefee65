"""A running container's figures: its cgroup's and its interfaces'. Blocking: to be run in a thread."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from runtime import cgroups
from runtime.shim.files import read_json
from runtime.shim.starter import cgroup_path

INTERFACE_FIELDS = (
    "rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped",
)  # fmt: skip
_COLUMNS = (0, 1, 2, 3, 8, 9, 10, 11)
"""Those of /proc/net/dev (proc(5))."""


class Sampler:
    """Samples one run of a container; `pid` is its first process as the host sees it."""

    def __init__(self, bundle: Path, pid: int) -> None:
        """Raises OSError when the bundle is gone, CgroupError when its cgroup cannot be meant."""
        self.pid = pid
        self._cgroup = cgroups.open_cgroup(cgroup_path(read_json(str(bundle / "config.json")), bundle.name))

    def __call__(self) -> dict[str, Any]:
        """`{"read": ns, "cgroup": Cgroup.stats(), "interfaces": {name: {field: n}}}`, `lo` left out.

        Raises OSError when the container has ended.
        """
        interfaces = parse_interfaces(Path(f"/proc/{self.pid}/net/dev").read_text())
        read = time.time_ns()
        return {"read": read, "cgroup": self._cgroup.stats(), "interfaces": interfaces}


def parse_interfaces(text: str) -> dict[str, dict[str, int]]:
    """The text of /proc/net/dev."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = rest.split()
        if name.strip() != "lo" and len(numbers) >= 12:
            values = (int(numbers[column]) for column in _COLUMNS)
            found[name.strip()] = dict(zip(INTERFACE_FIELDS, values, strict=True))
    return found
