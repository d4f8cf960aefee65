"""Docker Compose with an application of PostgreSQL, Redis, nginx and a web server of any number.

The application is started once; every test finds it running and leaves it so.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from conformance import netns
from conformance.apps import image
from conformance.apps.project import SHOP, Project, import_image, newest_cli
from conformance.cli import Cli
from conformance.engine import Engine
from conformance.until import until

UP = ("NetworkCreate", "VolumeCreate", "ContainerCreate", "ContainerStart", "ContainerInspect")
LIST, INSPECT = "ContainerList", "ContainerInspect"
SERVICES = {"db-1", "cache-1", "migrate-1", "web-1", "proxy-1"}

pytestmark = pytest.mark.local  # secrets and configs are files of this machine


@pytest.fixture(scope="module")
def compose(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The newest command line, with the plugin."""
    made = newest_cli(engine.host, tmp_path_factory.mktemp("compose-config"))
    if not made.plug("docker-compose"):
        pytest.skip("CONFORMANCE_PLUGINS names no folder with docker-compose")
    return made


@pytest.fixture(scope="module")
def shop(engine: Engine, compose: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    if image.missing():
        pytest.skip(image.missing())
    tag = import_image(engine)
    project = Project(engine, compose, tmp_path_factory.mktemp("shop"), SHOP, SHOP_IMAGE=tag)
    try:
        project("up", "-d", "--wait", "--wait-timeout", "240")
        yield project
    finally:
        project.close()


def visit(shop: Project) -> Any:
    """What the shop answers by the published port; nginx says 502 as long as a server behind it begins."""
    address, port = shop.text("port", "proxy", "80").split(":")

    def answer() -> Any:
        body = netns.fetch(address, int(port))
        assert body.startswith(b"{"), body
        return json.loads(body)

    return until(answer, "the shop's answer", 90)


def state(shop: Project, name: str) -> Any:
    return shop.engine.state(shop.containers()[name])


@pytest.mark.operation(*UP)
def test_everybody_waited_for_whom_they_need(shop: Project) -> None:
    assert set(shop.containers()) == SERVICES
    states = {name: state(shop, name) for name in SERVICES}
    assert {name for name in SERVICES if states[name]["Running"]} == SERVICES - {"migrate-1"}
    assert states["migrate-1"]["ExitCode"] == 0
    healthy = ("db-1", "cache-1", "web-1")
    assert {states[name]["Health"]["Status"] for name in healthy} == {"healthy"}
    assert states["migrate-1"]["StartedAt"] > states["db-1"]["StartedAt"]
    assert states["web-1"]["StartedAt"] > states["migrate-1"]["FinishedAt"]
    assert states["proxy-1"]["StartedAt"] > states["web-1"]["StartedAt"]


@pytest.mark.operation(INSPECT)
def test_it_works(shop: Project) -> None:
    first = visit(shop)
    assert first["greeting"] == "welcome" and first["visits"] >= 1
    script = (
        "import urllib.request as u; print(u.urlopen('http://shop-web:8000/?tea', data=b'').read().decode())"
    )
    assert "id" in json.loads(shop.text("exec", "-T", "web", "python3", "-c", script))
    second = visit(shop)
    assert second["visits"] > first["visits"]
    assert second["orders"] == [*first["orders"], "tea"]
    ask = ("exec", "-T", "cache", "redis-cli", "get", "visits")
    assert int(shop.text(*ask)) == second["visits"]


@pytest.mark.operation("NetworkInspect", "NetworkList")
def test_networks(engine: Engine, shop: Project) -> None:
    front = engine.wire.get(f"/networks/{shop.name}_front")
    back = engine.wire.get(f"/networks/{shop.name}_back")
    assert (front["Internal"], back["Internal"]) == (False, True)
    assert front["Labels"]["shop"] == "front" and front["Labels"]["com.docker.compose.network"] == "front"
    ids = shop.containers()
    assert set(front["Containers"]) == {ids["web-1"], ids["proxy-1"]}
    assert set(back["Containers"]) == {ids["web-1"], ids["db-1"], ids["cache-1"]}
    connected = engine.inspect(ids["web-1"])["NetworkSettings"]["Networks"]
    assert set(connected) == {f"{shop.name}_front", f"{shop.name}_back"}
    assert {"web", "shop-web"} <= set(connected[f"{shop.name}_front"]["Aliases"])
    database = shop.text("exec", "-T", "web", "getent", "ahostsv4", "db").split()[0]
    assert (
        database
        == engine.inspect(ids["db-1"])["NetworkSettings"]["Networks"][f"{shop.name}_back"]["IPAddress"]
    )
    assert shop.text("exec", "-T", "web", "getent", "ahostsv4", "counter").split()[0] != database
    # Who is on the internal network only gets nowhere else, and the proxy does not know the database.
    proxy = engine.inspect(ids["proxy-1"])["NetworkSettings"]["Networks"][f"{shop.name}_front"]["IPAddress"]
    reach = ("python3", "-c", f"import socket; socket.create_connection(('{proxy}', 80), 3)")
    assert shop("exec", "-T", "web", *reach).code == 0
    assert shop("exec", "-T", "db", *reach, check=False).code == 1
    assert shop("exec", "-T", "proxy", "getent", "ahostsv4", "db", check=False).code == 2


@pytest.mark.operation("VolumeInspect", "PutContainerArchive")
def test_volumes_configs_secrets(engine: Engine, shop: Project) -> None:
    volume = engine.wire.get(f"/volumes/{shop.name}_database")
    assert volume["Labels"]["shop"] == "orders"
    assert volume["Labels"]["com.docker.compose.volume"] == "database"
    ids = shop.containers()
    mounts = {mount["Destination"]: mount for mount in engine.inspect(ids["db-1"])["Mounts"]}
    assert mounts["/var/lib/postgresql"]["Name"] == volume["Name"]
    assert mounts["/run/secrets/db_password"]["RW"] is False
    password = (SHOP / "password.txt").read_text()
    assert shop("exec", "-T", "web", "cat", "/run/secrets/database").out == password
    assert "appendonly yes" in shop.text("exec", "-T", "cache", "cat", "/shop/redis.conf")
    assert "/shop/redis.conf" not in {
        mount["Destination"] for mount in engine.inspect(ids["cache-1"])["Mounts"]
    }


@pytest.mark.operation(LIST, INSPECT)
def test_a_second_up_makes_nothing_new(shop: Project) -> None:
    before, started = shop.containers(), {name: state(shop, name)["StartedAt"] for name in SERVICES}
    done = shop("up", "-d", "--wait", "--wait-timeout", "120")
    assert "Recreat" not in done.err and "Creating" not in done.err, done.err
    assert shop.containers() == before
    after = {name: state(shop, name)["StartedAt"] for name in SERVICES - {"migrate-1"}}
    assert after.items() <= started.items()


@pytest.mark.operation("ContainerRename", "ContainerDelete")
def test_only_what_has_changed_is_made_anew(shop: Project) -> None:
    def changed(**env: str) -> set[str]:
        before = shop.containers()
        shop("up", "-d", "--wait", "--wait-timeout", "120", env=env)
        after = shop.containers()
        return {name for name in SERVICES if after[name] != before[name]}

    for address in ("127.0.0.2", "127.0.0.1"):
        assert changed(SHOP_ADDRESS=address) == {"proxy-1"}
        assert shop.text("port", "proxy", "80").startswith(f"{address}:")
        assert visit(shop)["greeting"] == "welcome"
    # Compose makes anew who depends on it, too.
    assert {"web-1"} <= changed(SHOP_GREETING="good morning") <= {"web-1", "proxy-1"}
    until(lambda: visit(shop)["greeting"] == "good morning", "the new greeting")
    assert "web-1" in changed()


@pytest.mark.operation("ContainerCreate", "ContainerDelete")
def test_scale(shop: Project) -> None:
    first = shop.containers()["web-1"]
    shop("up", "-d", "--wait", "--wait-timeout", "120", "--scale", "web=3", "--no-recreate")
    ids = shop.containers()
    assert {"web-1", "web-2", "web-3"} <= set(ids) and ids["web-1"] == first
    hosts: set[str] = set()

    def all_three() -> bool:
        hosts.add(visit(shop)["host"])
        return hosts == {ids[f"web-{number}"][:12] for number in (1, 2, 3)}

    until(all_three, "an answer of each", 90)
    shop("scale", "web=1")
    assert set(shop.containers()) == SERVICES
    kept = shop.containers()["web-1"]
    assert kept == first, (first, ids, kept, visit(shop))
    until(lambda: visit(shop)["host"] == first[:12], "only the first", 60)


@pytest.mark.operation(LIST)
def test_profiles(shop: Project) -> None:
    assert "tools" not in shop.text("config", "--services").split()
    assert "tools" in shop.text("--profile", "tools", "config", "--services").split()
    try:
        shop("--profile", "tools", "up", "-d", "tools")
        assert state(shop, "tools-1")["Running"]
        out = shop.text("exec", "-T", "tools", "sh", "-c", "redis-cli -h cache ping")
        assert out == "PONG"
    finally:
        shop("--profile", "tools", "rm", "-sf", "tools")
    assert "tools-1" not in shop.containers()


@pytest.mark.operation("ContainerLogs", "SystemEvents")
def test_logs_that_follow(shop: Project) -> None:
    line = "the shop is open on port 8000"
    assert line in shop.text("logs", "--no-log-prefix", "web")
    assert f"web-1  | {line}" in shop.text("logs", "web")
    lines: list[bytes] = []
    with shop.reading(lines.append, "logs", "-f", "--tail", "0", "proxy"):
        until(lambda: visit(shop) and any(b"GET / HTTP" in line for line in lines), "a visit's line", 60)


@pytest.mark.operation("ContainerExec", "ContainerTop", "ContainerStats")
def test_exec_top_stats(shop: Project) -> None:
    assert (
        shop.text("exec", "-T", "-u", "postgres", "-w", "/tmp", "db", "sh", "-c", "id -un; pwd")
        == "postgres\n/tmp"
    )
    assert shop.text("exec", "-T", "-e", "A=b", "web", "sh", "-c", "echo $A $GREETING") == "b welcome"
    assert shop("exec", "-T", "web", "sh", "-c", "exit 7", check=False).code == 7
    top = shop.text("top", "db", "cache")
    assert f"{shop.name}-db-1" in top and "checkpointer" in top and "redis-server" in top
    found = {one["Name"].removeprefix(f"{shop.name}-"): one for one in shop.items("stats", "--no-stream")}
    assert set(found) == SERVICES - {"migrate-1"}
    assert found["db-1"]["MemUsage"] and int(found["db-1"]["PIDs"]) >= 5


@pytest.mark.operation("ContainerArchive", "PutContainerArchive")
def test_cp(shop: Project) -> None:
    (shop.folder / "there").write_text("there and back\n")
    shop("cp", str(shop.folder / "there"), "cache:/tmp/there")
    assert shop.text("exec", "-T", "cache", "cat", "/tmp/there") == "there and back"
    shop("cp", "cache:/tmp/there", str(shop.folder / "back"))
    assert (shop.folder / "back").read_text() == "there and back\n"


@pytest.mark.operation(LIST, "ImageInspect", INSPECT)
def test_ps_ls_images_port_config(engine: Engine, shop: Project) -> None:
    found = {one["Service"]: one for one in shop.items("ps", "-a")}
    assert {one["Name"] for one in found.values()} == {f"{shop.name}-{name}" for name in SERVICES}
    assert (found["db"]["State"], found["db"]["Health"]) == ("running", "healthy")
    assert (found["migrate"]["State"], found["migrate"]["ExitCode"]) == ("exited", 0)
    (published,) = found["proxy"]["Publishers"]
    assert (published["URL"], published["TargetPort"], published["Protocol"]) == ("127.0.0.1", 80, "tcp")
    assert shop.text("port", "proxy", "80") == f"127.0.0.1:{published['PublishedPort']}"
    assert shop.text("ps", "-q", "db") == shop.containers()["db-1"]
    assert shop.text("ps", "--services", "--status", "exited") == "migrate"
    (project,) = [one for one in shop.items("ls") if one["Name"] == shop.name]
    assert "running(4)" in project["Status"] and project["ConfigFiles"].endswith("compose.yaml")
    images = {one["ContainerName"]: one for one in shop.items("images")}
    wanted = engine.wire.get(f"/images/{shop.env['SHOP_IMAGE']}/json")["Id"]
    assert images[f"{shop.name}-db-1"]["ID"] == wanted
    config = json.loads(shop.text("config", "--format", "json"))
    assert config["services"]["web"]["environment"]["GREETING"] == "welcome"


def pause(shop: Project, service: str) -> None:
    """runc gives up (`unable to freeze`) when a health check begins at that moment."""
    until(lambda: shop("pause", service, check=False).code == 0, "the pause")


@pytest.mark.operation("ContainerPause", "ContainerUnpause")
def test_pause(shop: Project) -> None:
    pause(shop, "cache")
    try:
        assert state(shop, "cache-1")["Paused"]
        assert [one["State"] for one in shop.items("ps", "cache")] == ["paused"]
    finally:
        shop("unpause", "cache")
    assert state(shop, "cache-1")["Status"] == "running"
    assert until(lambda: visit(shop)["visits"])


@pytest.mark.operation("ContainerRestart", "ContainerStop", "ContainerStart", "ContainerKill")
def test_restart_stop_start_kill(shop: Project) -> None:
    """What was ordered is there afterwards, and so are the visits."""
    before, ids = visit(shop), shop.containers()
    for commands in (
        [("restart", "db", "cache")],
        [("stop", "db"), ("start", "db")],
        [("kill", "-s", "KILL", "cache"), ("up", "-d", "--wait", "cache")],
    ):
        for command in commands:
            shop(*command)
        after = visit(shop)
        assert after["visits"] > before["visits"] and after["orders"] == before["orders"]
        assert shop.containers() == ids
        before = after


@pytest.mark.operation("ContainerCreate", "ContainerAttach", "ContainerWait", "ContainerDelete")
def test_run(shop: Project) -> None:
    done = shop(
        "run",
        "--rm",
        "-T",
        "--no-deps",
        "-e",
        "GREETING=bye",
        "web",
        "sh",
        "-c",
        "echo $GREETING; exit 3",
        check=False,
    )
    assert (done.code, done.out) == (3, "bye\n")
    assert set(shop.containers()) == SERVICES
    name = f"{shop.name}-one-off"
    shop("run", "-d", "--name", name, "--no-deps", "web", "true")
    shop.engine.wait(name)
    labels = shop.engine.inspect(name)["Config"]["Labels"]
    assert labels["com.docker.compose.oneoff"] == "True"
    shop.engine.remove(name)


@pytest.mark.operation("SystemEvents")
def test_events(shop: Project) -> None:
    seen: list[dict[str, Any]] = []

    def hear(line: bytes) -> None:
        if line.startswith(b"{"):
            seen.append(json.loads(line))

    def paused() -> bool:
        pause(shop, "proxy")
        shop("unpause", "proxy")
        return {"pause", "unpause"} <= {one["action"] for one in seen}

    with shop.reading(hear, "events", "--json"):
        until(paused, "events", 60)
    (event, *_) = [one for one in seen if one["action"] == "pause"]
    assert (event["type"], event["service"]) == ("container", "proxy")
    assert event["id"] == shop.containers()["proxy-1"]


@pytest.mark.operation("ContainerDelete", "NetworkDelete", "VolumeDelete")
def test_down_and_up_again(shop: Project) -> None:
    """`down` keeps volumes, `down -v` does not."""
    orders = [visit(shop)["orders"] for _ in range(10)][-1]
    shop("down")
    assert shop.left() == {"containers": 0, "networks": 0, "volumes": 2}
    shop("up", "-d", "--wait", "--wait-timeout", "240")
    again = visit(shop)
    assert again["orders"] == orders and again["visits"] > 10
    shop("down", "-v")
    assert shop.left() == {"containers": 0, "networks": 0, "volumes": 0}
    shop("up", "-d", "--wait", "--wait-timeout", "240")
    first = visit(shop)
    assert first["orders"] == [] and first["visits"] < 10
