"""What else speaks to an engine from Python: Testcontainers, pytest-docker, aiodocker, python-on-whales."""

import asyncio
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance import netns
from conformance.apps import image
from conformance.apps.project import import_image, newest_cli
from conformance.engine import Engine
from conformance.until import until

CLIENTS = Path(__file__).parent / "clients"
ROOT = Path(__file__).parents[1]
RUN = ("ContainerCreate", "ContainerStart", "ContainerInspect", "ContainerDelete")


@dataclass
class User:
    """Runs a user's own tests against the engine, from where its published ports are."""

    env: dict[str, str]

    def __call__(self, case: str) -> str:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:rerunfailures", "-v"]
        done = subprocess.run(
            [
                *netns.prefix(),
                *command,
                "--rootdir",
                str(ROOT),
                "--confcutdir",
                str(CLIENTS),
                str(CLIENTS / case),
            ],
            env=self.env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout


def labelled(engine: Engine, label: str) -> Iterator[tuple[str, str]]:
    """Containers and networks with that label: (kind, ID)."""
    filters = {"label": [label]}
    for container in engine.wire.get("/containers/json", all=True, filters=filters):
        yield "containers", container["Id"]
    for network in engine.wire.get("/networks", filters=filters):
        yield "networks", network["Id"]


@pytest.fixture
def user(engine: Engine, tmp_path: Path) -> Iterator[User]:
    """A user with the newest command line and Compose, whatever they have left behind taken away."""
    if image.missing():
        pytest.skip(image.missing())
    (tmp_path / "config").mkdir()
    cli = newest_cli(engine.host, tmp_path / "config")
    if not cli.plug("docker-compose"):
        pytest.skip("CONFORMANCE_PLUGINS names no folder with docker-compose")
    project = engine.name("user")
    folder = tmp_path / project
    folder.mkdir()
    shutil.copy(CLIENTS / "cache.yaml", folder)
    env = {
        **cli.env,
        "PATH": f"{Path(cli.path).parent}:{os.environ['PATH']}",
        "SHOP_IMAGE": import_image(engine),
        "SHOP_FOLDER": str(folder),
        "PROJECT": project,
        # The one that takes away what a killed test leaves comes from Docker's hub.
        "TESTCONTAINERS_RYUK_DISABLED": "true",
        "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
    }
    before = set(labelled(engine, "org.testcontainers=true"))
    yield User(env)
    left = {*labelled(engine, "org.testcontainers=true")} - before
    left |= {*labelled(engine, f"com.docker.compose.project={project}")}
    for kind, identity in sorted(left):
        engine.wire.request(
            "DELETE", f"/{kind}/{identity}" + ("?force=1&v=1" if kind == "containers" else "")
        )
    assert not left


@pytest.mark.operation(
    *RUN, "ContainerLogs", "ContainerExec", "NetworkCreate", "NetworkDelete", "PutContainerArchive"
)
def test_testcontainers(user: User) -> None:
    assert "4 passed" in user("testcontainers_case.py")


@pytest.mark.operation(*RUN, "NetworkCreate", "NetworkDelete")
def test_pytest_docker(user: User) -> None:
    assert "2 passed" in user("pytest_docker_case.py")


# aiodocker -------------------------------------------------------------------------------------------------


def aio(engine: Engine, scenario: Callable[[Any], Any]) -> None:
    import aiodocker

    async def run() -> None:
        async with aiodocker.Docker(url=engine.host) as client:
            await asyncio.wait_for(scenario(client), 120)

    asyncio.run(run())


@pytest.mark.operation(
    *RUN, "SystemEvents", "ContainerExec", "ExecStart", "ContainerArchive", "ContainerStats"
)
def test_aiodocker_containers(engine: Engine) -> None:
    name = engine.name()

    async def scenario(client: Any) -> None:
        events = client.events.subscribe()
        config = {"Image": engine.image, "Cmd": ["sh", "-c", "echo begun; exec sleep 1000"]}
        box = await client.containers.create_or_replace(name, config)
        await box.start()
        seen: list[str] = []
        while "start" not in seen:
            event = await events.get()
            if event["Actor"]["ID"] == box.id:
                seen.append(event["Action"])
        assert seen == ["create", "start"]
        assert (await box.show())["State"]["Running"]
        async for line in box.log(stdout=True, follow=True):
            assert line == "begun\n"
            break
        execution = await box.exec(["cat"], stdin=True)
        async with execution.start() as stream:
            await stream.write_in(b"to and fro\n")
            message = await stream.read_out()
        assert (message.stream, message.data) == (1, b"to and fro\n")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            entry = tarfile.TarInfo("f")
            entry.size = 5
            tar.addfile(entry, io.BytesIO(b"aio!\n"))
        await box.put_archive("/tmp", buffer.getvalue())
        with await box.get_archive("/tmp/f") as tar:
            content = tar.extractfile("f")
            assert content and content.read() == b"aio!\n"
        (stats,) = await box.stats(stream=False)
        assert stats["pids_stats"]["current"] >= 1
        await box.kill()
        assert (await box.wait())["StatusCode"] == 137
        await box.delete(v=True)

    aio(engine, scenario)
    assert engine.wire.request("GET", f"/containers/{name}/json").status == 404


@pytest.mark.operation(
    "VolumeCreate", "VolumeList", "VolumeDelete", "NetworkCreate", "NetworkConnect", "NetworkDelete"
)
def test_aiodocker_volumes_and_networks(engine: Engine) -> None:
    name = engine.name("aio")

    async def scenario(client: Any) -> None:
        volume = await client.volumes.create({"Name": name, "Labels": {"a": "b"}})
        assert (await volume.show())["Labels"] == {"a": "b"}
        found = (await client.volumes.list(filters={"name": name}))["Volumes"]
        assert [one["Name"] for one in found] == [name]
        network = await client.networks.create({"Name": name, "Labels": {"a": "b"}, "CheckDuplicate": True})
        box = engine.sleeper(host={"NetworkMode": "none", "Binds": [f"{name}:/v"]})
        await network.connect({"Container": engine.sleeper(), "EndpointConfig": {"Aliases": ["other"]}})
        assert len((await network.show())["Containers"]) == 1
        engine.sweep()
        until(lambda: engine.wire.request("GET", f"/containers/{box}/json").status == 404)
        await network.delete()
        await volume.delete()

    aio(engine, scenario)
    assert engine.wire.request("GET", f"/networks/{name}").status == 404
    assert engine.wire.request("GET", f"/volumes/{name}").status == 404


@pytest.mark.operation("ImageInspect", "ImageTag", "ImageDelete", "ImageList", "ContainerAttach")
def test_aiodocker_images_and_attach(engine: Engine) -> None:
    tag = f"{engine.prefix}/aio"

    async def scenario(client: Any) -> None:
        assert (await client.images.inspect(engine.image))["RepoTags"]
        await client.images.tag(engine.image, tag, tag="1")
        assert any(f"{tag}:1" in (one["RepoTags"] or []) for one in await client.images.list())
        box = await client.containers.create(
            {"Image": f"{tag}:1", "Cmd": ["cat"], "OpenStdin": True, "StdinOnce": True, "AttachStdin": True}
        )
        async with box.attach(stdin=True, stdout=True, stderr=True) as stream:
            await box.start()
            await stream.write_in(b"attached\n")
            message = await stream.read_out()
            assert message.data == b"attached\n"
        await box.delete(force=True)
        await client.images.delete(f"{tag}:1")

    aio(engine, scenario)
    assert engine.wire.request("GET", f"/images/{tag}:1/json").status == 404


# python-on-whales ------------------------------------------------------------------------------------------


@pytest.mark.operation(
    *RUN, "ContainerList", "ContainerLogs", "ContainerExec", "NetworkCreate", "VolumeCreate"
)
def test_python_on_whales(engine: Engine, tmp_path: Path) -> None:
    """A client that runs the command line and reads what it says."""
    from python_on_whales import DockerClient

    docker = DockerClient(host=engine.host, client_call=[newest_cli(engine.host, tmp_path).path])
    volume, network = docker.volume.create(engine.name("whale")), docker.network.create(engine.name("whale"))
    try:
        box = docker.run(
            engine.image,
            ["sh", "-c", "echo begun; exec sleep 1000"],
            name=engine.name("whale"),
            detach=True,
            volumes=[(volume, "/v")],
            networks=[network],
            labels={"whale": "yes"},
            health_cmd="test -e /v/well",
            health_interval=1,
            memory="64m",
        )
        assert not isinstance(box, str)
        labels, networks = box.config.labels or {}, box.network_settings.networks or {}
        assert box.state.running and labels["whale"] == "yes"
        assert box.host_config.memory == 64 << 20
        assert list(networks) == [network.name]
        assert [mount.name for mount in box.mounts] == [volume.name]
        assert box.execute(["sh", "-c", "echo x >/v/well; cat /v/well"]) == "x"
        until(lambda: box.state.health and box.state.health.status == "healthy", "health")
        assert str(docker.logs(box)).strip() == "begun"
        (tmp_path / "f").write_text("copied\n")
        docker.copy(tmp_path / "f", (box, "/v/f"))
        docker.copy((box, "/v/f"), tmp_path / "g")
        assert (tmp_path / "g").read_text() == "copied\n"
        assert box.id in [one.id for one in docker.ps(filters=[("label", "whale=yes")])]
        (stats,) = docker.stats(box)
        assert stats.memory_limit == 64 << 20
        assert docker.volume.inspect(volume.name).mountpoint.name == "_data"
        docker.stop(box, time=0)
        assert docker.wait(box) == 137
        docker.remove(box, volumes=True)
        assert docker.image.inspect(engine.image).repo_tags == [engine.image]
        assert docker.system.info().server_version == engine.info["ServerVersion"]
    finally:
        engine.sweep()
        network.remove()
        volume.remove()
