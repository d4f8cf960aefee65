"""A user's tests with pytest-docker: a Compose file for the whole session, a port, and waiting for an answer.

SHOP_FOLDER is a folder with cache.yaml, PROJECT the project's name.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from conformance.clients.redis_wire import ask


@pytest.fixture(scope="session")
def docker_compose_file() -> str:
    return str(Path(os.environ["SHOP_FOLDER"], "cache.yaml"))


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    return os.environ["PROJECT"]


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    return ["up -d --wait"]


@pytest.fixture(scope="session")
def cache(docker_ip: str, docker_services: Any) -> tuple[str, int]:
    port = docker_services.port_for("cache", 6379)

    def answers() -> bool:
        try:
            return ask(docker_ip, port, "PING") == "+PONG"
        except OSError:
            return False

    docker_services.wait_until_responsive(answers, timeout=90, pause=0.2)
    return docker_ip, port


def test_it_counts(cache: tuple[str, int]) -> None:
    assert ask(*cache, "INCR", "n") == ":1"


def test_it_is_the_same_one(cache: tuple[str, int]) -> None:
    assert ask(*cache, "INCR", "n") == ":2"
