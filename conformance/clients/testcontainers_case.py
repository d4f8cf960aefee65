"""A user's tests with Testcontainers: servers that they start, ask, look into and take away.

SHOP_IMAGE is an image with Redis and PostgreSQL, SHOP_FOLDER one with cache.yaml alone in it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from testcontainers.compose import DockerCompose  # type: ignore[import-untyped, unused-ignore]
from testcontainers.core.container import DockerContainer  # type: ignore[import-untyped, unused-ignore]
from testcontainers.core.network import Network  # type: ignore[import-untyped, unused-ignore]
from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # type: ignore[import-untyped, unused-ignore]

from conformance.clients.redis_wire import ask

IMAGE = os.environ["SHOP_IMAGE"]
REDIS = "redis-server --protected-mode no --save '' --dir /tmp"


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


def redis() -> DockerContainer:
    ready = LogMessageWaitStrategy("Ready to accept connections").with_startup_timeout(90)
    made = DockerContainer(IMAGE).with_command(REDIS).with_exposed_ports(6379)
    return made.with_kwargs(user="redis").waiting_for(ready)


def test_a_server_by_its_port() -> None:
    with redis() as server:
        address, port = server.get_container_host_ip(), int(server.get_exposed_port(6379))
        assert ask(address, port, "PING") == "+PONG"
        assert ask(address, port, "INCR", "n") == ":1"
        code, out = server.exec(["redis-cli", "get", "n"])
        assert (code, out) == (0, b"1\n")
        assert b"Ready to accept" in server.get_logs()[0]
        container = server.get_wrapped_container()
    with pytest.raises(Exception, match=r"(?i)no such container"):
        container.reload()


def test_files_and_environment(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("mounted\n")
    made = DockerContainer(IMAGE).with_command(["sleep", "1000"]).with_env("GREETING", "hello")
    made = made.with_volume_mapping(str(tmp_path), "/data", "ro").with_copy_into_container(
        b"copied\n", "/tmp/copy"
    )
    with made.with_kwargs(init=True) as box:
        code, out = box.exec(["sh", "-c", "cat /data/in /tmp/copy; echo $GREETING"])
        assert (code, out) == (0, b"mounted\ncopied\nhello\n")
        box.copy_from_container("/tmp/copy", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"copied\n"


def test_two_on_a_network(network: Network) -> None:
    with redis().with_network(network).with_network_aliases("counter"):
        client = (
            DockerContainer(IMAGE)
            .with_network(network)
            .with_command(["sleep", "1000"])
            .with_kwargs(init=True)
        )
        with client as box:
            code, out = box.exec(["redis-cli", "-h", "counter", "ping"])
            assert (code, out) == (0, b"PONG\n"), out


def test_compose() -> None:
    with DockerCompose(os.environ["SHOP_FOLDER"], "cache.yaml") as compose:
        address, port = compose.get_service_host_and_port("cache", 6379)
        assert address and port and ask(address, int(port), "PING") == "+PONG"
        out, _, code = compose.exec_in_container(["redis-cli", "dbsize"], "cache")
        assert (out.strip(), code) == ("0", 0)
        assert "Ready to accept" in compose.get_logs("cache")[0]
