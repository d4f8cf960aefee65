"""Nothing here runs outside of the guest."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def guest() -> None:
    """Skips on another machine than the guest."""
    if "COMPATD_DEB" not in os.environ:
        pytest.skip("for a guest of its own: scripts/test-deb")
