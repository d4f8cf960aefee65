"""Volumes: what lists and prunes take, what is refused, what a killed daemon leaves."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compatd.engine import volumes as module
from compatd.engine.errors import Conflict, EngineError, InvalidParameter, NotFound
from compatd.engine.volumes import Volumes

Json = dict[str, Any]


class Table(dict[str, Json]):
    def all(self) -> Any:
        return iter(list(self.items()))

    def put(self, key: str, document: Json) -> None:
        self[key] = document

    def delete(self, key: str) -> None:
        self.pop(key, None)


class World:
    """Volumes below a folder, with a store that outlives them and the events that they told of."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.table = Table()
        self.events: list[tuple[str, str, Json]] = []
        (root / "compatd/tmp").mkdir(parents=True)
        (root / "volumes").mkdir()
        self.volumes = self.open()

    def open(self) -> Volumes:
        events = SimpleNamespace(
            emit=lambda kind, action, actor, more: self.events.append((action, actor, more))
        )
        return Volumes(SimpleNamespace(data_root=str(self.root)), SimpleNamespace(volumes=self.table), events)

    def names(self, **filters: list[str]) -> list[str]:
        return [volume["Name"] for volume in self.volumes.find_all(filters)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_empty_maps_stay_and_absent_ones_are_null(world: World) -> None:
    first = world.volumes.create("aa", options={}, labels={})
    assert (first["Options"], first["Labels"]) == ({}, {})
    second = world.volumes.create("bb")
    assert (second["Options"], second["Labels"]) == (None, None)
    anonymous = world.volumes.create(labels={"a": "b"})
    assert anonymous["Labels"] == {"a": "b", "com.docker.volume.anonymous": ""}
    assert world.events[0] == ("create", "aa", {"driver": "local"})


def test_same_name_again(world: World) -> None:
    first = world.volumes.create("aa", labels={"a": "b"})
    assert world.volumes.create("aa", "local", {"type": "x"}, {"c": "d"}) is first
    with pytest.raises(
        NotFound, match='create aa: error looking up volume plugin nope: plugin "nope" not found'
    ):
        world.volumes.create("aa", "nope")
    assert len(world.events) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bogus": "x"}, 'invalid option: "bogus"'),
        ({"type": "tmpfs"}, 'missing required option: "device"'),
        ({"device": "tmpfs"}, 'missing required option: "type"'),
        ({"o": "x"}, 'missing required option: "device"'),
        ({"o": "x", "device": "y"}, 'missing required option: "type"'),
        ({"size": "1m"}, "quota size requested but no quota support"),
        ({"size": "x"}, "invalid size: 'x'"),
        (
            {"type": "cifs", "device": "//host:445/x"},
            "port not allowed in CIFS device URL, include 'port' in 'o='",
        ),
    ],
)
def test_options_that_are_refused(world: World, options: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidParameter) as error:
        world.volumes.create("aa", options=options)
    assert error.value.message == f"create aa: {text}"
    assert world.names() == [] and not (world.root / "volumes/aa").exists()


def test_a_size_is_kept_by_a_quota(world: World) -> None:
    limits: list[tuple[str, int]] = []
    world.volumes.quotas = SimpleNamespace(limit=lambda folder, size: limits.append((str(folder), size)))  # type: ignore[assignment]
    volume = world.volumes.create("aa", options={"size": "5m"})
    assert limits == [(volume["Mountpoint"], 5 << 20)]
    world.volumes.create("bb", options={"size": "0"})
    world.volumes.create("cc")
    assert len(limits) == 1

    def fail(folder: Path, size: int) -> None:
        raise OSError(5, "Input/output error")

    world.volumes.quotas = SimpleNamespace(limit=fail)  # type: ignore[assignment]
    with pytest.raises(EngineError, match="create dd: failed to set quota limit: Input/output error"):
        world.volumes.create("dd", options={"size": "5m"})
    assert world.names() == ["aa", "bb", "cc"] and not (world.root / "volumes/dd").exists()


@pytest.mark.parametrize("same", [True, False])
def test_whose_quotas(world: World, monkeypatch: pytest.MonkeyPatch, same: bool) -> None:
    """One count of projects for a file system: two would give one number twice."""
    asked: list[Any] = []
    monkeypatch.setattr(module, "Quotas", lambda folder, taken: asked.append((folder, taken)) or "own")
    data = Path(world.volumes.create("aa")["Mountpoint"])
    elsewhere = Path("/proc")  # a file system that is certainly another one
    storage: Any = SimpleNamespace(quotas="shared", rw=world.root if same else elsewhere)
    world.volumes.open(storage)
    if same:
        assert (world.volumes.quotas, asked) == ("shared", [])
    else:
        assert (world.volumes.quotas, asked) == ("own", [(world.root / "volumes", [data])])


def test_a_size_of_nothing_is_no_limit(world: World) -> None:
    assert world.volumes.create("aa", options={"size": "0"})["Options"] == {"size": "0"}


def test_filters_of_lists(world: World) -> None:
    world.volumes.create("aa", labels={"k": "1", "l": "2"})
    world.volumes.create("ab", labels={"k": "2"})
    world.volumes.create("ba")
    world.volumes.reference("ab", "container")
    assert world.names(name=["^a"]) == ["aa", "ab"]
    assert world.names(name=["(", "ba"]) == ["ba"]  # what is no regular expression finds nothing
    assert world.names(label=["k"]) == ["aa", "ab"]
    assert world.names(label=["k", "l"]) == ["aa"]
    assert world.names(label=["k=2"]) == ["ab"]
    assert world.names(driver=["local"]) == ["aa", "ab", "ba"]
    assert world.names(driver=["other"]) == []
    assert world.names(dangling=["true"]) == ["aa", "ba"]
    assert world.names(dangling=["0", "false"]) == ["ab"]


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ({"dangling": ["x"]}, "invalid filter 'dangling=[x]'"),
        ({"dangling": ["1", "0"]}, "invalid filter 'dangling=[1 0]'"),
        ({"dangling": []}, "invalid filter 'dangling'"),
        ({"bogus": ["x"]}, "invalid filter 'bogus'"),
    ],
)
def test_bad_filters_of_lists(world: World, filters: Any, text: str) -> None:
    with pytest.raises(InvalidParameter) as error:
        world.volumes.find_all(filters)
    assert error.value.message == text


def prune(world: World, *, named_too: bool = False, **filters: list[str]) -> Json:
    return asyncio.run(world.volumes.prune(filters, named_too=named_too))


def test_prune_takes_anonymous_ones_that_nobody_uses(world: World) -> None:
    anonymous = world.volumes.create()["Name"]
    used = world.volumes.create()["Name"]
    world.volumes.reference(used, "container")
    world.volumes.create("named")
    (world.root / f"volumes/{anonymous}/_data/f").write_bytes(b"x" * 70)
    assert prune(world) == {"VolumesDeleted": [anonymous], "SpaceReclaimed": 70}
    assert world.events[-2:] == [
        ("destroy", anonymous, {"driver": "local"}),
        ("prune", "", {"reclaimed": "70"}),
    ]
    assert prune(world) == {"VolumesDeleted": [], "SpaceReclaimed": 0}
    assert prune(world, all=["1"])["VolumesDeleted"] == ["named"]
    assert world.names() == [used]


def test_prune_for_older_clients_and_by_labels(world: World) -> None:
    world.volumes.create("aa", labels={"keep": "no"})
    world.volumes.create("bb", labels={"keep": "yes"})
    world.volumes.create("cc", options={"type": "tmpfs", "device": "tmpfs"})
    assert prune(world, named_too=True, label=["keep=maybe"])["VolumesDeleted"] == []
    assert prune(world, named_too=True, **{"label!": ["keep=yes"]})["VolumesDeleted"] == ["aa"]
    assert prune(world, named_too=True)["VolumesDeleted"] == ["bb"]
    assert world.names() == ["cc"]  # somebody else's files


@pytest.mark.parametrize(
    ("filters", "named_too", "text"),
    [
        ({"all": ["x"]}, False, "invalid filter 'all': strconv.ParseBool: parsing \"x\": invalid syntax"),
        ({"all": ["0", "1"]}, False, "invalid filter 'all=[0 1]': only one value is expected"),
        ({"all": ["0"]}, True, "invalid filter 'all=[0 true]': only one value is expected"),
        ({"name": ["x"]}, False, "invalid filter 'name'"),
    ],
)
def test_bad_filters_of_prunes(world: World, filters: Any, named_too: bool, text: str) -> None:
    with pytest.raises(InvalidParameter) as error:
        prune(world, named_too=named_too, **filters)
    assert error.value.message == text
    assert prune(world)["VolumesDeleted"] == []  # the failed one is over


def test_one_prune_at_a_time(world: World) -> None:
    world.volumes.create()

    async def both() -> list[Any]:
        return await asyncio.gather(*(world.volumes.prune({}) for _ in range(2)), return_exceptions=True)

    done = asyncio.run(both())
    assert [type(one) for one in done] == [dict, Conflict]
    assert str(done[1]) == "a prune operation is already running"


def test_what_a_container_takes_during_a_prune_stays(world: World) -> None:
    name = world.volumes.create()["Name"]

    async def scenario() -> Json:
        pruning = asyncio.ensure_future(world.volumes.prune({}))
        await asyncio.sleep(0)  # it has chosen the volume and counts now
        world.volumes.reference(name, "container")
        return await pruning

    assert asyncio.run(scenario())["VolumesDeleted"] == []
    assert world.names() == [name]


TMPFS = {"type": "tmpfs", "device": "tmpfs"}


def test_a_mounted_volume_is_not_removed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = world.volumes.create("aa", options=TMPFS)["Mountpoint"]
    world.volumes.mounts = SimpleNamespace(held=lambda name: True)  # type: ignore[assignment]
    with pytest.raises(EngineError, match="remove aa: volume has active mounts"):
        world.volumes.remove("aa")
    world.volumes.mounts = None
    monkeypatch.setattr(module, "unmount", lambda path: None)
    monkeypatch.setattr(module, "is_mounted", lambda path: path == folder)
    with pytest.raises(EngineError, match="device or resource busy"):
        world.volumes.remove("aa")
    assert Path(folder).is_dir() and world.names() == ["aa"]


def test_volumes_on_a_file_system_of_their_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(world.volumes.create("aa")["Mountpoint"])
    rename = Path.rename

    def across(path: Path, target: Path) -> Path:
        if target.parent == world.root / "compatd/tmp":
            raise OSError(18, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", across)
    monkeypatch.setattr(module, "_remove_behind", lambda path: None)
    world.volumes.remove("aa")
    (left,) = (world.root / "volumes").iterdir()
    assert left.name.startswith(".gone-") and not folder.exists()
    begun: list[str] = []
    monkeypatch.setattr(module, "_remove_behind", begun.append)  # a killed daemon had no time to
    world.volumes = world.open()
    assert begun == [str(left)] and world.names() == []


def test_a_folder_that_nobody_knows_is_a_volume(world: World) -> None:
    for name in ("found", "empty", "another"):
        (world.root / "volumes" / name).mkdir()
    (world.root / "volumes/found/_data").mkdir()
    (world.root / "volumes/another/_data").mkdir()
    (world.root / "volumes/another/opts.json").write_text("{}")
    (world.root / "volumes/file").write_text("x")
    world.volumes = world.open()
    assert world.names() == ["found"]
    volume = world.volumes.get("found")
    assert volume["Labels"] is None and volume["Mountpoint"] == str(world.root / "volumes/found/_data")
    assert world.open().get("found") == volume
    assert world.events == []
