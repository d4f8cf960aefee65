"""Fixtures of the checks in the guest."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.machine import CGROUPS, Machine, started


@pytest.fixture(scope="session")
def service() -> Iterator[Machine]:
    """compatd under systemd, once for all checks. Skips on another machine than the guest."""
    if "COMPATD_VM" not in os.environ:
        pytest.skip("for a guest with cgroup v2 and systemd: scripts/test-vm")
    assert (CGROUPS / "cgroup.controllers").exists(), "no cgroup v2 in the guest"
    assert Path("/proc/1/comm").read_text() == "systemd\n"
    with started() as machine:
        yield machine


@pytest.fixture
def machine(service: Machine) -> Iterator[Machine]:
    """The same, without containers at the end; a failed check shows what the daemon logged meanwhile."""
    size = service.log.stat().st_size
    yield service
    print(service.log.read_bytes()[size:].decode(errors="replace")[-4000:])
    service.remove_all()
