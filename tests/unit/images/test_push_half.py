"""What a push has made for itself is gone with it, however it is ended."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compatd.engine.images import pushing


class StuckUpload:
    """A registry that takes nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("cancels", [1, 2])
def test_a_cancelled_upload_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cancels: int
) -> None:
    """A layer's upload is cancelled once by its client, and once more when all layers' are waited for."""
    monkeypatch.setattr(pushing, "Upload", StuckUpload)

    async def endless(_: Any) -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1024
            await asyncio.sleep(0)

    layer = SimpleNamespace(
        compression="", diff_id="sha256:" + "0" * 64, digest="", blob_size=0, plain_size=1 << 30
    )
    pusher: Any = SimpleNamespace(
        _index=SimpleNamespace(overlay=SimpleNamespace(tmp=tmp_path)),
        _layers=SimpleNamespace(plain_chunks=endless),
    )

    async def run() -> None:
        job = pushing._Job(pusher, SimpleNamespace(), "name", layer, plain=True)  # type: ignore[arg-type]
        task = asyncio.ensure_future(job._upload())
        while not list(tmp_path.iterdir()):
            await asyncio.sleep(0.001)
        for _ in range(cancels):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(asyncio.wait_for(run(), 60))
    assert not list(tmp_path.iterdir())
