"""system df, sizes of containers; plugins, of which there are none."""

from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine

USAGE = "SystemDataUsage"
LEGACY = {"LayersSize", "Images", "Containers", "Volumes", "BuildCache"}
NEWER = {"ImageUsage", "ContainerUsage", "VolumeUsage", "BuildCacheUsage"}


def by(items: list[Any], key: str, value: str) -> Any:
    (found,) = [item for item in items if item[key] == value]
    return found


@pytest.mark.operation(USAGE)
def test_as_all_versions_up_to_51_have_it(engine: Engine) -> None:
    version = "1.51" if engine.at_least("1.52") else engine.api
    volume = engine.name("vol")
    done = engine.sh("head -c 50000 /dev/zero >/f; head -c 7000 /dev/zero >/v/f", host={"Binds": [f"{volume}:/v"]})  # fmt: skip # noqa: E501
    found = engine.wire.get("/system/df", version=version)
    assert set(found) - {"BuilderSize"} == LEGACY
    container = by(found["Containers"], "Id", done.id)
    assert 50_000 <= container["SizeRw"] < 60_000 and container["SizeRootFs"] > container["SizeRw"]
    assert container["State"] == "exited" and "HostConfig" in container
    usage = by(found["Volumes"], "Name", volume)["UsageData"]
    assert (usage["RefCount"], usage["Size"]) == (1, 7000)
    image = by(found["Images"], "Id", engine.wire.get(f"/images/{engine.image}/json")["Id"])
    assert image["Containers"] >= 1 and image["Size"] > 1_000_000
    assert 0 <= image["SharedSize"] <= image["Size"]
    assert found["LayersSize"] >= image["Size"]
    engine.remove(done.id)
    assert by(engine.wire.get("/system/df", version=version)["Volumes"], "Name", volume)["UsageData"] == {
        "RefCount": 0,
        "Size": 7000,
    }


@pytest.mark.operation(USAGE)
def test_sizes_in_older_answers(engine: Engine) -> None:
    found = engine.wire.get("/system/df", version="1.41")
    image, records = found["Images"][0], found["BuildCache"] or ()
    assert image["VirtualSize"] == image["Size"]
    assert found["BuilderSize"] == sum(record["Size"] for record in records)
    assert not any("Parents" in record for record in records)


@pytest.mark.operation(USAGE)
@pytest.mark.since("1.42")
def test_only_some_types(engine: Engine) -> None:
    found = engine.wire.get("/system/df", version="1.42", type="volume")
    assert "Volumes" in found and not found.get("Images") and not found.get("Containers")
    answer = engine.wire.request("GET", "/system/df", type="bogus")
    assert (answer.status, answer.message) == (400, "unknown object type: bogus")


@pytest.mark.operation(USAGE)
@pytest.mark.since("1.52")
def test_both_shapes(engine: Engine) -> None:
    engine.sh("head -c 50000 /dev/zero >/f")
    engine.sleeper()
    found = engine.wire.get("/system/df")
    assert set(found) == LEGACY | NEWER
    verbose = engine.wire.get("/system/df", verbose=True)
    assert set(verbose) == NEWER
    containers = verbose["ContainerUsage"]
    assert containers["TotalCount"] == len(containers["Items"]) > containers["ActiveCount"] >= 1
    assert containers["TotalSize"] >= containers["Reclaimable"] >= 50_000
    assert verbose["ImageUsage"]["TotalSize"] == found["LayersSize"]


@pytest.mark.operation(USAGE)
def test_docker_system_df(engine: Engine, cli: Cli) -> None:
    done = engine.sh("head -c 50000 /dev/zero >/f")
    lines = cli.text("system", "df").splitlines()
    assert lines[0].split()[:2] == ["TYPE", "TOTAL"]
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "Images",
        "Containers",
        "Local Volumes",
        "Build Cache",
    ]
    out = cli.text("system", "df", "-v")
    assert done.id[:12] in out and engine.image.split(":")[0] in out


@pytest.mark.operation("ContainerList")
def test_docker_ps_with_sizes(engine: Engine, cli: Cli) -> None:
    done = engine.sh("head -c 50000 /dev/zero >/f; ln -s /f /link")
    out = cli.text("ps", "-a", "-s", "--no-trunc", "--filter", f"id={done.id}", "--format", "{{.Size}}")
    assert out.startswith("50kB (virtual ")


@pytest.mark.operation("PluginList")
def test_plugins(engine: Engine, cli: Cli) -> None:
    assert engine.wire.get("/plugins") == []
    assert len(cli.text("plugin", "ls").splitlines()) == 1
