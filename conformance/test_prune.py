"""Pruning volumes, the build cache, and all at once. Always by a label: the engine may be somebody's."""

from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.test_events import now, past

PRUNE = "VolumePrune"


class Marked:
    """Volumes with a label of their own: two without a name, a named one, and one with options."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.mark = f"prune={engine.name('mark')}"
        key, _, value = self.mark.partition("=")
        self.labels = {key: value}
        self.anonymous, self.used = (self.create() for _ in range(2))
        self.named, self.tmpfs = engine.name("vol"), engine.name("vol")
        self.create(Name=self.named)
        self.create(Name=self.tmpfs, DriverOpts={"type": "tmpfs", "device": "tmpfs"})
        binds = [f"{name}:/{number}" for number, name in enumerate((self.anonymous, self.used))]
        writer = engine.sh("head -c 5000 /dev/zero >/0/f", host={"Binds": binds})
        assert writer.code == 0, writer
        engine.remove(writer.id)
        engine.create("true", host={"Binds": [f"{self.used}:/v"]}, Labels=self.labels)

    def create(self, **fields: Any) -> str:
        body = {"Labels": self.labels, **fields}
        return str(self.engine.wire.post("/volumes/create", body, status=201).json()["Name"])

    def prune(self, version: str = "", **filters: list[str]) -> tuple[set[str], int]:
        wanted = {"label": [self.mark], **filters}
        done = self.engine.wire.post("/volumes/prune", status=200, filters=wanted, version=version).json()
        assert set(done) == {"VolumesDeleted", "SpaceReclaimed"}
        return set(done["VolumesDeleted"]), done["SpaceReclaimed"]

    def left(self) -> set[str]:
        found = self.engine.wire.get("/volumes", filters={"label": [self.mark]})["Volumes"]
        return {volume["Name"] for volume in found}

    def close(self) -> None:
        self.engine.sweep()
        for name in self.left():
            self.engine.wire.request("DELETE", f"/volumes/{name}", force=True)


@pytest.fixture
def marked(engine: Engine) -> Any:
    made = Marked(engine)
    yield made
    made.close()


@pytest.mark.operation(PRUNE)
def test_all_that_nobody_uses(engine: Engine, marked: Marked) -> None:
    """As up to API 1.41 without being asked; volumes with options stay."""
    since = now(engine)
    names, size = marked.prune(version="1.41")
    assert names == {marked.anonymous, marked.named}
    assert size == 5000
    assert marked.left() == {marked.used, marked.tmpfs}
    assert marked.prune(version="1.41") == (set(), 0)
    events = past(engine, since, type=["volume"], event=["destroy", "prune"])
    told = [(e["Action"], e["Actor"]) for e in events if e["Actor"]["ID"] in {"", *names}]
    if engine.at_least("1.42"):  # 20.10 tells only of the prune
        destroyed, told = told[:2], told[2:]
        assert {actor["ID"] for _, actor in destroyed} == names
        assert all((w, a["Attributes"]) == ("destroy", {"driver": "local"}) for w, a in destroyed)
    assert told == [
        ("prune", {"ID": "", "Attributes": {"reclaimed": "5000"}}),
        ("prune", {"ID": "", "Attributes": {"reclaimed": "0"}}),
    ]


@pytest.mark.operation(PRUNE)
@pytest.mark.since("1.42")
def test_anonymous_ones_only(marked: Marked) -> None:
    assert marked.prune() == ({marked.anonymous}, 5000)
    assert marked.prune(all=["false"]) == (set(), 0)
    assert marked.prune(all=["true"]) == ({marked.named}, 0)
    assert marked.left() == {marked.used, marked.tmpfs}


@pytest.mark.operation(PRUNE)
def test_without_a_label(engine: Engine, marked: Marked) -> None:
    assert marked.prune(version="1.41", **{"label!": [marked.mark]}) == (set(), 0)
    assert marked.prune(version="1.41", **{"label!": ["no-such-label"]})[0] == {
        marked.anonymous,
        marked.named,
    }


@pytest.mark.operation(PRUNE)
@pytest.mark.since("1.42")
@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ({"all": ["x"]}, "invalid filter 'all': strconv.ParseBool: parsing \"x\": invalid syntax"),
        ({"all": ["1", "true"]}, None),
        ({"name": ["x"]}, "invalid filter 'name'"),
    ],
)
def test_bad_filters(engine: Engine, filters: dict[str, Any], text: str | None) -> None:
    answer = engine.wire.request("POST", "/volumes/prune", filters={"label": ["no=such"], **filters})
    assert answer.status == 400
    assert answer.message == text or (text is None and "only one value is expected" in answer.message)


@pytest.mark.operation(PRUNE)
def test_a_filter_that_is_none(engine: Engine) -> None:
    answer = engine.wire.request("POST", "/volumes/prune", filters={"bogus": ["x"]}, version="1.41")
    assert (answer.status, answer.message.lower()) == (400, "invalid filter 'bogus'")


@pytest.mark.operation(PRUNE)
def test_docker_volume_prune(engine: Engine, cli: Cli, marked: Marked) -> None:
    since_all = engine.at_least("1.42") and cli.major >= 23
    everything = ("--all",) if since_all else ()
    out = cli.text("volume", "prune", "-f", *everything, "--filter", f"label={marked.mark}")
    assert marked.anonymous in out and marked.named in out, out
    assert out.splitlines()[-1] == "Total reclaimed space: 5kB"
    assert marked.left() == {marked.used, marked.tmpfs}


@pytest.mark.operation("BuildPrune")
def test_the_build_cache(engine: Engine) -> None:
    """Only what is older than a year, of which there is nothing."""
    answer = engine.wire.post("/build/prune", status=200, filters={"until": ["8760h"]})
    assert answer.json() == {"CachesDeleted": None, "SpaceReclaimed": 0}


@pytest.mark.operation("ContainerPrune", "NetworkPrune", PRUNE, "ImagePrune", "BuildPrune")
def test_docker_system_prune(engine: Engine, cli: Cli, marked: Marked) -> None:
    network = engine.name("net")
    key, _, value = marked.mark.partition("=")
    cli("network", "create", "--label", marked.mark, network)
    kept = engine.run("true", Labels={"other": "label"})
    image = engine.make_image("prune", Labels={key: value})
    untagged = engine.make_image("prune", Labels={key: value, "second": "one"})
    untagged_id = engine.wire.get(f"/images/{untagged}/json")["Id"]
    engine.wire.post(f"/images/{image}/tag", status=201, repo=untagged.split(":")[0], tag="1")
    engine.wait(kept)
    (container,) = engine.wire.get("/containers/json", all=True, filters={"label": [marked.mark]})
    out = cli.text("system", "prune", "-f", "--volumes", "--filter", f"label={marked.mark}")
    assert container["Id"] in out and network in out and marked.anonymous in out
    assert untagged_id in out
    knows = engine.at_least("1.42") and cli.major >= 23
    assert (marked.named in out) is not knows
    assert "Total reclaimed space: " in out
    assert engine.wire.request("GET", f"/networks/{network}").status == 404
    assert engine.wire.request("GET", f"/containers/{container['Id']}/json").status == 404
    assert engine.wire.request("GET", f"/containers/{kept}/json").status == 200
    assert engine.wire.request("GET", f"/images/{image}/json").status == 200
    out = cli.text("system", "prune", "-af", "--filter", f"label={marked.mark}")
    assert image in out
    assert engine.wire.request("GET", f"/images/{image}/json").status == 404
