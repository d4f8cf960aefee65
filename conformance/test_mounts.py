"""What is mounted into a container: binds, volumes, tmpfs, and a read-only root."""

import re
from pathlib import Path

import pytest

from conformance.cli import Cli
from conformance.engine import Engine

RUN = ("ContainerCreate", "ContainerAttach", "ContainerWait", "ContainerStart")


@pytest.mark.operation(*RUN)
def test_bind_mount(engine: Engine, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host\n")
    volume = f"{tmp_path}:/data"
    out = cli.text(
        "run", "--rm", "-v", volume, engine.image, "sh", "-c", "cat /data/in; echo back >/data/out"
    )
    assert out == "from the host"
    assert (tmp_path / "out").read_text() == "back\n"
    done = cli("run", "--rm", "-v", volume + ":ro", engine.image, "sh", "-c", "echo x >/data/no", check=False)
    assert done.code == 1
    assert "Read-only file system" in done.err


@pytest.mark.operation(*RUN)
def test_bind_mount_of_a_file(engine: Engine, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("one\n")
    assert cli.text("run", "--rm", "-v", f"{tmp_path}/f:/etc/f:ro", engine.image, "cat", "/etc/f") == "one"


@pytest.mark.operation(*RUN)
def test_bind_mount_makes_the_folder_but_mount_does_not(engine: Engine, cli: Cli, tmp_path: Path) -> None:
    cli("run", "--rm", "-v", f"{tmp_path}/made:/data", engine.image, "true")
    assert (tmp_path / "made").is_dir()
    spec = f"type=bind,source={tmp_path}/missing,target=/data"
    done = cli("run", "--rm", "--mount", spec, engine.image, "true", check=False)
    assert done.code == 125
    assert f"bind source path does not exist: {tmp_path}/missing" in done.err
    assert not (tmp_path / "missing").exists()


@pytest.mark.operation(*RUN, "VolumeInspect", "VolumeDelete")
def test_named_volume(engine: Engine, cli: Cli) -> None:
    volume = engine.name("vol")
    cli("run", "--rm", "-v", f"{volume}:/data", engine.image, "sh", "-c", "echo kept >/data/f")
    assert cli.text("run", "--rm", "-v", f"{volume}:/data:ro", engine.image, "cat", "/data/f") == "kept"
    found = engine.wire.get(f"/volumes/{volume}")
    assert found["Driver"] == "local"
    assert found["Mountpoint"].endswith(f"/volumes/{volume}/_data")
    assert engine.wire.request("DELETE", f"/volumes/{volume}").status == 204


@pytest.mark.operation(*RUN)
def test_named_volume_takes_the_images_files(engine: Engine, cli: Cli) -> None:
    volume = engine.name("vol")
    assert "passwd" in cli.text("run", "--rm", "-v", f"{volume}:/etc", engine.image, "ls", "/etc").split()
    other = engine.name("vol")
    assert (
        cli.text(
            "run",
            "--rm",
            "-v",
            f"{other}:/etc:nocopy",
            engine.image,
            "sh",
            "-c",
            "test -e /etc/passwd || echo none",
        )
        == "none"
    )


@pytest.mark.operation(*RUN, "ContainerDelete")
def test_anonymous_volume(engine: Engine, cli: Cli) -> None:
    container = cli.text(
        "run", "-d", "-v", "/data", engine.image, "sh", "-c", "grep -c ' /data ' /proc/mounts"
    )
    engine.wait(container)
    assert engine.logs(container)[0] == "1\n"
    (mount,) = engine.inspect(container)["Mounts"]
    assert (mount["Type"], mount["Destination"], mount["Driver"], mount["RW"]) == (
        "volume",
        "/data",
        "local",
        True,
    )
    assert re.fullmatch("[0-9a-f]{64}", mount["Name"])
    assert engine.wire.request("DELETE", f"/containers/{container}", v=True).status == 204
    assert engine.wire.request("GET", f"/volumes/{mount['Name']}").status == 404


@pytest.mark.operation(*RUN)
def test_volumes_from(engine: Engine, cli: Cli) -> None:
    name = engine.name()
    cli("run", "-d", "--name", name, "-v", "/data", engine.image, "sh", "-c", "echo shared >/data/f")
    engine.wait(name)
    assert cli.text("run", "--rm", "--volumes-from", name, engine.image, "cat", "/data/f") == "shared"


@pytest.mark.operation(*RUN)
def test_read_only(engine: Engine, cli: Cli) -> None:
    done = cli("run", "--rm", "--read-only", engine.image, "touch", "/x", check=False)
    assert done.code == 1
    assert "Read-only file system" in done.err
    script = "echo x >/dev/shm/x && echo y >/t/y && echo fine"
    assert cli.text("run", "--rm", "--read-only", "--tmpfs", "/t", engine.image, "sh", "-c", script) == "fine"


@pytest.mark.operation(*RUN)
def test_tmpfs(engine: Engine, cli: Cli) -> None:
    script = "grep ' /t ' /proc/mounts"
    line = cli.text("run", "--rm", "--tmpfs", "/t", engine.image, "sh", "-c", script)
    _, _, kind, options, *_ = line.split()
    assert kind == "tmpfs"
    assert {"rw", "nosuid", "nodev", "noexec"} <= set(options.split(","))
    line = cli.text("run", "--rm", "--tmpfs", "/t:size=64k,exec,mode=700", engine.image, "sh", "-c", script)
    options = line.split()[3]
    assert {"size=64k", "mode=700"} <= set(options.split(","))
    assert "noexec" not in options


@pytest.mark.operation(*RUN)
def test_shm_size(engine: Engine, cli: Cli) -> None:
    done = cli.text("run", "--rm", engine.image, "sh", "-c", "grep ' /dev/shm ' /proc/mounts")
    assert "size=65536k" in done
    done = cli.text(
        "run", "--rm", "--shm-size", "1m", engine.image, "sh", "-c", "grep ' /dev/shm ' /proc/mounts"
    )
    assert "size=1024k" in done
