import re
import subprocess
import sys

import pytest

from apispec import MAX, MIN, OPERATIONS, Version
from apispec.encode import gate_of
from apispec.model import Binary, Operation, Type
from apispec.openapi import document


def test_all_operations_are_there() -> None:
    assert len(OPERATIONS) == 110
    assert len({(operation.method, operation.path) for operation in OPERATIONS.values()}) == 110
    assert [id for id, operation in OPERATIONS.items() if id != operation.id] == []


def test_tags() -> None:
    tags: dict[str, int] = {}
    for operation in OPERATIONS.values():
        tags[operation.tag] = tags.get(operation.tag, 0) + 1
    assert tags == {
        "System": 7,
        "Container": 25,
        "Exec": 4,
        "Image": 17,
        "Network": 7,
        "Volume": 6,
        "Distribution": 1,
        "Session": 2,
        "Plugin": 11,
        "Swarm": 7,
        "Node": 4,
        "Service": 6,
        "Task": 3,
        "Secret": 5,
        "Config": 5,
    }


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=str)
def test_each_is_whole(operation: Operation) -> None:
    assert operation.summary.endswith(".")
    assert operation.answers
    assert 500 in operation.errors
    names = [param.name for param in operation.params]
    assert len(names) == len(set(names))
    for version in (operation.since, operation.until, operation.known):
        assert not version or MIN <= Version(version) <= MAX
    types: list[Type | None] = [*operation.answers.values(), operation.body]
    for type in types:
        if type is not None and not isinstance(type, Binary):
            gate_of(type, MIN)  # every reference resolves


def test_the_document_has_no_loose_ends() -> None:
    described = document()
    found = {
        (operation["operationId"], method.upper(), path)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }
    assert found == {(operation.id, operation.method, operation.path) for operation in OPERATIONS.values()}
    schemas = described["components"]["schemas"]
    references = set(re.findall(r"#/components/schemas/(\w+)", repr(described)))
    assert references <= schemas.keys()
    assert all(schemas[name] for name in references)


def test_the_document_tells_versions_and_paths() -> None:
    paths = document()["paths"]
    stop = paths["/containers/{id}/stop"]["post"]
    assert {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}} in stop["parameters"]
    assert {"name": "signal", "in": "query", "x-since": "1.42", "schema": {"type": "string"}} in stop[
        "parameters"
    ]
    create = paths["/containers/create"]["post"]
    assert create["requestBody"]["required"]
    assert create["responses"]["409"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "ErrorResponse"
    )


def test_types_load_when_needed() -> None:
    code = "import sys, apispec; print([name for name in sys.modules if name.startswith('apispec.types.')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
