"""commit: an image of a container."""

import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from conformance import tars
from conformance.cli import Cli
from conformance.engine import Engine
from conformance.tars import archive
from conformance.test_events import now, past
from conformance.until import until

COMMIT = "ImageCommit"


@pytest.fixture
def made(engine: Engine) -> Iterator[list[str]]:
    """Images to remove after the test."""
    images: list[str] = []
    yield images
    engine.sweep()
    for image in images:
        engine.wire.request("DELETE", f"/images/{image}", force=True)


def commit(engine: Engine, made: list[str], container: str, body: Any = None, **query: Any) -> Any:
    answer = engine.wire.post("/commit", body, status=201, container=container, **query)
    image = answer.json()["Id"]
    assert list(answer.json()) == ["Id"] and image.startswith("sha256:")
    made.insert(0, image)
    return engine.wire.get(f"/images/{image}/json")


@pytest.mark.operation(COMMIT)
def test_an_image_of_a_container(engine: Engine, made: list[str]) -> None:
    container = engine.run(
        "sh", "-c", "echo hi >/x; rm /etc/group", Env=["Q=1"], ExposedPorts={"80/tcp": {}}, User="0"
    )
    engine.wait(container)
    name = f"{engine.prefix}/committed"
    image = commit(engine, made, container, repo=name, tag="v1", comment="a comment", author="me <me@x>")
    assert image["RepoTags"] == [f"{name}:v1"]
    assert (image["Comment"], image["Author"]) == ("a comment", "me <me@x>")
    config, own = image["Config"], engine.inspect(container)["Config"]
    for field in ("Cmd", "Env", "Labels", "User", "ExposedPorts"):
        assert config[field] == own[field]
    base = engine.wire.get(f"/images/{engine.image}/json")
    assert image["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    history = engine.wire.get(f"/images/{image['Id']}/history")
    assert history[0]["CreatedBy"] == "sh -c echo hi >/x; rm /etc/group"
    assert history[0]["Comment"] == "a comment" and history[0]["Size"] == 3
    ended = engine.ended("sh", "-c", "cat /x; ls /etc/group", Image=image["Id"])
    assert ended.out == "hi\n" and "No such file" in ended.err


@pytest.mark.operation(COMMIT)
def test_the_layer_is_what_changed(engine: Engine, made: list[str]) -> None:
    script = "rm -rf /root; mkdir /root; echo 1 >/root/y; echo x >/x; ln /x /a; mkdir /e; rm /etc/group"
    container = engine.run("sh", "-c", script)
    engine.wait(container)
    image = commit(engine, made, container)
    saved = engine.wire.request("GET", f"/images/{image['Id']}/get")
    with tarfile.open(fileobj=io.BytesIO(saved.body)) as tar:
        manifest = json.loads(_read(tar, "manifest.json"))[0]
        layer = _read(tar, manifest["Layers"][-1])
        config = json.loads(_read(tar, manifest["Config"]))
    found = tars.unpack(layer)
    assert list(found) == [
        "a", "e", "etc", "etc/.wh.group", "root", "root/.wh..wh..opq", "root/y", "x",
    ]  # fmt: skip
    assert found["x"].islnk() and found["x"].linkname == "a"
    assert config["container"] == container and config["history"][-1]["created"] == config["created"]


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


@pytest.mark.operation(COMMIT)
def test_changes_and_a_config_of_ones_own(engine: Engine, made: list[str]) -> None:
    container = engine.create("sleep", "1", Env=["A=1", "B=2"], Labels={"own": "1"})
    changed = commit(engine, made, container, changes='CMD ["echo","hi"]\nENV B=3 C=4\nUSER 7\nWORKDIR /tmp')
    config = changed["Config"]
    assert (config["Cmd"], config["User"], config["WorkingDir"]) == (["echo", "hi"], "7", "/tmp")
    assert config["Env"][:2] == ["A=1", "B=3"] and "C=4" in config["Env"]
    body = {"Env": ["X=1", "A=9"], "Labels": {"more": "2"}, "Entrypoint": ["e"], "Cmd": ["c"]}
    config = commit(engine, made, container, body)["Config"]
    assert config["Env"][:2] == ["X=1", "A=9"] and "B=2" in config["Env"] and "A=1" not in config["Env"]
    assert (config["Entrypoint"], config["Cmd"]) == (["e"], ["c"])
    assert config["Labels"].items() >= {"own": "1", "more": "2"}.items()


@pytest.mark.operation(COMMIT)
def test_a_running_container_stands_still_unless_told_not_to(engine: Engine, made: list[str]) -> None:
    container = engine.sleeper()
    since = now(engine)
    commit(engine, made, container)
    commit(engine, made, container, pause=False)
    found = past(engine, since, container=[container])
    assert [event["Action"] for event in found] == ["pause", "commit", "unpause", "commit"]
    attributes = found[1]["Actor"]["Attributes"]
    assert attributes["imageID"] in made and (attributes["comment"], attributes["imageRef"]) == ("", "")
    assert engine.state(container)["Status"] == "running"
    engine.wire.post(f"/containers/{container}/pause", status=204)
    commit(engine, made, container)
    assert engine.state(container)["Status"] == "paused"
    engine.wire.post(f"/containers/{container}/unpause", status=204)


@pytest.mark.operation(COMMIT)
def test_names_that_look_like_archives_and_long_ones(engine: Engine, made: list[str]) -> None:
    """The first bytes of a layer are a file's name, which a program in the container has chosen."""
    long = "n" * 90 + "/" + "m" * 120 + "/é"
    names = ["BZh91AY", "\x1f\x8b\x08zip", long]
    script = 'for name; do mkdir -p "/$(dirname "$name")"; printf %s "$name" >"/$name"; done'
    container = engine.run("sh", "-c", script, "sh", *names)
    engine.wait(container)
    image = commit(engine, made, container)
    other = engine.create("true", Image=image["Id"])
    for name in names:
        data = archive(engine, "GET", other, "/" + name).body
        assert tars.content(data, name.rpartition("/")[2]) == name.encode()


@pytest.mark.operation(COMMIT)
def test_what_cannot_be_committed(engine: Engine) -> None:
    container = engine.create("true")
    run = engine.pick({"1.24": "run", "1.42": "RUN"})
    cases: tuple[tuple[dict[str, Any], int, str], ...] = (
        ({"container": "no-such"}, 404, "No such container: no-such"),
        ({}, 400, 'invalid name or ID supplied: ""'),
        ({"container": container, "changes": "RUN x"}, 400, f"{run} is not a valid change command"),
        ({"container": container, "repo": f"x@sha256:{'0' * 64}"}, 400, "digest reference"),
        ({"container": container, "repo": "x", "tag": "no good"}, 400, "invalid tag format"),
    )
    for query, status, text in cases:
        answer = engine.wire.request("POST", "/commit", None, **query)
        assert text in answer.message
        assert answer.status == status or not engine.at_least("1.45")


@pytest.mark.operation(COMMIT)
def test_docker_commit(cli: Cli, engine: Engine, made: list[str]) -> None:
    container = engine.run("sh", "-c", "echo 1 >/x; touch /ready; exec sleep 1000")
    until(lambda: archive(engine, "HEAD", container, "/ready").status == 200)
    tag = f"{engine.prefix}/by-cli:2"
    image = cli.text("commit", "-a", "me", "-m", "why", "-c", 'CMD ["cat","/x"]', container, tag)
    made.append(tag)
    assert image.startswith("sha256:") and cli.text("run", "--rm", tag) == "1"
