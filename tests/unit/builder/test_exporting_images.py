"""The exporter moby: an image in the engine's store, its names, its config, its push."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.builder.exporting import exports
from compatd.engine.builder.exporting.task import CacheEntry, Output, Task
from compatd.engine.errors import EngineError
from tests.unit.builder.exportkit import AMD64, ARM64, Lines, built, make_engine, task


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    return make_engine(tmp_path / "data")


def export(
    engine: Any, result: Any, caches: Any = (), at_hand: Task | None = None, **given: str
) -> dict[str, str]:
    outputs = [Output("moby", {name.replace("_", "-"): value for name, value in given.items()})]
    return asyncio.run(exports.export(engine, result, outputs, caches, at_hand or task()))


def test_an_image_with_names(engine: Any) -> None:
    result, lines = built(engine), Lines()
    response = export(engine, result, at_hand=Task(observer=lines), name="mine:1,other")
    image = engine.images.resolve("mine:1")
    assert image.raw.encode() == result.results[0].config and not image.parent
    assert image is engine.images.resolve("other:latest")
    assert response == {
        "containerimage.config.digest": image.id,
        "containerimage.digest": image.id,
        "image.name": "docker.io/library/mine:1,docker.io/library/other",
    }
    assert [line.partition(" sha")[0] for line in lines.parts] == [
        "exporting layers",
        "writing image",
        "naming to docker.io/library/mine:1",
        "naming to docker.io/library/other",
    ]
    assert engine.images.events.actions() == ["tag", "tag", "create"]


def test_an_image_without_names(engine: Any) -> None:
    response = export(engine, built(engine))
    assert "image.name" not in response
    assert engine.images.resolve(response["containerimage.digest"]).references == []
    assert engine.images.events.actions() == ["create"]


def test_an_inline_cache(engine: Any) -> None:
    at_hand = task()
    response = export(engine, built(engine), [CacheEntry("inline")], at_hand)
    config = json.loads(engine.images.resolve(response["containerimage.digest"]).raw)
    assert "moby.buildkit.cache.v0" in config
    assert "preparing layers for inline cache" in at_hand.observer.parts  # type: ignore[attr-defined]


def test_source_date_epoch(engine: Any) -> None:
    response = export(engine, built(engine), source_date_epoch="1000")
    assert engine.images.resolve(response["containerimage.digest"]).created == 1000 * 10**9


def test_of_the_attribute_and_the_argument_the_attribute_counts(engine: Any) -> None:
    response = export(engine, built(engine), at_hand=task(epoch=2000), source_date_epoch="1000")
    assert engine.images.resolve(response["containerimage.digest"]).created == 1000 * 10**9


def test_several_platforms_are_too_many(engine: Any) -> None:
    at_hand = task()
    with pytest.raises(EngineError, match="exporting multiple references to image store is currently unsup"):
        export(engine, built(engine, AMD64, ARM64), at_hand=at_hand)
    (vertex,) = at_hand.observer.vertexes.values()  # type: ignore[attr-defined]
    assert vertex.name == "exporting to image" and vertex.error


class Pushes:
    """Takes the place of `images.push`."""

    def __init__(self, error: str = "") -> None:
        self.seen: list[Any] = []
        self._error = error

    async def __call__(self, reference: Any, write: Any, **more: Any) -> None:
        self.seen.append((str(reference), more))
        await write({"status": "Pushing", "progressDetail": {"current": 5, "total": 9}})
        if self._error:
            raise EngineError(self._error)


class Auth:
    async def credentials(self, host: str) -> dict[str, str]:
        return {"username": host}


def test_a_push_of_all_names(engine: Any) -> None:
    engine.images.push = pushes = Pushes()
    given = {"push": "true", "registry.insecure": "true", "name": "r:5000/a,r:5000/b:2"}
    export(engine, built(engine), at_hand=task(auth=Auth()), **given)
    more = {"auth": {"username": "r:5000"}, "insecure": True}
    assert pushes.seen == [("r:5000/a:latest", more), ("r:5000/b:2", more)]


def test_a_push_that_fails(engine: Any) -> None:
    engine.images.push = Pushes("no route to host")
    with pytest.raises(EngineError, match="failed to push r:5000/a:latest: no route to host"):
        export(engine, built(engine), push="true", name="r:5000/a")


def test_nothing_but_a_cache(engine: Any) -> None:
    assert asyncio.run(exports.export(engine, built(engine), [], [CacheEntry("inline")], task())) == {}
