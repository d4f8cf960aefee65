"""What buildx alone can: its options, its other progress, the cache's records."""

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from conformance.engine import LABEL, Engine
from conformance.kits import Kit, make, objects
from conformance.until import until

GRPC = ("Grpc", "Session")

pytestmark = pytest.mark.since("1.45")


@pytest.fixture
def buildx(engine: Engine, tmp_path: Path) -> Kit:
    """The newest command line with buildx."""
    return make(engine, tmp_path, buildx=True)


@pytest.mark.operation(*GRPC)
def test_metadata(buildx: Kit) -> None:
    buildx.files(f"FROM {buildx.engine.image}\nRUN true\n")
    path, tag = buildx.folder.parent / "metadata.json", buildx.engine.name("kit")
    buildx("--metadata-file", str(path), "-t", tag)
    found = json.loads(path.read_text())
    image = buildx.config(tag)["Id"]
    assert found["containerimage.config.digest"] == image and found["containerimage.digest"] == image
    assert found["image.name"] == f"docker.io/library/{tag}:latest" or found["image.name"].endswith(tag)
    assert re.fullmatch(r"default/default/[0-9a-z]{25}", found["buildx.build.ref"])


@pytest.mark.operation(*GRPC)
def test_raw_progress(buildx: Kit) -> None:
    buildx.files(f"FROM {buildx.engine.image}\nRUN echo out && echo err >&2\n")
    told = objects(buildx("--no-cache", progress="rawjson").err)
    vertices = {one["digest"]: one for each in told for one in each.get("vertexes", ())}
    names = {one["name"] for one in vertices.values()}
    assert {"[internal] load .dockerignore", "[2/2] RUN echo out && echo err >&2"} <= names
    assert all(one["completed"] >= one["started"] for one in vertices.values())
    step = next(one for one in vertices.values() if "RUN" in one["name"])
    assert all(given in vertices for given in step["inputs"])
    logs = {(one["stream"], one["data"]) for each in told for one in each.get("logs", ())}
    assert logs == {(1, "b3V0Cg=="), (2, "ZXJyCg==")}


@pytest.mark.operation(*GRPC)
def test_progress_on_a_terminal(buildx: Kit) -> None:
    buildx.files(f"FROM {buildx.engine.image}\nRUN echo seen && sleep 1\n")
    command = buildx.arguments("--no-cache", progress="tty")[1:]
    with buildx.cli.terminal(*command, rows=40, columns=120) as terminal:
        terminal.expect(b"RUN echo seen")
        code, said = terminal.finish()
    assert code == 0 and b"FINISHED" in said, said


@pytest.mark.operation(*GRPC)
def test_named_contexts(buildx: Kit) -> None:
    other = buildx.folder.parent / "other"
    other.mkdir()
    (other / "o.txt").write_text("other's\n")
    (other / "ignored").write_text("no")
    (other / ".dockerignore").write_text("ignored\n")
    buildx.files("FROM base\nCOPY --from=src . /src\n")
    tag = buildx.engine.name("kit")
    built = buildx(
        *("--build-context", f"src={other}", "--build-context", f"base=docker-image://{buildx.engine.image}"),
        *("-t", tag),
    )
    assert buildx.run(tag, "sh", "-c", "cat /src/o.txt; ls -A /src") == "other's\n.dockerignore\no.txt\n"
    assert {"[context src] load .dockerignore", "[context src] load from client"} <= set(built.steps)


@pytest.mark.operation(*GRPC)
def test_the_builder(buildx: Kit) -> None:
    listed = buildx.cli.text("buildx", "ls")
    assert re.search(r"^default\*\s+docker\s*$", listed, re.MULTILINE)
    assert re.search(r"default\s+running\s+v\S+\s+linux/amd64", listed) or "running" in listed
    shown = buildx.cli.text("buildx", "inspect")
    assert re.search(r"^Driver:\s+docker$", shown, re.MULTILINE)
    assert re.search(r"^Status:\s+running$", shown, re.MULTILINE)
    assert re.search(r"^Platforms:\s+linux/", shown, re.MULTILINE)
    assert re.search(r"host-gateway-ip: +[0-9a-f.:]+$", shown, re.MULTILINE)


@pytest.mark.operation(*GRPC)
def test_usage_and_prune(buildx: Kit) -> None:
    unique = buildx.engine.name("used")
    buildx.files(f"FROM {buildx.engine.image}\nRUN echo {unique} > /x; head -c 100000 /dev/zero > /y\n")
    buildx()
    shown = buildx.cli.text("buildx", "du", "--verbose")
    record = next(part for part in shown.split("\n\n") if unique in part)
    fields = dict(line.split(":", 1) for line in record.splitlines() if ":" in line)
    assert fields["Type"].strip() == "regular" and fields["Mutable"].strip() == "false"
    assert fields["Description"].strip().startswith("mount / from exec /bin/sh -c echo")
    assert fields["Size"].strip() == "100kB" and fields["Reclaimable"].strip() == "true"
    plain = buildx.cli.text("buildx", "du")
    assert plain.startswith("ID\t\t\t\t\t\tRECLAIMABLE\tSIZE\t\tLAST ACCESSED\n")
    assert re.search(r"^Total:\s+[0-9.]+[kM]?B$", plain, re.MULTILINE)
    kept = buildx.cli.text("buildx", "prune", "-f", "--filter", "until=24h")
    assert fields["ID"].strip() not in kept
    gone = buildx.cli.text("buildx", "prune", "-a", "-f")
    assert fields["ID"].strip() in gone and re.search(r"^Total:\s+", gone, re.MULTILINE)
    assert unique not in buildx.cli.text("buildx", "du", "--verbose")
    step = next(name for name in buildx().steps if "RUN echo" in name)
    assert buildx().steps[step] == ["CACHED"]


@pytest.mark.operation(*GRPC)
def test_a_build_that_is_broken_off(buildx: Kit) -> None:
    buildx.files(f"FROM {buildx.engine.image}\nRUN echo begun; sleep 1000\n")
    with subprocess.Popen(
        buildx.arguments("--no-cache"), env=buildx.env, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stderr
        for line in process.stderr:
            if b"begun" in line and b"RUN" not in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) != 0
    assert b"CANCELED" in rest or b"context canceled" in rest

    def free() -> bool:
        usage = buildx.engine.wire.get("/system/df", type="build-cache")
        return not any(one["InUse"] for one in usage["BuildCache"] or ())

    until(free, "the build's end")
    buildx.files(f"FROM {buildx.engine.image}\nRUN echo again\n")
    buildx("--no-cache")


@pytest.mark.operation(*GRPC)
def test_stages_that_are_built_anew(buildx: Kit) -> None:
    buildx.files(f"FROM {buildx.engine.image} AS one\nRUN echo 1 > /o\nFROM one AS two\nRUN echo 2 > /t\n")
    buildx()
    built = buildx("--no-cache-filter", "two")
    assert built.steps["[one 2/2] RUN echo 1 > /o"] == ["CACHED"]
    assert built.steps["[two 1/1] RUN echo 2 > /t"][-1] == "DONE"


@pytest.mark.operation(*GRPC)
def test_nothing_comes_of_it(buildx: Kit) -> None:
    buildx.files(f"FROM {buildx.engine.image}\nRUN true\n")
    assert "exporting to image" not in buildx("--output", "type=cacheonly").steps


@pytest.mark.operation(*GRPC)
def test_one_target_of_bake_stands_on_another(buildx: Kit) -> None:
    tags = [buildx.engine.name("bake") for _ in range(2)]
    label = f'labels = {{ "{LABEL}" = "{buildx.engine.run_id}" }}'
    buildx.files(
        "",
        {
            "docker-bake.hcl": f"""
group "default" {{ targets = ["lower", "upper"] }}
target "lower" {{
  context = "lower"
  tags = ["{tags[0]}"]
  {label}
}}
target "upper" {{
  context = "upper"
  contexts = {{ base = "target:lower" }}
  tags = ["{tags[1]}"]
  {label}
}}
""",
            "lower/Dockerfile": f"FROM {buildx.engine.image}\nENV LOWER=1\nRUN echo lower > /lower\n",
            "upper/Dockerfile": "FROM base\nCOPY own /own\nRUN cat /lower /own > /both\n",
            "upper/own": "upper\n",
        },
    )
    done = subprocess.run(
        [buildx.cli.path, "buildx", "bake", "--progress=plain"],
        cwd=buildx.folder,
        env=buildx.env,
        capture_output=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert buildx.run(tags[1], "sh", "-c", "cat /both; echo $LOWER") == "lower\nupper\n1\n"
    layers = [buildx.config(tag)["RootFS"]["Layers"] for tag in tags]
    assert layers[1][: len(layers[0])] == layers[0]


@pytest.mark.operation(*GRPC)
def test_what_is_printed_instead_of_building(buildx: Kit) -> None:
    buildx.files(
        f"# all what all stand on\nFROM {buildx.engine.image} AS all\n"
        "# WORD is said\nARG WORD=hello\nRUN --mount=type=secret,id=token echo $WORD\nFROM all AS last\n"
    )
    experimental = {"BUILDX_EXPERIMENTAL": "1"}
    targets = buildx("--print", "targets", progress="", env=experimental).result.out
    assert targets == "TARGET         DESCRIPTION\nall            what all stand on\nlast (default) \n"
    outline = buildx("--print", "outline", progress="", env=experimental).result.out
    assert outline.startswith("TARGET: last\n\n")
    assert "BUILD ARG   VALUE   DESCRIPTION\nWORD        hello   is said\n" in outline
    assert "SECRET   REQUIRED\ntoken    \n" in outline


@pytest.mark.operation(*GRPC)
def test_many_builds_at_a_time(buildx: Kit) -> None:
    buildx.files(
        f"FROM {buildx.engine.image}\nARG N\nCOPY file /\nRUN cat /file > /$N\n", {"file": "x" * 100_000}
    )
    images = [buildx.engine.name(f"many{number}") for number in range(4)]
    started = [
        subprocess.Popen(
            buildx.arguments("--build-arg", f"N={number}", "-t", image),
            env=buildx.env,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for number, image in enumerate(images)
    ]
    try:
        said = [process.communicate(timeout=120)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * 4, said
    for number, image in enumerate(images):
        assert buildx.run(image, "sh", "-c", f"wc -c < /{number}").strip() == "100000"
