"""Finding, naming, listing, and what a restart finds."""

from pathlib import Path

import pytest

from compatd.engine.errors import EngineError, InvalidParameter, NotFound
from compatd.engine.images import Images
from compatd.engine.images.model import chain_ids
from compatd.engine.images.platform import parse as parse_platform
from compatd.engine.images.reference import parse
from tests.unit.images.imagekit import FakeStore, add_image, make_images


@pytest.fixture
def images(tmp_path: Path) -> Images:
    images = make_images(tmp_path)
    images.storage.open()
    return images


def test_chain_ids_of_the_oci_specification() -> None:
    one = "sha256:" + "1" * 64
    two = "sha256:" + "2" * 64
    assert chain_ids([one]) == [one]
    assert chain_ids([one, two]) == [
        one,
        "sha256:9932074217c35353d2e03a3f5a86549f7c67bfeb0ba53e23d69f4d4c8f7958f5",
    ]


def test_resolve(images: Images) -> None:
    image = add_image(images, names=("a:1",))
    for name in ("a:1", "docker.io/library/a:1", image.id, image.id[7:], image.id[:15], image.id[7:12]):
        assert images.resolve(name) is image
    for name, shown in (
        ("nope", "nope:latest"),
        ("nope:1", "nope:1"),
        ("a", "a:latest"),
        ("a/b/c", "a/b/c:latest"),
        ("f" * 64, "sha256:" + "f" * 64),
    ):
        with pytest.raises(NotFound) as caught:
            images.resolve(name)
        assert caught.value.message == f"No such image: {shown}"
    with pytest.raises(InvalidParameter, match="must be lowercase"):
        images.resolve("UPPER")


def test_a_name_wins_over_an_id(images: Images) -> None:
    first = add_image(images, layers=1)
    second = add_image(images, layers=2, names=(first.id[7:19],))
    assert images.resolve(first.id[7:19]) is second


def test_an_ambiguous_beginning_finds_nothing(images: Images) -> None:
    for number in range(20):
        add_image(images, Labels={"n": str(number)})
    firsts = [image.id[7] for image in images.index.images.values()]
    double = next(digit for digit in firsts if firsts.count(digit) > 1)
    with pytest.raises(NotFound, match=f"^No such image: {double}:latest$"):
        images.resolve(double)


def test_platform(images: Images) -> None:
    add_image(images, names=("a",))
    assert images.resolve("a", parse_platform("linux/amd64"))
    with pytest.raises(NotFound, match="does not match the specified platform"):
        images.resolve("a", parse_platform("linux/arm64"))


def test_a_tag_moves(images: Images) -> None:
    first, second = add_image(images, layers=1, names=("a",)), add_image(images, layers=2)
    images.tag(second, parse("a"))
    assert (first.repo_tags, second.repo_tags) == ([], ["a:latest"])
    assert images.events.seen == [("image", "tag", second.id, {"name": "a:latest"})]
    with pytest.raises(InvalidParameter, match="refusing to create an ambiguous tag"):
        images.tag(first, parse("sha256:x"))


def test_an_image_without_its_layers_is_refused(images: Images) -> None:
    raw = b'{"rootfs":{"type":"layers","diff_ids":["sha256:' + b"a" * 64 + b'"]}}'
    with pytest.raises(EngineError, match="layer does not exist"):
        images.index.create(raw)
    for broken in (b"[]", b"{}", b'{"rootfs":{"diff_ids":[1]}}', b'{"rootfs":{},"config":5}', b"\xff"):
        with pytest.raises(InvalidParameter):
            images.index.create(broken)


def test_list_filters(images: Images) -> None:
    old = add_image(images, layers=1, names=("x/old:1",), created="2020-01-01T00:00:00Z", Labels={"k": "v"})
    new = add_image(images, layers=2, names=("new:1", "new:2"), created="2024-01-01T00:00:00Z")
    bare = add_image(images, layers=3, created="2022-01-01T00:00:00Z")

    def ids(**filters: list[str]) -> list[str]:
        return [row["Id"] for row in images.list(filters)]

    assert ids() == [new.id, bare.id, old.id]
    assert ids(dangling=["true"]) == [bare.id]
    assert ids(dangling=["false"]) == [new.id, old.id]
    assert ids(label=["k"]) == ids(label=["k=v"]) == [old.id]
    assert ids(label=["k=w"]) == []
    assert ids(before=["new:1"]) == [bare.id, old.id]
    assert ids(since=["x/old:1"]) == [new.id, bare.id]
    assert ids(until=["2021-01-01"]) == [old.id]
    assert ids(reference=["*/old"]) == [old.id]
    assert ids(reference=["new:*"]) == [new.id]
    assert images.list({"reference": ["new:2"]})[0]["RepoTags"] == ["new:2"]
    for bad in ({"foo": ["x"]}, {"dangling": ["maybe"]}, {"until": ["never"]}):
        with pytest.raises(InvalidParameter):
            images.list(bad)
    assert [row["SharedSize"] for row in images.list({}, shared_size=True)] == [20, 20, 10]


def test_intermediate_images_show_with_all_only(images: Images) -> None:
    base = add_image(images, layers=1)
    top = add_image(images, layers=2, names=("top",), parent=base.id)
    assert [row["Id"] for row in images.list({})] == [top.id]
    assert len(images.list({}, all_images=True)) == 2


def test_history_and_inspect(images: Images) -> None:
    image = add_image(images, layers=2, names=("a",), Cmd=["sh"], Labels={})
    rows = images.history("a")
    assert [(row["Id"], row["CreatedBy"], row["Size"], row["Tags"]) for row in rows] == [
        (image.id, "step 1", 10, ["a:latest"]),
        ("<missing>", "step 0", 10, None),
    ]
    shown = images.inspect("a")
    assert shown["Config"] == {"Cmd": ["sh"]}
    assert (shown["Size"], shown["RepoTags"], shown["RepoDigests"]) == (20, ["a:latest"], [])
    assert shown["GraphDriver"]["Name"] == "overlay2"
    assert set(shown["GraphDriver"]["Data"]) == {"LowerDir", "MergedDir", "UpperDir", "WorkDir"}


async def reopened(images: Images, root: Path, store: FakeStore) -> Images:
    other = make_images(root, store=store)
    await other.open()
    other.storage.settle()
    return other


def test_a_restart_finds_all_and_sweeps_the_rest(tmp_path: Path) -> None:
    import asyncio

    store = FakeStore()
    images = make_images(tmp_path, store=store)
    images.storage.open()
    image = add_image(images, layers=2, names=("a", "b"))
    # Left by a daemon that was killed: a layer of no image, one half made, a blob, half a download
    images.storage.commit_layer(images.storage.prepare_layer(), "sha256:" + "9" * 64)
    images.storage.prepare_layer()
    (images.storage.blobs / ("8" * 64)).write_bytes(b"blob")
    (images.storage.tmp / "blob-1").write_bytes(b"half")
    other = asyncio.run(reopened(images, tmp_path, store))
    assert [row["RepoTags"] for row in other.list({})] == [["a:latest", "b:latest"]]
    assert sorted(other.storage.layer_ids()) == sorted(image.chain_ids)
    assert list(other.storage.blobs.iterdir()) == []
    assert list(other.storage.tmp.iterdir()) == []


def test_an_image_whose_layer_is_gone_is_left_out(tmp_path: Path) -> None:
    import asyncio

    store = FakeStore()
    images = make_images(tmp_path, store=store)
    images.storage.open()
    image = add_image(images, layers=2, names=("a",))
    images.storage.remove_layer(image.chain_ids[1])
    other = asyncio.run(reopened(images, tmp_path, store))
    assert other.list({}) == []


def test_a_failed_write_changes_nothing(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    image = add_image(images, names=("a",))
    store = images.index._store

    def full(key: str, document: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(store.images, "put", full)
    with pytest.raises(OSError, match="disk full"):
        images.tag(image, parse("b"))
    assert image.repo_tags == ["a:latest"]
    assert list(store.tags.documents) == ["docker.io/library/a:latest"]


def test_only_the_owner_may_enter_the_storage(images: Images) -> None:
    for folder in (images.storage.layers, images.storage.rw, images.storage.tmp, images.storage.blobs):
        assert folder.stat().st_mode & 0o007 == 0


def test_a_layer_pinned_twice_is_let_go_once(images: Images) -> None:
    image = add_image(images, layers=2)
    del images.index.images[image.id]
    with images.index.pinned() as pins:
        for chain_id in (*image.chain_ids, *image.chain_ids):
            pins.add(chain_id)
    assert not images.index.layers
