"""The build cache: what it finds, what it holds, what goes."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compatd.engine.builder import prune
from compatd.engine.builder.cache import Cache
from compatd.engine.builder.records import IMAGE, LOCAL, MOUNT, REGULAR, Record
from compatd.engine.errors import InvalidParameter
from compatd.engine.images.index import Index
from compatd.engine.images.model import Layer
from compatd.store import Store
from runtime.storage.overlay import Overlay

HOUR = 3600 * 10**9
Add = Callable[..., Record]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "compatd")
    yield store
    store.close()


@pytest.fixture
def cache(store: Store, tmp_path: Path) -> Cache:
    return opened(store, tmp_path)


def opened(store: Store, root: Path) -> Cache:
    storage = Overlay(root / "compatd")
    storage.open()
    index = Index(store, storage)
    index.load()
    index.sweep()
    cache = Cache(store, index, storage)
    cache.open()
    index.holders.append(cache.held)
    return cache


def layer(cache: Cache, name: str, parent: str = "", size: int = 100) -> str:
    chain_id = "sha256:" + name * 64
    if chain_id not in cache._index.layers:
        cache._storage.commit_layer(cache._storage.prepare_layer(), chain_id)
        cache._index.add_layer(Layer(chain_id, chain_id, parent, size, chain_id, 0, 0, ""))
    return chain_id


def record(cache: Cache, key: str, layers: str, *parents: Record, size: int = 100, **more: int) -> Record:
    chain_ids = tuple(layer(cache, name) for name in layers)
    found = cache.put(Record(key, REGULAR, key, chain_ids, parents=tuple(p.id for p in parents), size=size))
    found.last_used -= more.get("age", 0)
    found.uses += more.get("uses", 0)
    return found


def usage(cache: Cache, images: str = "") -> prune.Usage:
    return prune.Usage(cache, ["sha256:" + name * 64 for name in images])


def run(cache: Cache, rule: prune.Rule, images: str = "", free: int = 0) -> list[str]:
    deleted, _ = prune.prune(usage(cache, images), rule, free)
    return deleted


def test_found_by_key_as_long_as_its_layers_are_there(cache: Cache) -> None:
    one = record(cache, "k", "a")
    assert cache.find("k") is one and cache.find("other") is None
    cache._index.layers.clear()
    assert cache.find("k") is None and not cache.records


def test_a_newer_one_of_the_same_key_takes_its_place(cache: Cache) -> None:
    old = record(cache, "k", "a")
    new = record(cache, "k", "b")
    assert cache.find("k") is new and old.id not in cache.records
    assert list(cache._index.layers) == list(new.chain_ids), (
        "what the older one came to is of no use any more"
    )


def test_it_comes_back_with_its_layers(cache: Cache, store: Store, tmp_path: Path) -> None:
    one = record(cache, "k", "ab", size=7)
    again = opened(store, tmp_path)
    found = again.find("k")
    assert found and (found.id, found.size, found.chain_ids) == (one.id, 7, one.chain_ids)
    assert set(again._index.layers) == set(one.chain_ids), "layers of the cache are no rubbish"


def test_a_record_that_lost_a_layer_does_not_come_back(cache: Cache, store: Store, tmp_path: Path) -> None:
    one = record(cache, "k", "a")
    cache._storage.layer_path(one.chain_ids[0]).rename(tmp_path / "lost")
    assert not opened(store, tmp_path).records and not list(store.build_cache.all())


def test_a_record_that_cannot_be_read_is_forgotten(cache: Cache, store: Store, tmp_path: Path) -> None:
    store.build_cache.put("r", {"Key": "k"})
    assert not opened(store, tmp_path).records and not list(store.build_cache.all())


def test_layers_go_with_the_last_record(cache: Cache) -> None:
    one, two = record(cache, "1", "a"), record(cache, "2", "ab")
    cache.remove([one])
    assert len(cache._index.layers) == 2
    assert cache.remove([two]) == 200
    assert not cache._index.layers and not cache._storage.layer_ids()


def test_one_builds_while_the_other_waits(cache: Cache) -> None:
    order: list[str] = []

    async def build(name: str) -> None:
        async with cache.alone("k"):
            order.append(f"{name} in")
            await asyncio.sleep(0)
            order.append(f"{name} out")

    async def main() -> None:
        await asyncio.gather(build("1"), build("2"))

    asyncio.run(main())
    assert order == ["1 in", "1 out", "2 in", "2 out"] and not cache._locks


def test_who_looks_for_nothing_waits_for_nobody(cache: Cache) -> None:
    async def main() -> None:
        async with cache.alone("k"), asyncio.timeout(60), cache.alone("k", wait=False):
            pass

    asyncio.run(main())


def test_folders(cache: Cache, store: Store, tmp_path: Path) -> None:
    one, new = cache.open_folder(MOUNT, "k", "cached mount /c")
    assert new and cache.folder(one).is_dir() and one.users == 1
    (cache.folder(one) / "f").write_bytes(bytes(1234))
    same, new = cache.open_folder(MOUNT, "k", "cached mount /c")
    assert same is one and not new and one.users == 2
    asyncio.run(cache.close_folder(one))
    assert run(cache, prune.Rule(all=True)) == [], "somebody still has it"
    asyncio.run(cache.close_folder(one))
    assert one.size == 1234
    (cache._root / "left").mkdir()
    again = opened(store, tmp_path)
    again._storage.settle()
    assert [path.name for path in again._root.iterdir()] == [one.id]
    assert run(again, prune.Rule(all=True)) == [one.id]
    again._storage.settle()
    assert not list(again._root.iterdir())


def test_prune_leaves_what_images_have_unless_all_goes(cache: Cache) -> None:
    base = record(cache, "base", "a")
    top = record(cache, "top", "ab", base)
    loose = record(cache, "loose", "ac", base)
    assert run(cache, prune.Rule(), images="ab") == [loose.id]
    assert sorted(run(cache, prune.Rule(all=True), images="ab")) == sorted([top.id, base.id])


def test_the_classic_builders_images_are_no_records(cache: Cache) -> None:
    cache.put(Record("k", IMAGE, "", image="sha256:1"))
    assert usage(cache).records == [] and run(cache, prune.Rule(all=True)) == []


def test_filters(cache: Cache) -> None:
    base = record(cache, "base", "a", age=3 * HOUR)
    top = record(cache, "top", "ab", base)
    folder, _ = cache.open_folder(LOCAL, "f", "local source for context")
    asyncio.run(cache.close_folder(folder))
    assert run(cache, prune.rule({"until": ["2h"]})) == [], "something younger stands on it"
    assert run(cache, prune.rule({"type": ["source.local"]})) == [folder.id]
    assert run(cache, prune.rule({"id": [top.id[3:20]], "type": ["regular"]})) == [top.id]
    assert run(cache, prune.rule({"unused-for": ["2h"], "label": ["x"]})) == [base.id]


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ({"mutable": ["x"]}, "invalid filter 'mutable'"),
        ({"until": ["1h"], "unused-for": ["1h"]}, 'conflicting filters: "until" and "unused-for"'),
        ({"until": ["1h", "2h"]}, "filters expect only one value"),
        ({"id": ["a", "b"]}, "filters expect only one value"),
        (
            {"unused-for": ["zz"]},
            "\"unused-for\" filter expects a duration (e.g., '24h') or a timestamp: failed to parse value as "
            'time or duration: "zz"',
        ),
    ],
)
def test_wrong_filters(filters: dict[str, list[str]], text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        prune.rule(filters)
    assert caught.value.message == text


def test_what_may_stay(cache: Cache) -> None:
    often = record(cache, "often", "a", uses=9)
    seldom = record(cache, "seldom", "b", age=5 * HOUR)
    late = record(cache, "late", "c", age=2 * HOUR)
    assert run(cache, prune.Rule(reserved=1000)) == []
    assert run(cache, prune.Rule(reserved=250)) == [seldom.id], "until less than that is left"
    assert run(cache, prune.Rule(most=150)) == [late.id]
    assert run(cache, prune.Rule(free=1000), free=2000) == [often.id], "as BuildKit: to below what there is"


def test_space_for_the_disk(cache: Cache) -> None:
    for name in "abc":
        record(cache, name, name)
    assert len(run(cache, prune.Rule(free=1000), free=850)) == 2
    assert run(cache, prune.Rule(free=1000, reserved=400), free=0) == []


def test_rules_of_the_configuration(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert len(prune.rules({}, root)) == 4 and prune.rules({}, root)[0].filters[0] == "type==source.local"
    assert prune.rules({"gc": {"enabled": False}}, root) == []
    assert prune.rules({"GC": {"DefaultKeepStorage": "20GB"}}, root)[2] == prune.Rule(reserved=20 << 30)
    policy = [{"keepStorage": "1GB", "filter": ["type=regular"]}, {"all": True, "maxUsedSpace": "2GB"}]
    assert prune.rules({"gc": {"policy": policy}}, root) == [
        prune.Rule(filters=("type==regular",), reserved=1 << 30),
        prune.Rule(all=True, filters=("",), most=2 << 30),
    ]
    with pytest.raises(InvalidParameter, match="failed to parse defaultreservedspace: invalid size: 'x'"):
        prune.rules({"gc": {"defaultKeepStorage": "x"}}, root)
