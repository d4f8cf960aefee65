"""Which images `cachefrom` takes steps from, and what it makes of them."""

from pathlib import Path
from typing import Any

import pytest

from compatd.engine.builder.classic.cachefrom import CacheFrom
from compatd.engine.images import Images
from tests.unit.images.imagekit import add_image, make_images


@pytest.fixture
def images(tmp_path: Path) -> Images:
    found = make_images(tmp_path)
    found.storage.open()
    return found


def steps(image: Any) -> list[str]:
    return [item["created_by"] for item in image.config["history"]]


def test_a_step_in_the_midst_is_made_up(images: Images) -> None:
    base, target = (
        add_image(images, layers=1, names=("base",)),
        add_image(images, layers=3, names=("t",), Cmd=["x"]),
    )
    source = CacheFrom(images, ["t", "not-here", "A B"])
    found = source.find(base, "step 1", {"Env": ["a=b"]})
    assert found and found.parent == base.id and steps(found) == ["step 0", "step 1"]
    assert found.chain_ids == target.chain_ids[:2] and found.config["config"]["Env"] == ["a=b"]
    assert source.find(found, "step 2", {"Cmd": ["x"]}) is target
    assert target and target.parent == found.id


def test_a_last_step_with_another_config_is_another_image(images: Images) -> None:
    """What the history says is not all (CVE-2024-24557)."""
    base, target = (
        add_image(images, layers=1, names=("base",)),
        add_image(images, layers=2, names=("t",), User="root"),
    )
    found = CacheFrom(images, ["t"]).find(base, "step 1", {"User": "daemon"})
    assert found and found is not target and found.config["config"]["User"] == "daemon"
    assert found.chain_ids == target.chain_ids


@pytest.mark.parametrize("created_by", ["step 0", "step 2", ""])
def test_another_step(images: Images, created_by: str) -> None:
    base = add_image(images, layers=1, names=("base",))
    add_image(images, layers=2, names=("t",))
    assert CacheFrom(images, ["t"]).find(base, created_by, {}) is None


def test_an_image_of_another_base(images: Images) -> None:
    add_image(images, layers=2, names=("t",))
    other = add_image(images, layers=1, User="x")
    other.config["history"][0]["created_by"] = "elsewhere"
    assert CacheFrom(images, ["t"]).find(other, "step 1", {}) is None


def test_scratch(images: Images) -> None:
    target = add_image(images, layers=2, names=("t",))
    found = CacheFrom(images, ["t"]).find(None, "step 0", {})
    assert found and found.chain_ids == target.chain_ids[:1] and not found.parent
    assert found.config["architecture"] == "amd64"


def test_histories_that_lie(images: Images) -> None:
    base, target = add_image(images, layers=1, names=("base",)), add_image(images, layers=2, names=("t",))
    target.config["history"] += [{"created_by": "step 2"}]
    assert CacheFrom(images, ["t"]).find(base, "step 1", {}) is None


def test_what_an_image_was_made_of(images: Images) -> None:
    base = add_image(images, layers=1)
    target = add_image(images, layers=2, names=("t",), parent=base.id)
    source = CacheFrom(images, ["t"])
    assert source.holds(target) and source.holds(base)
    assert not source.holds(add_image(images, layers=3))
