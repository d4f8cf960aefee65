"""The build cache: its records, what they hold, and how they go. Only records of our own builds are
pruned.
"""

import time
from pathlib import Path
from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.kits import Kit, make
from conformance.test_events import now, past

PRUNE = "BuildPrune"
USAGE = "SystemDataUsage"

pytestmark = pytest.mark.since("1.45")  # what 20.10's cache tells differs from build to build


class Cached:
    """A build whose steps nobody else has: `word` is in all of them."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.kit: Kit = make(engine, folder, buildx=True)
        self.word = engine.name("step")
        self.kit.files(
            f"FROM {engine.image}\nENV W={self.word}\nRUN head -c 30000 /dev/zero >/{self.word}\n"
            f"COPY {self.word} /b\nWORKDIR /{self.word}.d/c\n"
            f"RUN --mount=type=cache,id={self.word},target=/m echo {self.word} && echo x >/m/f\n",
            {self.word: b"f" * 2000},
        )

    def build(self, *options: str) -> dict[str, bool]:
        """Build; which of our steps were cached, in their order."""
        built = self.kit("-t", f"{self.word}:1", *options)
        return {name: "CACHED" in said for name, said in built.steps.items() if self.word in name}

    def records(self) -> dict[str, dict[str, Any]]:
        """All records of ours, by the beginning of their description."""
        found = self.engine.wire.get("/system/df", type="build-cache")
        records = found["BuildCache"] if "BuildCache" in found else found["BuildCacheUsage"]["Items"]
        ours = {one["ID"]: one for one in records or () if self.word in one["Description"]}
        return {one["Description"]: one for one in ours.values()}

    def prune(self, **filters: list[str]) -> dict[str, Any]:
        return dict(self.engine.wire.post("/build/prune", status=200, all=True, filters=filters).json())

    def close(self) -> None:
        """Records go from the top: what another one stands on stays."""
        self.engine.wire.request("DELETE", f"/images/{self.word}:1", force=True)
        for _ in range(20):
            ours = [one["ID"] for one in self.records().values()]
            if not ours:
                break
            for record in ours:
                self.prune(id=[record])


@pytest.fixture
def cached(engine: Engine, tmp_path: Path) -> Any:
    made = Cached(engine, tmp_path)
    yield made
    made.close()


@pytest.mark.operation(USAGE)
def test_the_records_of_a_build(engine: Engine, cached: Cached) -> None:
    began = time.time()
    assert set(cached.build().values()) == {False}
    word, records = cached.word, cached.records()
    run = records[f"mount / from exec /bin/sh -c head -c 30000 /dev/zero >/{word}"]
    copy = next(one for name, one in records.items() if f"COPY {word} /b" in name)
    folder = next(one for name, one in records.items() if f"WORKDIR /{word}.d/c" in name)
    last = next(
        one for name, one in records.items() if name.startswith(f"mount / from exec /bin/sh -c echo {word}")
    )
    mount = next(one for name, one in records.items() if name.startswith("cached mount /m from exec"))
    assert mount["Description"].endswith(f'with id "/{word}"')
    assert len(records) == 5
    parents = [one.get("Parents") or one.get(" Parents") for one in (copy, folder, last)]
    assert parents == [[run["ID"]], [copy["ID"]], [folder["ID"]]]
    assert [one["Type"] for one in (run, copy, folder, mount)] == ["regular"] * 3 + ["exec.cachemount"]
    assert (run["Size"], copy["Size"], folder["Size"]) == (30_000, 2000, 0)
    assert mount["Size"] == 2 and not mount["Shared"]
    for one in records.values():
        assert not one["InUse"] and one["UsageCount"] >= 1
        assert began - 5 < moment(one["CreatedAt"]) <= moment(one["LastUsedAt"]) < time.time() + 5
    assert run["Shared"] and copy["Shared"], "the image has these layers, too"
    sources = engine.wire.get("/system/df", version="1.41")["BuildCache"]
    (last_used,) = sorted(
        (one for one in sources if one["Description"] == "local source for context" and one["Size"] >= 2000),
        key=lambda one: one["LastUsedAt"],
    )[-1:]
    assert (last_used["Size"], last_used["Type"]) == (2000, "source.local")


def moment(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text[:19] + "+00:00").timestamp()


@pytest.mark.operation(USAGE)
def test_the_cache_outlives_its_image(engine: Engine, cached: Cached) -> None:
    cached.build()
    engine.wire.request("DELETE", f"/images/{cached.word}:1", force=True)
    name = f"mount / from exec /bin/sh -c head -c 30000 /dev/zero >/{cached.word}"
    assert not cached.records()[name]["Shared"]
    assert set(cached.build().values()) == {True}
    assert cached.records()[name]["Shared"]


@pytest.mark.operation(PRUNE)
def test_prune_goes_from_the_top(engine: Engine, cached: Cached) -> None:
    cached.build()
    engine.wire.request("DELETE", f"/images/{cached.word}:1", force=True)
    records = cached.records()
    run = records[f"mount / from exec /bin/sh -c head -c 30000 /dev/zero >/{cached.word}"]
    assert cached.prune(id=[run["ID"]]) == {"CachesDeleted": None, "SpaceReclaimed": 0}, "others stand on it"
    mount = next(one for one in records.values() if one["Type"] == "exec.cachemount")
    assert cached.prune(id=[mount["ID"]], type=["regular"])["CachesDeleted"] is None
    assert cached.prune(id=[mount["ID"][:20]], type=["exec.cachemount"]) == {
        "CachesDeleted": [mount["ID"]],
        "SpaceReclaimed": 2,
    }
    cached.close()
    assert set(cached.build().values()) == {False}


@pytest.mark.operation(PRUNE)
def test_what_was_used_lately_stays(engine: Engine, cached: Cached) -> None:
    cached.build()
    for one in cached.records().values():
        for name in ("until", "unused-for"):
            assert cached.prune(id=[one["ID"]], **{name: ["1h"]})["CachesDeleted"] is None
    assert set(cached.build().values()) == {True}


@pytest.mark.operation(PRUNE)
def test_what_an_image_has_stays_unless_all_goes(engine: Engine, cached: Cached) -> None:
    cached.build()
    last = next(one for one in cached.records().values() if f"echo {cached.word}" in one["Description"] and one["Type"] == "regular")  # fmt: skip # noqa: E501
    filters = {"id": [last["ID"]]}
    kept = engine.wire.post("/build/prune", status=200, filters=filters).json()
    assert kept == {"CachesDeleted": None, "SpaceReclaimed": 0}
    assert cached.prune(**filters)["CachesDeleted"] == [last["ID"]]


@pytest.mark.operation(PRUNE)
@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ({"nope": ["x"]}, "invalid filter 'nope'"),
        ({"mutable": ["x"]}, "invalid filter 'mutable'"),
        (
            {"until": ["x"]},
            "\"until\" filter expects a duration (e.g., '24h') or a timestamp: failed to parse value as time "
            'or duration: "x"',
        ),
        ({"until": ["24h"], "unused-for": ["24h"]}, 'conflicting filters: "until" and "unused-for"'),
        ({"until": ["8760h", "9760h"]}, "filters expect only one value"),
        ({"id": ["a", "b"]}, "filters expect only one value"),
        (
            {"description": ["a b"]},
            "failed to parse prune filters [description==a b]: filters: parse error: [description==a >| |< b]"
            ": unexpected input:  : invalid argument",
        ),
    ],
)
def test_wrong_filters(engine: Engine, filters: dict[str, list[str]], text: str) -> None:
    answer = engine.wire.request("POST", "/build/prune", filters=filters)
    assert (answer.status, answer.message) == (400, f"failed to prune build cache: {text}")


@pytest.mark.operation(PRUNE)
def test_wrong_numbers(engine: Engine) -> None:
    answer = engine.wire.request("POST", "/build/prune", parameters={"keep-storage": "1x"})
    text = (
        'keep-storage is in bytes and expects an integer, got 1x: strconv.Atoi: parsing "1x": invalid syntax'
    )
    assert (answer.status, answer.message) == (400, text)


@pytest.mark.operation(PRUNE)
def test_by_the_command_line(engine: Engine, cli: Cli, cached: Cached) -> None:
    cached.build()
    mount = next(one for one in cached.records().values() if one["Type"] == "exec.cachemount")
    since = now(engine)
    out = cli.text("builder", "prune", "-f", "--filter", f"id={mount['ID']}")
    assert out.split("\n")[:4] == [
        "Deleted build cache objects:",
        mount["ID"],
        "",
        "Total reclaimed space: 2B",
    ]
    events = past(engine, since, type=["builder"])
    assert ("prune", {"reclaimed": "2"}) in [(one["Action"], one["Actor"]["Attributes"]) for one in events]
    assert mount["ID"] not in {one["ID"] for one in cached.records().values()}


@pytest.mark.operation(PRUNE, USAGE)
def test_by_buildx(engine: Engine, cached: Cached) -> None:
    cached.build()
    mount = next(one for one in cached.records().values() if one["Type"] == "exec.cachemount")
    cli = cached.kit.cli
    shown = cli.text("buildx", "du", "--filter", f"id={mount['ID']}", "--verbose")
    fields = {name: value.strip() for line in shown.splitlines() for name, _, value in [line.partition(":")]}
    assert (fields["ID"], fields["Size"], fields["Type"]) == (mount["ID"], "2B", "exec.cachemount")
    assert (fields["Mutable"], fields["Reclaimable"], fields["Shared"]) == ("true", "true", "false")
    out = cli.text("buildx", "prune", "-f", "--filter", f"id={mount['ID']}")
    assert mount["ID"] in out and out.splitlines()[-1].split() == ["Total:", "2B"]
    assert mount["ID"] not in {one["ID"] for one in cached.records().values()}


@pytest.mark.operation("ImageBuild")
def test_what_a_cached_step_depends_on(engine: Engine, tmp_path: Path) -> None:
    kit = make(engine, tmp_path, buildx=True)
    word = engine.name("key")

    def text(label: str = "1", env: str = "1", user: str = "0") -> str:
        return (
            f"FROM {engine.image} AS one\nLABEL l={label}\nARG UNUSED\nENV E={env}\nUSER {user}\n"
            f"COPY a.txt /{word}\nRUN : {word} first\nARG USED\nRUN : {word} second\n"
            f"FROM one AS two\nRUN : {word} third\n"
        )

    def cached(*options: str, **changes: str) -> list[bool]:
        kit.files(text(**changes))
        steps = kit("-t", engine.name("key"), *options).steps
        return ["CACHED" in said for name, said in steps.items() if word in name]

    kit.files("", {"a.txt": "a"})
    path = kit.folder / "a.txt"
    assert cached() == [False] * 4
    assert cached() == [True] * 4
    path.touch()
    assert cached() == [True] * 4, "a time is no content"
    assert cached(label="2") == [True] * 4, "of the config only what a command sees counts"
    path.chmod(0o755)
    assert cached() == [False] * 4
    path.chmod(0o644)
    assert cached() == [True] * 4, "what was there before is there again"
    assert cached(env="2") == [True, False, False, False]
    assert cached(user="1") == [True, False, False, False]
    assert cached("--build-arg", "USED=1") == [True, True, False, False]
    assert cached("--build-arg", "UNUSED=1") == [True, False, False, False], "declared is seen by RUN"
    assert cached("--build-arg", "http_proxy=http://nowhere") == [True] * 4, "proxies are in no key"
    assert cached("--no-cache-filter", "two") == [True, True, True, False]
    assert cached("--no-cache") == [False] * 4
