"""Docker Compose when a service does not become what others wait for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.apps.project import Project, newest_cli
from conformance.engine import Engine

FAILING = Path(__file__).parent / "apps" / "failing"


@pytest.fixture
def failing(engine: Engine, tmp_path: Path) -> Iterator[Project]:
    cli = newest_cli(engine.host, tmp_path)
    if not cli.plug("docker-compose"):
        pytest.skip("CONFORMANCE_PLUGINS names no folder with docker-compose")
    project = Project(engine, cli, tmp_path, FAILING, BOX_IMAGE=engine.image)
    yield project
    project.close()


@pytest.mark.operation("ContainerInspect", "ContainerStart")
def test_who_waits_for_the_sick_never_starts(engine: Engine, failing: Project) -> None:
    done = failing("up", "-d", "patient", check=False)
    ids = failing.containers()
    assert done.code == 1
    assert f"dependency failed to start: container {failing.name}-sick-1 is unhealthy" in done.err
    assert engine.state(ids["sick-1"])["Health"]["Status"] == "unhealthy"
    assert engine.state(ids["patient-1"])["Status"] == "created"


@pytest.mark.operation("ContainerInspect", "ContainerWait")
def test_who_waits_for_success_never_starts(engine: Engine, failing: Project) -> None:
    done = failing("up", "-d", "successor", check=False)
    ids = failing.containers()
    assert done.code == 1
    assert 'service "wrong" didn\'t complete successfully: exit 3' in done.err
    assert engine.state(ids["wrong-1"])["ExitCode"] == 3
    assert engine.state(ids["successor-1"])["Status"] == "created"


@pytest.mark.operation("ContainerWait", "ContainerLogs", "ContainerAttach")
def test_up_in_the_foreground(failing: Project) -> None:
    done = failing("up", "--abort-on-container-exit", "--exit-code-from", "wrong", "wrong", check=False)
    assert done.code == 3
    assert "wrong-1  | no" in done.out
