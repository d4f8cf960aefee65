"""What the tests of networks share."""

from collections.abc import Iterator

import pytest

from tests.unit.net.netkit import Kernel, World


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """The host, without touching it."""
    return Kernel(monkeypatch)


@pytest.fixture
def world(kernel: Kernel) -> Iterator[World]:
    """A daemon on it, without networks of anybody."""
    world = World()
    yield world
    world.close()
