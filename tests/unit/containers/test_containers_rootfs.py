"""`--storage-opt` of a container: what it means, and in which words it is refused."""

from typing import Any

import pytest

from compatd.engine.containers.rootfs import size_limit
from compatd.engine.errors import EngineError
from runtime.storage.overlay import Overlay
from runtime.storage.vfs import Vfs


class _Storage:
    def __init__(self, driver: Any, quotas: object) -> None:
        self.name, self.no_quotas, self.quotas = driver.name, driver.no_quotas, quotas


def test_sizes() -> None:
    storage: Any = _Storage(Overlay, object())
    assert size_limit(None, storage) is None
    assert size_limit({}, storage) is None
    assert size_limit({"size": "10M"}, storage) == 10 << 20
    assert size_limit({"Size": "0"}, storage) == 0


@pytest.mark.parametrize(
    ("driver", "quotas", "options", "status", "message"),
    [
        (Overlay, None, {"bogus": "1"}, 500, "Unknown option bogus"),
        (Overlay, None, {"size": "1G"}, 500, Overlay.no_quotas),
        (Overlay, None, {"size": "what"}, 500, Overlay.no_quotas),
        (Overlay, object(), {"size": "what"}, 500, "invalid size: 'what'"),
        (Vfs, None, {"size": "1G"}, 501, "Filesystem does not support, or has not enabled quotas"),
        (Vfs, object(), {"size": "what"}, 400, "invalid size: 'what'"),
        (Vfs, None, {"bogus": "1"}, 400, "Storage opt bogus not supported"),
    ],
)
def test_refused(driver: Any, quotas: object, options: dict[str, str], status: int, message: str) -> None:
    storage: Any = _Storage(driver, quotas)
    with pytest.raises(EngineError) as error:
        size_limit(options, storage)
    assert (error.value.status, error.value.message) == (status, message)
