"""Nothing here runs outside of the guest."""

import os

import pytest

from tests.vm_deb.user import sh


@pytest.fixture(scope="session", autouse=True)
def guest() -> None:
    """Skips on another machine than the guest."""
    if "COMPATD_DEB" not in os.environ:
        pytest.skip("for a guest of its own: scripts/test-deb")


@pytest.fixture(autouse=True)
def not_too_often() -> None:
    """The unit allows three starts a minute, as docker.io's does: those of the test before don't count."""
    sh("systemctl reset-failed docker.service docker.socket", check=False)
