"""The images that the classic builder makes: configs, histories, parents, layers, events."""

import io
import itertools
import json
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import pytest

from conformance.builds import Build, build
from conformance.engine import Engine

BUILD = "ImageBuild"
DOCKERFILE = """FROM {B} AS one
ARG v=1
RUN echo $v >/x
FROM {B}
MAINTAINER me
ARG v=1
ENV a=b c="d e"
LABEL l=m "q r"=s
WORKDIR /w
COPY a b /w/
COPY --from=one --chown=1000 /x /x
ADD d /d/
USER user
RUN echo $v
RUN ["echo","x"]
SHELL ["/bin/busybox","sh","-c"]
RUN echo shell
EXPOSE 80 90-91/udp
VOLUME /v /v2
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --retries=3 CMD echo
ENTRYPOINT ["e"]
CMD c d
ONBUILD RUN x
"""
NOP = "/bin/sh -c #(nop) "
OTHER = "/bin/busybox sh -c #(nop) "
HISTORY = [
    OTHER + " LABEL z=y",
    OTHER + " LABEL conformance.run=ID",
    OTHER + " ONBUILD RUN x",
    OTHER + ' CMD ["/bin/busybox" "sh" "-c" "c d"]',
    OTHER + ' ENTRYPOINT ["e"]',
    None,  # HEALTHCHECK, whose fields are more in newer versions
    OTHER + " STOPSIGNAL SIGINT",
    OTHER + " VOLUME [/v /v2]",
    OTHER + " EXPOSE 80 90-91/udp",
    "|1 v=2 /bin/busybox sh -c echo shell",
    OTHER + " SHELL [/bin/busybox sh -c]",
    "|1 v=2 echo x",
    "|1 v=2 /bin/sh -c echo $v",
    NOP + " USER user",
    NOP + "ADD dir:HASH in /d/ ",
    NOP + "COPY --chown=1000 file:HASH in /x ",  # before 1.43 without the third space
    NOP + "COPY multi:HASH in /w/ ",
    NOP + "WORKDIR /w",
    NOP + " LABEL l=m q r=s",
    NOP + " ENV a=b c=d e",
    NOP + " ARG v=1",
    NOP + " MAINTAINER me",
    "layer 0",
]
LAYERS = ("ADD dir:", "COPY ", "WORKDIR", "layer 0")


@pytest.fixture(scope="module")
def built(engine: Engine) -> Iterator[Build]:
    """An image with one instruction of each kind, whose tag is `<prefix>/all:1`."""
    files = {"a": "1", "b": "2", "d/": "", "d/e": "1"}
    text = DOCKERFILE.replace("{B}", engine.image)
    query: dict[str, Any] = {"buildargs": {"v": "2"}, "labels": {"z": "y"}, "t": f"{engine.prefix}/all:1"}
    done = build(engine, text, files, **query)
    assert not done.error, done
    yield done


def history(engine: Engine, image: str) -> list[Any]:
    return list(engine.wire.get(f"/images/{image}/history"))


def masked(text: str, engine: Engine) -> str:
    words = text.replace(engine.run_id, "ID").replace("--chown=1000file:", "--chown=1000 file:").split(" ")
    return " ".join(
        word.partition(":")[0] + ":HASH" if word.partition(":")[0] in ("dir", "file", "multi") else word
        for word in words
    )


@pytest.mark.operation(BUILD, "ImageHistory")
def test_the_history(engine: Engine, built: Build) -> None:
    found = history(engine, built.image)
    texts = [masked(entry["CreatedBy"], engine) for entry in found]
    for text, wanted in zip(texts, HISTORY, strict=True):
        if wanted is None:
            assert text.startswith(OTHER + ' HEALTHCHECK &{["CMD-SHELL" "echo"] "5s" "0s" "0s"'), text
        else:
            assert text == wanted
    sizes = [entry["Size"] for entry in found]
    assert sizes[14:17] == [1, 2, 2]
    assert found[0]["Id"] == built.image and all(entry["Comment"] == "" for entry in found)
    assert all(entry["Id"].startswith("sha256:") for entry in found[:-1])
    assert [entry["Tags"] for entry in found][:2] == [[f"{engine.prefix}/all:1"], None]


@pytest.mark.operation(BUILD, "ImageInspect")
def test_the_config(engine: Engine, built: Build) -> None:
    image = engine.wire.get(f"/images/{built.image}/json")
    config = image["Config"]
    assert image["Author"] == "me" and image["RepoTags"] == [f"{engine.prefix}/all:1"]
    wanted: dict[str, Any] = {
        "User": "user",
        "ExposedPorts": {"80/tcp": {}, "90/udp": {}, "91/udp": {}},
        "Cmd": ["/bin/busybox", "sh", "-c", "c d"],
        "Healthcheck": {"Test": ["CMD-SHELL", "echo"], "Interval": 5 * 10**9, "Retries": 3},
        "Volumes": {"/v": {}, "/v2": {}},
        "WorkingDir": "/w",
        "Entrypoint": ["e"],
        "OnBuild": ["RUN x"],
        "StopSignal": "SIGINT",
        "Shell": ["/bin/busybox", "sh", "-c"],
        "Labels": {"l": "m", "q r": "s", "z": "y", **engine.labels},
    }
    assert {key: config[key] for key in wanted} == wanted
    assert config["Env"][1:] == ["a=b", "c=d e"] and "ArgsEscaped" not in config


@pytest.mark.operation(BUILD, "ImageGet")
def test_the_document(engine: Engine, built: Build) -> None:
    """As it is saved: also what the API does not show any more."""
    saved = engine.wire.request("GET", f"/images/{built.image}/get")
    with tarfile.open(fileobj=io.BytesIO(saved.body)) as tar:
        manifest = json.loads(_read(tar, "manifest.json"))[0]
        text = _read(tar, manifest["Config"]).decode()
    document = json.loads(text)
    names = [
        "architecture", "author", "config", "container", "container_config", "created", "docker_version",
        "history", "os", "rootfs",
    ]  # fmt: skip
    assert list(document) == names
    entries = document["history"]
    for entry in entries[1:]:
        assert entry.keys() - {"empty_layer"} == {"created", "created_by", "author"}
    layers = [entry["created_by"] for entry in entries if not entry.get("empty_layer")]
    assert len(layers) == len(document["rootfs"]["diff_ids"]) == 5
    assert document["created"] == entries[-1]["created"]
    parents = [entry["Id"] for entry in history(engine, built.image)]
    assert document["config"]["Image"] == parents[1]
    ran, own = document["container_config"], document["config"]
    assert ran["Cmd"] == ["/bin/busybox", "sh", "-c", "#(nop) ", "LABEL z=y"]
    assert len(ran["Hostname"]) == 12 and document["container"].startswith(ran["Hostname"])
    assert {**ran, "Cmd": 0, "Hostname": 0} == {**own, "Cmd": 0, "Hostname": 0}
    assert list(own) == [
        "Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr", "ExposedPorts",
        "Tty", "OpenStdin", "StdinOnce", "Env", "Cmd", "Healthcheck", "Image", "Volumes", "WorkingDir",
        "Entrypoint", "OnBuild", "Labels", "StopSignal", "Shell",
    ]  # fmt: skip


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


@pytest.mark.operation(BUILD, "ImageList")
def test_parents(engine: Engine, built: Build) -> None:
    """Each step came to an image of its own, which is listed with all=1 only."""
    everything = {image["Id"]: image for image in engine.wire.get("/images/json", all=True)}
    shown = {image["Id"] for image in engine.wire.get("/images/json")}
    chain = [entry["Id"] for entry in history(engine, built.image)]
    for child, parent in itertools.pairwise(chain):
        assert everything[child]["ParentId"] == parent
        assert parent not in shown or parent == chain[-1]
    assert built.image in shown
    base = engine.wire.get(f"/images/{engine.image}/json")["Id"]
    assert chain[-1] == base


@pytest.mark.operation(BUILD, "ImageDelete")
def test_removing_removes_the_steps(engine: Engine) -> None:
    done = build(engine, f"FROM {engine.image}\nENV own={engine.name()}\nRUN echo x >/x\n")
    chain = [entry["Id"] for entry in history(engine, done.image)]
    assert len(chain) == 4
    records = engine.wire.request("DELETE", f"/images/{done.image}").json()
    assert [record["Deleted"] for record in records if record["Deleted"] in chain] == chain[:-1]
    again = build(engine, f"FROM {engine.image}\nENV own={engine.name()}\nRUN echo x >/x\n")
    assert " ---> Using cache" not in again.lines


@pytest.mark.operation(BUILD)
def test_a_base_keeps_what_it_says(engine: Engine) -> None:
    """A stage begins with its base's config; but ENTRYPOINT forgets the base's CMD."""
    name = f"{engine.prefix}/kept-{engine.name()}"
    text = 'MAINTAINER base\nENV A=1\nCMD ["c"]\nUSER 7\nWORKDIR /a\nLABEL k=v\nEXPOSE 1\n'
    build(engine, f"FROM {engine.image}\n{text}", t=name)
    done = build(
        engine, f'FROM {name}\nWORKDIR b/../c\nENTRYPOINT ["e"]\nENV A=2 B=$A\nCOPY x .\n', {"x": "1"}
    )
    image = engine.wire.get(f"/images/{done.image}/json")
    config = image["Config"]
    assert (config.get("Cmd"), config["Entrypoint"], config["User"]) == (None, ["e"], "7")
    assert config["WorkingDir"] == "/a/c" and config["Env"][1:] == ["A=2", "B=1"]
    assert config["Labels"]["k"] == "v" and config["ExposedPorts"] == {"1/tcp": {}}
    assert not image.get("Author")
    assert (
        engine.ended("stat", "-c", "%u:%g", "/a/c/x", Image=done.image, Entrypoint=[""], User="0").out
        == "0:0\n"
    )


@pytest.mark.operation(BUILD)
def test_the_same_content_is_the_same_step(engine: Engine) -> None:
    """Times of files do not count; their modes, names and content do."""
    from conformance.images import Tar

    def hits(**fields: Any) -> int:
        tar = Tar().add("Dockerfile", f"FROM {engine.image}\nCOPY f /f\nRUN true\n")
        return build(engine, None, body=tar.add("f", "same", **fields).bytes()).lines.count(
            " ---> Using cache"
        )

    hits()
    assert hits(mtime=time.time()) == 3
    assert hits(mode=0o600) == 0


@pytest.mark.operation(BUILD, "SystemEvents")
def test_events(engine: Engine) -> None:
    name = f"{engine.prefix}/events-{engine.name()}"
    before = f"{time.time() - 0.001:.9f}"
    done = build(engine, f"FROM {engine.image}\nRUN echo {engine.name()}\n", t=name)
    after = f"{time.time() + 0.001:.9f}"
    wanted = {"type": ["image"], "event": ["tag"]}
    found = list(engine.wire.lines("/events", since=before, until=after, filters=wanted))
    assert [(one["Action"], one["Actor"]["ID"]) for one in found] == [("tag", done.image)]
    assert found[0]["Actor"]["Attributes"]["name"] == f"{name}:latest"
