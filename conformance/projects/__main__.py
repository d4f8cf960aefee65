"""Writes what the engine of DOCKER_HOST makes of the projects into `expected.json`."""

import contextlib
import json

from conformance.engine import Engine
from conformance.images import docker_archive
from conformance.projects import EXPECTED, PROJECTS
from conformance.projects.building import Bases, built

with contextlib.closing(Engine()) as engine:
    engine.load(docker_archive({engine.image: engine.base()}))
    bases = Bases(engine)
    found = {
        project.name: {door: built(engine, bases, project, door) for door in project.doors}
        for project in PROJECTS
    }
EXPECTED.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
