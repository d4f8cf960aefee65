"""Fixtures: the engine, a busybox image on it, command lines, a registry; and what the markers mean."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import cli as command_line
from conformance.engine import Engine, host
from conformance.images import docker_archive
from conformance.networks import Made
from conformance.registry import PROGRAM, Registry, make_certificate


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "operation(id, ...): the API operations that this test shows",
        "since(version): the API version that brings what this test shows",
        "until_version(version): the last API version that shows this",
        "local: reads the engine's files, so needs it on this machine",
    ):
        config.addinivalue_line("markers", line)


def pytest_report_header() -> str:
    return f"engine: {host()}; command lines: {', '.join(command_line.found()) or 'none'}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test names the operations that it shows: the table in docs/ is made of that."""
    nameless = [item.nodeid for item in items if not item.get_closest_marker("operation")]
    if nameless:
        raise pytest.UsageError("without an operation marker: " + ", ".join(nameless))


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine under test, with `engine.image` loaded; whatever this run makes is removed at the end."""
    made = Engine()
    try:
        made.load(docker_archive({made.image: made.base()}))
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def _versions_and_sweep(request: pytest.FixtureRequest, engine: Engine) -> Iterator[None]:
    since = request.node.get_closest_marker("since")
    if since and not engine.at_least(since.args[0]):
        pytest.skip(f"since API {since.args[0]}; this engine has {engine.api}")
    last = request.node.get_closest_marker("until_version")
    if last and engine.at_least(last.args[0]) and engine.api != last.args[0]:
        pytest.skip(f"until API {last.args[0]}; this engine has {engine.api}")
    if request.node.get_closest_marker("local") and engine.root is None:
        pytest.skip("the engine's files are not on this machine")
    yield
    engine.sweep()


@pytest.fixture(
    scope="session", params=command_line.found(), ids=lambda p: "cli-" + command_line.version_of(p)
)
def cli(
    request: pytest.FixtureRequest, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> command_line.Cli:
    """Each docker command line found on this machine."""
    return command_line.Cli(request.param, engine.host, tmp_path_factory.mktemp("docker-config"))


@pytest.fixture(scope="session")
def box(engine: Engine) -> str:
    """A running container for tests that do not change it (exec, inspect, list)."""
    container = engine.run("sleep", "100000", name=engine.name("shared"))  # the whole run, on any machine
    engine.keep.add(container)
    return container


@pytest.fixture
def made(engine: Engine) -> Iterator[Made]:
    """Networks that go with the test, and with whatever is on them."""
    networks = Made(engine)
    try:
        yield networks
    finally:
        networks.remove()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """An empty registry on 127.0.0.1, which engines take for insecure."""
    if not Path(PROGRAM).exists():
        pytest.skip(f"{PROGRAM} is missing (package docker-registry)")
    made = Registry(tmp_path_factory.mktemp("registry"))
    with contextlib.closing(made):
        yield made


@pytest.fixture(scope="session")
def guarded_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Another one, for its user only."""
    if not Path(PROGRAM).exists():
        pytest.skip(f"{PROGRAM} is missing (package docker-registry)")
    made = Registry(tmp_path_factory.mktemp("guarded-registry"), guarded=True)
    with contextlib.closing(made):
        yield made


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Another one, for its user only, with TLS: its CA is in the engine's certs.d (CONFORMANCE_CERTS)."""
    certificates = os.environ.get("CONFORMANCE_CERTS")
    if not certificates:
        pytest.skip("CONFORMANCE_CERTS does not name the engine's certs.d")
    if not Path(PROGRAM).exists():
        pytest.skip(f"{PROGRAM} is missing (package docker-registry)")
    folder = tmp_path_factory.mktemp("tls-registry")
    made = Registry(folder, guarded=True, tls=make_certificate(folder))
    trusted = Path(certificates) / made.address
    with contextlib.closing(made):
        trusted.mkdir()
        try:
            (trusted / "ca.crt").write_bytes((folder / "ca.crt").read_bytes())
            yield made
        finally:
            shutil.rmtree(trusted)
