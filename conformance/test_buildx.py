"""BuildKit by the real command lines: buildx, and the client that 20.10 has built in."""

import re
from pathlib import Path

import pytest

from conformance.builds import context
from conformance.engine import Engine
from conformance.kits import Kit, make

BOTH = ("Grpc", "Session", "ImageBuild")

pytestmark = pytest.mark.since("1.45")  # older builders lack much, and have other words


@pytest.fixture(params=("buildx", "20.10"))
def kit(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Kit:
    """Each way to build."""
    return make(engine, tmp_path, buildx=request.param == "buildx")


@pytest.mark.operation(*BOTH)
def test_an_image(kit: Kit) -> None:
    kit.files(
        f"FROM {kit.engine.image} AS base\nARG A=1\nENV A=$A\nCOPY a.txt sub/ /data/\n"
        "RUN cat /data/a.txt > /made && echo said\nFROM base\nWORKDIR /data\nCMD cat b.txt\n"
        "FROM scratch AS never\nCOPY nothing /\n",
        {"a.txt": "one\n", "sub/b.txt": "two\n", ".dockerignore": "*.log\n", "x.log": "no\n"},
    )
    assert kit.fails().code == 1  # the last stage is the target
    tag = f"{kit.engine.name('kit')}:1"
    image = kit.image("--build-arg", "A=7", "--label", "x=y", "--target", "base", "-t", tag)
    config = kit.config(image)
    assert config["Id"] == image and config["RepoTags"] == [tag]
    assert "A=7" in config["Config"]["Env"] and config["Config"]["Labels"]["x"] == "y"
    assert kit.run(image, "cat", "/made", "/data/b.txt") == "one\ntwo\n"


@pytest.mark.operation(*BOTH)
def test_several_names(kit: Kit) -> None:
    kit.files(f"FROM {kit.engine.image}\nRUN true\n")
    tags = [f"{kit.engine.name('kit')}:{number}" for number in (1, 2)]
    built = kit("-t", tags[0], "-t", tags[1])
    assert sorted(kit.config(tags[1])["RepoTags"]) == sorted(tags)
    naming = [line for line in built.steps["exporting to image"] if line.startswith("naming to ")]
    assert [line.partition(":")[0] for line in naming] == [
        f"naming to docker.io/library/{tag.partition(':')[0]}" for tag in tags
    ]


@pytest.mark.operation(*BOTH)
def test_plain_progress(kit: Kit) -> None:
    image = kit.engine.image
    kit.files(
        f"FROM {image} AS base\nRUN echo out; echo err >&2\nFROM base AS last\nCOPY a.txt /\n",
        {"a.txt": "a" * 1000},
    )
    built = kit("-t", kit.engine.name("kit"), "--no-cache")
    steps = built.steps
    expected = {
        "[internal] load build definition from Dockerfile": ["transferring dockerfile: SIZE", "DONE"],
        f"[internal] load metadata for docker.io/{image}": ["DONE"],
        "[internal] load .dockerignore": ["transferring context: SIZE", "DONE"],
        "[internal] load build context": ["transferring context: SIZE", "DONE"],
        "[base 2/2] RUN echo out; echo err >&2": ["out", "err", "DONE"],
        "[last 1/1] COPY a.txt /": ["DONE"],
    }
    for name, said in expected.items():
        # What is under way may be told several times
        found = {re.sub(r" [0-9.]+k?B$", " SIZE", line) for line in steps[name] if line[-1] != ":"}
        assert sorted(found) == sorted(said), (name, built.err)
    assert steps[f"[base 1/2] FROM docker.io/{image}"][-1] in ("DONE", "CACHED")
    exported = steps["exporting to image"]
    assert exported[:2] == ["exporting layers", "writing image ID"] or "exporting layers" in exported
    assert exported[-2].startswith("naming to docker.io/library/") and exported[-1] == "DONE"


@pytest.mark.operation(*BOTH)
def test_cached_steps(kit: Kit) -> None:
    kit.files(f"FROM {kit.engine.image}\nCOPY a.txt /\nRUN echo {kit.engine.name('once')}\n", {"a.txt": "a"})
    first = kit.image()
    (kit.folder / "a.txt").touch()
    again = kit()
    step = next(name for name in again.steps if "RUN echo" in name)
    assert again.steps[step] == ["CACHED"]
    assert kit.image() == first
    (kit.folder / "a.txt").write_text("b")
    changed = kit()
    assert changed.steps[step] != ["CACHED"]
    assert kit.image("--no-cache") != first


@pytest.mark.operation(*BOTH)
def test_only_what_has_changed_is_sent(kit: Kit) -> None:
    files = {f"d/{number}": b"x" * 50_000 for number in range(20)}
    kit.files(f"FROM {kit.engine.image}\nCOPY d /d\n", files)
    step = "[internal] load build context"
    assert kit().transferred(step) > 900_000
    (kit.folder / "d/7").write_bytes(b"y" * 50_000)
    (kit.folder / "d/8").unlink()
    second = kit("-t", tag := kit.engine.name("kit"))
    assert 50_000 < second.transferred(step) < 100_000
    assert kit.run(tag, "sh", "-c", "ls /d | wc -l; head -c1 /d/7; head -c1 /d/9") == "19\nyx"


@pytest.mark.operation(*BOTH)
def test_what_is_not_copied_is_not_sent(kit: Kit) -> None:
    kit.files(f"FROM {kit.engine.image}\nCOPY small /\n", {"small": "s", "large": b"l" * 1_000_000})
    assert kit("--no-cache").transferred("[internal] load build context") < 1000


@pytest.mark.operation(*BOTH)
def test_links_modes_and_names_in_the_context(kit: Kit) -> None:
    kit.files(f"FROM {kit.engine.image}\nCOPY . /c\n", {"d/ünï c": "u", "x.sh": "#!/bin/sh\necho ran\n"})
    (kit.folder / "x.sh").chmod(0o755)
    (kit.folder / "d/link").symlink_to("../x.sh")
    (kit.folder / "d/out").symlink_to("/etc/shadow")
    (kit.folder / "d/hard").hardlink_to(kit.folder / "x.sh")
    image = kit.image()
    out = kit.run(
        image, "sh", "-c", "cd /c/d; cat 'ünï c'; ./link; ./hard; readlink out; stat -c %a:%u ../x.sh"
    )
    assert out == "uran\nran\n/etc/shadow\n755:0\n"


@pytest.mark.operation(*BOTH)
def test_heredocs(kit: Kit) -> None:
    kit.files(
        f"FROM {kit.engine.image}\nCOPY <<EOF /made\n$PATH\nEOF\n"
        "RUN <<EOF\nset -e\necho first > /run1\necho second >> /run1\nEOF\n"
    )
    assert kit.run(kit.image(), "cat", "/run1", "/made").startswith("first\nsecond\n/usr")


@pytest.mark.operation(*BOTH)
def test_a_dockerfile_elsewhere_and_its_own_dockerignore(kit: Kit) -> None:
    kit.files(
        "FROM nothing\n",
        {
            "other/my.file": f"FROM {kit.engine.image}\nCOPY . /c\n",
            "other/my.file.dockerignore": "secret\n",
            "secret": "s",
            "open": "o",
        },
    )
    image = kit.image("-f", str(kit.folder / "other/my.file"))
    assert "secret" not in kit.run(image, "ls", "/c") and "open" in kit.run(image, "ls", "/c")


@pytest.mark.operation(*BOTH)
def test_a_dockerfile_from_stdin(kit: Kit) -> None:
    kit.files("FROM nothing\n", {"a": "text"})
    dockerfile = f"FROM {kit.engine.image}\nCOPY a /a\n".encode()
    assert kit.run(kit.image("-f", "-", stdin=dockerfile), "cat", "/a") == "text"
    alone = f"FROM {kit.engine.image}\nRUN echo alone > /x\n".encode()
    assert kit.run(kit.image(context="-", stdin=alone), "cat", "/x") == "alone\n"


@pytest.mark.operation(*BOTH)
def test_a_context_from_stdin(kit: Kit) -> None:
    data = context(f"FROM {kit.engine.image}\nCOPY a /a\n", {"a": "from tar"})
    assert kit.run(kit.image(context="-", stdin=data), "cat", "/a") == "from tar"


# What goes wrong


@pytest.mark.operation(*BOTH)
def test_a_command_that_fails(kit: Kit) -> None:
    kit.files(f"FROM {kit.engine.image}\nENV A=b\nRUN echo seen && false\nRUN never\n")
    built = kit.fails()
    why = 'process "/bin/sh -c echo seen && false" did not complete successfully: exit code: 1'
    assert built.code == 1
    assert built.steps["[2/3] RUN echo seen && false"] == ["seen", f"ERROR: {why}"]
    assert " > [2/3] RUN echo seen && false:\n" in built.err
    if kit.buildx:
        assert built.err.endswith(
            "Dockerfile:3\n--------------------\n"
            f"   1 |     FROM {kit.engine.image}\n   2 |     ENV A=b\n   3 | >>> RUN echo seen && false\n"
            "   4 |     RUN never\n   5 |     \n--------------------\n"
            f"ERROR: failed to solve: {why}\n"
        )
    else:
        assert built.err.endswith(f"------\n{why}\n")


@pytest.mark.operation(*BOTH)
def test_a_file_that_is_none(kit: Kit) -> None:
    kit.files(f"FROM {kit.engine.image}\nRUNN x\n")
    built = kit.fails()
    why = "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)"
    assert built.err.endswith(f"failed to solve: {why}\n" if kit.buildx else f"{why}\n")
    if kit.buildx:
        assert "   2 | >>> RUNN x\n" in built.err


@pytest.mark.operation(*BOTH)
def test_other_things_that_are_missing(kit: Kit) -> None:
    kit.files(f"FROM {kit.engine.image}\nCOPY missing /x\n")
    built = kit.fails()
    assert re.search(r'failed to calculate checksum of ref [^ ]+: "/missing": not found\n$', built.err)
    if kit.buildx:
        assert "   2 | >>> COPY missing /x\n" in built.err
    assert 'target stage "nope" could not be found' in kit.fails("--target", "nope").err
    if kit.buildx:
        (kit.folder / "Dockerfile").unlink()
        text = "failed to read dockerfile: open Dockerfile: no such file or directory"
        assert text in kit.fails().err


@pytest.mark.operation(*BOTH)
def test_the_hosts_network_is_for_those_who_ask(kit: Kit) -> None:
    kit.files(f"FROM {kit.engine.image}\nRUN --network=host true\n")
    assert "network.host is not allowed" in kit.fails("--no-cache").err
    kit("--no-cache", "--network", "host")
    if kit.buildx:
        refused = kit.fails("--no-cache", "--allow", "security.insecure").err
        assert "granting entitlement security.insecure is not allowed by build daemon config" in refused


@pytest.mark.operation(*BOTH)
def test_options_for_run(kit: Kit) -> None:
    kit.files(
        f"FROM {kit.engine.image}\nRUN cat /etc/hosts > /h; ulimit -n > /n; ls /sys/class/net > /i; "
        "df -k /dev/shm | tail -n1 > /s; hostname > /name\n"
    )
    options = ["--add-host", "there:1.2.3.4", "--network", "none", "--shm-size", "48m"]
    if kit.buildx:
        options += ["--ulimit", "nofile=100:200"]
    image = kit.image(*options)
    assert re.search(r"^1\.2\.3\.4\s+there$", kit.run(image, "cat", "/h"), re.MULTILINE)
    assert kit.run(image, "cat", "/i") == "lo\n"
    assert "49152" in kit.run(image, "cat", "/s")
    if kit.buildx:
        assert kit.run(image, "cat", "/n") == "100\n"
    assert kit.run(image, "cat", "/name") == "buildkitsandbox\n"


@pytest.mark.operation(*BOTH)
def test_quiet_and_the_file_with_the_id(kit: Kit) -> None:
    kit.files(f"FROM {kit.engine.image}\nRUN true\n")
    said = kit("--quiet", progress="").result.out
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", said)
    assert kit.image() == said.strip()
