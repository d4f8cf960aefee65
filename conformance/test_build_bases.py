"""Bases that the classic builder pulls: progress, `pull`, credentials, platforms, and what is refused."""

import base64
import json
from typing import Any

import pytest

from conformance.builds import build
from conformance.engine import Engine
from conformance.registry import PASSWORD, USER, Registry
from conformance.test_pull import fresh

BUILD = "ImageBuild"


@pytest.mark.operation(BUILD)
def test_a_base_is_pulled(engine: Engine, registry: Registry) -> None:
    old, new, repository = fresh(engine), fresh(engine), engine.name("base")
    descriptor = registry.push(repository, "v1", old)
    name = f"{registry.address}/{repository}:v1"
    done = build(engine, f"FROM {name}\nENV a=b\n")
    assert done.messages[0] == {"stream": f"Step 1/3 : FROM {name}"}
    assert done.messages[2] == {"status": f"Pulling from {repository}", "id": "v1"}
    statuses = [one["status"] for one in done.messages if "status" in one]
    assert statuses[-2:] == [
        f"Digest: {descriptor['digest']}",
        f"Status: Downloaded newer image for {name}",
    ]
    assert done.lines[:3] == [f"Step 1/3 : FROM {name}", " ---> ID", "Step 2/3 : ENV a=b"]
    assert engine.wire.get(f"/images/{name}/json")["Id"] == old.id
    registry.push(repository, "v1", new)
    assert not any("status" in one for one in build(engine, f"FROM {name}\n").messages)
    again = build(engine, f"FROM {name}\n", pull=1)
    assert any("status" in one for one in again.messages)
    assert engine.wire.get(f"/images/{name}/json")["Id"] == new.id


@pytest.mark.operation(BUILD)
def test_what_copies_come_from_is_pulled(engine: Engine, registry: Registry) -> None:
    image, repository = fresh(engine, text := engine.name()), engine.name("base")
    registry.push(repository, "v1", image)
    name = f"{registry.address}/{repository}:v1"
    done = build(engine, f"FROM {engine.image}\nCOPY --from={name} /which /which\nRUN cat /which\n")
    assert text in done.text and any("status" in one for one in done.messages)
    assert engine.wire.get(f"/images/{name}/json")["Id"] == image.id


@pytest.mark.operation(BUILD)
def test_bases_that_are_not_there(engine: Engine, registry: Registry) -> None:
    name = f"{registry.address}/{engine.name('none')}"
    failed = build(engine, f"FROM {name}:1\n")
    assert failed.lines == [f"Step 1/2 : FROM {name}:1"]
    assert failed.error == f"manifest for {name}:1 not found: manifest unknown: manifest unknown"
    failed = build(engine, f"FROM {engine.image}\nCOPY --from={name} /x /x\n")
    text = f"manifest for {name}:latest not found: manifest unknown: manifest unknown"
    assert failed.error == f"invalid from flag value {name}: {text}"
    assert failed.lines[-1] == f"Step 2/3 : COPY --from={name} /x /x"


@pytest.mark.operation(BUILD)
def test_credentials(engine: Engine, guarded_registry: Registry) -> None:
    image, repository = fresh(engine), engine.name("base")
    guarded_registry.push(repository, "v1", image)
    name = f"{guarded_registry.address}/{repository}:v1"
    refused = build(engine, f"FROM {name}\n")
    assert "no basic auth credentials" in refused.error

    def header(value: Any) -> dict[str, str]:
        return {"X-Registry-Config": base64.urlsafe_b64encode(json.dumps(value).encode()).decode()}

    given = {"username": USER, "password": PASSWORD}
    for key in (guarded_registry.address, f"https://{guarded_registry.address}/v1/"):
        done = build(engine, f"FROM {name}\n", headers=header({key: given}), pull=1)
        assert not done.error
    other = build(engine, f"FROM {name}\n", headers=header({"other:5000": given}), pull=1)
    assert "no basic auth credentials" in other.error


@pytest.mark.operation(BUILD)
def test_an_image_by_its_id(engine: Engine) -> None:
    image = engine.wire.get(f"/images/{engine.image}/json")["Id"]
    for name in (image, image[7:], image[7:19]):
        done = build(engine, f"FROM {name}\nENV by=id\n")
        assert not done.error, done
        assert engine.wire.get(f"/images/{done.image}/history")[-1]["Id"] == image


@pytest.mark.operation(BUILD)
def test_what_a_platform_does(engine: Engine) -> None:
    done = build(engine, "FROM scratch\nCOPY f /f\n", {"f": "1"}, platform="linux/arm64")
    image = engine.wire.get(f"/images/{done.image}/json")
    assert (image["Os"], image["Architecture"]) == ("linux", "arm64")
