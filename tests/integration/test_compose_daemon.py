"""An application under Compose goes on without its daemon, and is the same to the next one."""

import json
from pathlib import Path
from typing import Any

import pytest

from conformance import netns
from conformance.apps import image
from conformance.apps.project import SHOP, Project, import_image, newest_cli
from conformance.engine import Engine
from conformance.until import until
from tests.integration.daemon import running_daemon, wait_until

pytestmark = pytest.mark.root

PLUGINS = Path(__file__).parents[2] / ".cache/trixie/usr/libexec/docker/cli-plugins"


def test_over_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if image.missing() or not (PLUGINS / "docker-compose").exists():
        pytest.skip(image.missing() or "docker-compose is missing (scripts/setup --test fetches it)")
    with running_daemon() as daemon:
        for name, value in {
            "DOCKER_HOST": daemon.host,
            "CONFORMANCE_NETNS": daemon.name,
            "CONFORMANCE_PLUGINS": str(PLUGINS),
        }.items():
            monkeypatch.setenv(name, value)
        engine = Engine()
        cli = newest_cli(engine.host, tmp_path)
        cli.plug("docker-compose")
        shop = Project(engine, cli, tmp_path, SHOP, SHOP_IMAGE=import_image(engine))
        shop("up", "-d", "--wait", "--wait-timeout", "240", "--scale", "web=2")
        address, port = shop.text("port", "proxy", "80").split(":")

        def visit() -> Any:
            def answer() -> Any:
                body = netns.fetch(address, int(port))
                assert body.startswith(b"{"), body  # 502 as long as a server behind begins
                return json.loads(body)

            return until(answer, "the shop's answer", 90)

        before, ids = visit(), shop.containers()
        daemon.kill()
        # nginx asks for the web servers' names again and again, these for the database's.
        hosts: set[str] = set()

        def both() -> bool:
            hosts.add(visit()["host"])
            return len(hosts) == 2

        wait_until(both, "answers of both web servers, without a daemon", 90)
        daemon.start()
        done = shop("up", "-d", "--wait", "--wait-timeout", "240", "--scale", "web=2")
        assert "Recreat" not in done.err and "Creating" not in done.err, done.err
        assert shop.containers() == ids
        assert visit()["visits"] > before["visits"]
        wait_until(lambda: engine.state(ids["web-2"])["Health"]["Status"] == "healthy", "health", 90)
        shop("down", "-v")
        assert shop.left() == {"containers": 0, "networks": 0, "volumes": 0}
        engine.docker.close()
