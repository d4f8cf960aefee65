"""Dockerfiles as people write them, built by either door: the same files, configs and histories."""

import re
from typing import Any

import pytest

from conformance import projects
from conformance.apps import image
from conformance.engine import Engine
from conformance.projects import BUILDKIT, CLASSIC, DEBIAN, PROJECTS, Project
from conformance.projects.building import Bases, built


@pytest.fixture(scope="module")
def bases(engine: Engine) -> Bases:
    return Bases(engine)


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return projects.expected()


def check(engine: Engine, bases: Bases, project: Project, door: str, expected: dict[str, Any]) -> None:
    if project.base == DEBIAN and image.missing():
        pytest.skip(image.missing())
    found, wanted = built(engine, bases, project, door), expected[project.name][door]
    assert found["files"] == wanted["files"]
    assert found["config"] == wanted["config"]
    assert list(map(worded, found["history"])) == list(map(worded, wanted["history"]))


def worded(text: str) -> str:
    """Without what every few versions words differently (other tests look at that)."""
    text = re.sub(r"(EXPOSE|HEALTHCHECK) .*", r"\1", text, flags=re.DOTALL)
    text = re.sub(r"(--chown=[\w:]+?) ?(?=(file|dir|multi):)", r"\1 ", text)
    return re.sub(r"\b(dir|file|multi):\w+", r"\1", re.sub(r"^ARG (\w+).*", r"ARG \1", text))


@pytest.mark.operation("ImageBuild", "ImageHistory")
@pytest.mark.parametrize(
    "project", [one for one in PROJECTS if CLASSIC in one.doors], ids=lambda one: one.name
)
def test_classic(engine: Engine, bases: Bases, project: Project, expected: dict[str, Any]) -> None:
    check(engine, bases, project, CLASSIC, expected)


@pytest.mark.operation("Grpc", "Session", "ImageHistory")
@pytest.mark.since("1.45")
@pytest.mark.parametrize(
    "project", [one for one in PROJECTS if BUILDKIT in one.doors], ids=lambda one: one.name
)
def test_buildkit(engine: Engine, bases: Bases, project: Project, expected: dict[str, Any]) -> None:
    check(engine, bases, project, BUILDKIT, expected)
