"""rmi: what is refused in which words, what goes along."""

from pathlib import Path

import pytest

from compatd.engine.errors import Conflict, NotFound
from compatd.engine.images import Images
from compatd.engine.images.reference import parse
from tests.unit.images.imagekit import add_image, make_images

DIGEST = "sha256:" + "a" * 64
CONTAINER = "0123456789abcdef"


@pytest.fixture
def images(tmp_path: Path) -> Images:
    images = make_images(tmp_path)
    images.storage.open()
    return images


def test_the_last_name_takes_image_and_layers_along(images: Images) -> None:
    image = add_image(images, layers=2, names=("a:1", "b:2"))
    layers = list(reversed(image.chain_ids))
    assert images.delete("a:1") == [{"Untagged": "a:1"}]
    assert images.delete("b:2") == [
        {"Untagged": "b:2"},
        {"Deleted": image.id},
        *({"Deleted": layer} for layer in layers),
    ]
    assert images.storage.layer_ids() == []
    assert images.events.actions() == ["untag", "untag", "delete"]
    with pytest.raises(NotFound, match=r"^No such image: b:2$"):
        images.delete("b:2")


def test_shared_layers_stay(images: Images) -> None:
    small = add_image(images, layers=1, names=("small",))
    big = add_image(images, layers=2, names=("big",))
    assert images.delete("big")[-1] == {"Deleted": big.chain_ids[1]}
    assert images.storage.has_layer(small.chain_ids[0])


def test_digests_go_with_the_last_tag_of_their_repository(images: Images) -> None:
    image = add_image(images, names=("r/x:1", "r/y:1"))
    images.index.name(parse("r/x@" + DIGEST), image)
    assert images.delete("r/x:1") == [{"Untagged": "r/x:1"}, {"Untagged": "r/x@" + DIGEST}]
    assert image.repo_tags == ["r/y:1"]


def test_by_id_with_one_repository(images: Images) -> None:
    image = add_image(images, names=("r/x:1",))
    images.index.name(parse("r/x@" + DIGEST), image)
    records = images.delete(image.id[7:19])
    assert records[:3] == [{"Untagged": "r/x:1"}, {"Untagged": "r/x@" + DIGEST}, {"Deleted": image.id}]


def test_by_id_with_two_repositories_needs_force(images: Images) -> None:
    image = add_image(images, names=("a", "b"))
    short = image.id[7:19]
    with pytest.raises(Conflict) as caught:
        images.delete(short)
    assert caught.value.message == (
        f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
    )
    assert {"Deleted": image.id} in images.delete(short, force=True)


def test_a_stopped_container_needs_force(images: Images) -> None:
    image = add_image(images, names=("a",))
    images.uses = lambda image_id: [(CONTAINER, False)]
    short = image.id[7:19]
    with pytest.raises(Conflict) as caught:
        images.delete("a")
    assert caught.value.message == (
        "conflict: unable to delete a:latest (must be forced) - "
        f"container {CONTAINER[:12]} is using its referenced image {short}"
    )
    with pytest.raises(Conflict) as caught:
        images.delete(short)
    assert caught.value.message == (
        f"conflict: unable to delete {short} (must be forced) - "
        f"image is being used by stopped container {CONTAINER[:12]}"
    )
    assert {"Deleted": image.id} in images.delete("a", force=True)


def test_a_running_container_forbids_all_but_untagging(images: Images) -> None:
    image = add_image(images, names=("a",))
    images.uses = lambda image_id: [("f" * 64, False), (CONTAINER, True)]
    with pytest.raises(Conflict) as caught:
        images.delete(image.id, force=True)
    assert caught.value.message == (
        f"conflict: unable to delete {image.id[7:19]} (cannot be forced) - "
        f"image is being used by running container {CONTAINER[:12]}"
    )
    assert images.delete("a", force=True) == [{"Untagged": "a:latest"}]
    assert images.get(image.id) is image


def test_an_image_that_others_are_built_on_stays(images: Images) -> None:
    base = add_image(images, layers=1, names=("base",))
    child = add_image(images, layers=2, names=("child",), parent=base.id)
    with pytest.raises(Conflict, match=r"\(cannot be forced\) - image has dependent child images$"):
        images.delete(base.id, force=True)
    images.delete("base")
    assert images.get(base.id) is base
    records = images.delete("child")
    assert {"Deleted": child.id} in records
    assert {"Deleted": base.id} in records


def test_a_thousand_parents_go_along(images: Images) -> None:
    """So many does a build of a thousand instructions make; Python's stack is not as deep."""
    parent, count = "", 1100
    for number in range(count):
        parent = add_image(images, layers=0, parent=parent, Labels={"n": str(number)}).id
    records = images.delete(parent)
    assert len(records) == count and not images.index.images


def test_noprune_leaves_the_parents(images: Images) -> None:
    base = add_image(images, layers=1)
    add_image(images, layers=2, names=("child",), parent=base.id)
    images.delete("child", prune=False)
    assert images.get(base.id) is base


def test_layers_of_a_container_outlive_its_image(images: Images) -> None:
    image = add_image(images, names=("a",))
    images.index.held = lambda: image.chain_ids
    assert images.delete("a", force=True)[-1] == {"Deleted": image.id}
    assert images.storage.has_layer(image.chain_ids[0])
    images.index.held = list
    images.index.release(image.chain_ids)
    assert not images.storage.has_layer(image.chain_ids[0])


def test_prune(images: Images) -> None:
    dangling = add_image(images, layers=1)
    kept = add_image(images, layers=2, names=("kept",))
    report = images.prune({})
    assert report["ImagesDeleted"] == [{"Deleted": dangling.id}]
    assert images.prune({"dangling": ["false"]}) == {
        "ImagesDeleted": [
            {"Untagged": "kept:latest"},
            {"Deleted": kept.id},
            *({"Deleted": chain} for chain in reversed(kept.chain_ids)),
        ],
        "SpaceReclaimed": 20,
    }
    assert images.prune({})["ImagesDeleted"] is None
