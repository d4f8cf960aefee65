"""HostConfig.Binds, Mounts and Tmpfs in all their forms: what is made of them, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from conformance.engine import Engine

CREATE = ("ContainerCreate",)
RUN = ("ContainerCreate", "ContainerStart", "ContainerInspect")


def refused(engine: Engine, host: dict[str, Any], **config: Any) -> tuple[int, str]:
    """Status and text of a create that fails."""
    body = {"Image": engine.image, "HostConfig": host, **config}
    answer = engine.wire.request("POST", "/containers/create", body)
    if answer.status == 201:
        engine.remove(answer.json()["Id"])
    return answer.status, answer.message if answer.status >= 400 else ""


@pytest.mark.operation(*RUN)
@pytest.mark.parametrize(
    ("mode", "writable", "propagation"),
    [
        ("", True, "rprivate"),
        ("ro", False, "rprivate"),
        ("rw,z", True, "rprivate"),
        ("Z,ro", False, "rprivate"),
        ("rprivate", True, "rprivate"),
        ("private,ro", False, "private"),
        ("delegated", True, "rprivate"),
        ("cached,ro", False, "rprivate"),
        ("consistent", True, "rprivate"),
    ],
)
def test_modes_of_a_bind(engine: Engine, tmp_path: Path, mode: str, writable: bool, propagation: str) -> None:
    done = engine.sh("touch /m/x && echo wrote; true", host={"Binds": [f"{tmp_path}:/m:{mode}"]})
    assert done.out == ("wrote\n" if writable else "")
    (mount,) = engine.inspect(done.id)["Mounts"]
    assert mount == {
        "Type": "bind",
        "Source": str(tmp_path),
        "Destination": "/m",
        "Mode": mode,
        "RW": writable,
        "Propagation": propagation,
    }


@pytest.mark.operation(*RUN)
@pytest.mark.parametrize("mode", ["", "ro", "nocopy", "z,nocopy", "delegated"])
def test_modes_of_a_volume(engine: Engine, mode: str) -> None:
    name = engine.name("vol")
    done = engine.sh("ls /etc | wc -l", host={"Binds": [f"{name}:/etc:{mode}"]})
    # Docker's three files are mounted over the volume's own in any case.
    assert (int(done.out) <= 3) == ("nocopy" in mode)
    (mount,) = engine.inspect(done.id)["Mounts"]
    assert (mount["Type"], mount["Name"], mount["Driver"]) == ("volume", name, "local")
    assert (mount["Mode"], mount["RW"], mount["Propagation"]) == (mode or "z", mode != "ro", "")


@pytest.mark.operation(*RUN)
def test_paths_are_made_clean(engine: Engine, tmp_path: Path) -> None:
    container = engine.create("true", host={"Binds": [f"{tmp_path}//./:/a/../m/./x/"]})
    (mount,) = engine.inspect(container)["Mounts"]
    assert (mount["Source"], mount["Destination"]) == (str(tmp_path), "/m/x")


BIND = 'invalid mount config for type "bind": '
VOLUME = 'invalid mount config for type "volume": '


@pytest.mark.operation(*CREATE)
@pytest.mark.parametrize(
    ("bind", "message"),
    [
        ("/tmp:/m:bogus", "invalid mode: bogus"),
        ("/tmp:/m:rw,ro", "invalid mode: rw,ro"),
        ("/tmp:/m:ro,", "invalid mode: ro,"),
        ("/tmp:/m:copy", "invalid mode: copy"),
        (":/m", "invalid volume specification: ':/m'"),
        ("/m:ro", "invalid volume specification: '/m:ro'"),
        ("a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
        ("/tmp:", "invalid volume specification: '/tmp:'"),
        (
            "/tmp:/m:nocopy",
            f"invalid volume specification: '/tmp:/m:nocopy': {BIND}"
            "field VolumeOptions must not be specified",
        ),
        (
            "vol:/m:rshared",
            f"invalid volume specification: 'vol:/m:rshared': {VOLUME}"
            "field BindOptions must not be specified",
        ),
        (
            "/tmp:/m/..",
            f"invalid volume specification: '/tmp:/m/..': {BIND}invalid specification: "
            "destination can't be '/'",
        ),
        (
            "vol:m",
            f"invalid volume specification: 'vol:m': {VOLUME}invalid mount path: 'm' "
            "mount path must be absolute",
        ),
    ],
)
def test_binds_that_cannot_be(engine: Engine, bind: str, message: str) -> None:
    assert refused(engine, {"Binds": [bind]}) == (500, message)


@pytest.mark.operation(*CREATE)
@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ({"Type": "bind", "Source": "/tmp"}, f"{BIND}field Target must not be empty"),
        ({"Type": "bind", "Target": "/m"}, f"{BIND}field Source must not be empty"),
        (
            {"Type": "bind", "Source": "tmp", "Target": "/m"},
            f"{BIND}invalid mount path: 'tmp' mount path must be absolute",
        ),
        (
            {"Type": "bind", "Source": "/nonexistent", "Target": "/m"},
            f"{BIND}bind source path does not exist: /nonexistent",
        ),
        (
            {"Type": "bind", "Source": "/tmp", "Target": "/m", "BindOptions": {"Propagation": "no"}},
            f"{BIND}invalid propagation mode: no",
        ),
        (
            {"Type": "bind", "Source": "/tmp", "Target": "/"},
            f"{BIND}invalid specification: destination can't be '/'",
        ),
        (
            {"Type": "tmpfs", "Source": "x", "Target": "/m"},
            'invalid mount config for type "tmpfs": field Source must not be specified',
        ),
        ({"Type": "x", "Target": "/m"}, 'invalid mount config for type "x": mount type unknown'),
    ],
)
def test_mounts_that_cannot_be(engine: Engine, mount: dict[str, Any], message: str) -> None:
    assert refused(engine, {"Mounts": [mount]}) == (400, message)


@pytest.mark.operation(*CREATE)
def test_two_mounts_of_one_place(engine: Engine) -> None:
    both = {"Binds": ["/tmp:/m"], "Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/m"}]}
    for host in (both, {"Binds": ["/tmp:/m", "vol:/m/"]}, {"Binds": ["/tmp:/m"], "Tmpfs": {"/m": ""}}):
        assert refused(engine, host) == (400, "Duplicate mount point: /m")


@pytest.mark.operation(*CREATE)
def test_an_anonymous_volume_on_a_file(engine: Engine) -> None:
    status, message = refused(engine, {}, Volumes={"/bin/busybox": {}})
    assert status == 500
    assert message.startswith("cannot mount volume over existing file, file exists /")
    assert message.endswith("/merged/bin/busybox")


@pytest.mark.operation(*RUN, "VolumeInspect")
def test_a_volume_is_made_with_labels_and_options(engine: Engine) -> None:
    name = engine.name("vol")
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=750"}
    mount = {
        "Type": "volume",
        "Source": name,
        "Target": "/m",
        "VolumeOptions": {"Labels": {"a": "b"}, "DriverConfig": {"Name": "local", "Options": options}},
    }
    first = engine.sleeper(host={"Mounts": [mount]})
    volume = engine.wire.get(f"/volumes/{name}")
    assert (volume["Labels"], volume["Options"], volume["Driver"]) == ({"a": "b"}, options, "local")
    assert engine.exec(first, "sh", "-c", "echo here >/m/f").code == 0
    # One file system for all who use the volume, until the last one ends.
    done = engine.sh("cat /m/f; grep ' /m ' /proc/mounts", host={"Binds": [f"{name}:/m"]})
    content, line = done.out.splitlines()
    assert content == "here"
    assert line.split()[2] == "tmpfs"
    assert {"size=1024k", "mode=750"} <= set(line.split()[3].split(","))
    engine.remove(first)
    engine.remove(done.id)
    assert engine.sh("ls /m", host={"Binds": [f"{name}:/m"]}).out == ""


@pytest.mark.operation("ContainerCreate", "ContainerStart")
def test_a_volume_that_cannot_be_mounted(engine: Engine) -> None:
    name = engine.name("vol")
    options = {"type": "none", "device": "/nonexistent", "o": "bind"}
    volume = {"DriverConfig": {"Options": options}}
    mount = {"Type": "volume", "Source": name, "Target": "/m", "VolumeOptions": volume}
    container = engine.create("true", host={"Mounts": [mount]})
    answer = engine.wire.request("POST", f"/containers/{container}/start")
    (shown,) = engine.inspect(container)["Mounts"]
    folder = shown["Source"]
    assert answer.status == 500
    assert answer.message == (
        f"error while mounting volume '{folder}': failed to mount local volume: "
        f"mount /nonexistent:{folder}, flags: 0x1000: no such file or directory"
    )


@pytest.mark.operation(*RUN)
def test_a_tmpfs_by_mounts(engine: Engine) -> None:
    mount = {"Type": "tmpfs", "Target": "/m", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700}}
    done = engine.sh("grep ' /m ' /proc/mounts", host={"Mounts": [mount]})
    assert {"rw", "nosuid", "nodev", "noexec", "size=1024k", "mode=700"} <= set(
        done.out.split()[3].split(",")
    )
    done = engine.sh("touch /m/x && echo wrong; true", host={"Mounts": [{**mount, "ReadOnly": True}]})
    assert done.out == ""
    assert "Read-only file system" in done.err


@pytest.mark.operation("ContainerCreate", "ContainerStart")
@pytest.mark.parametrize(
    ("options", "shown", "parts"),
    [("bogus", '"bogus"', '["bogus"]'), ("huge=always,size=1m", '"huge"', '["huge" "always"]')],
)
def test_tmpfs_options_that_cannot_be(engine: Engine, options: str, shown: str, parts: str) -> None:
    container = engine.create("true", host={"Tmpfs": {"/m": options}})
    answer = engine.wire.request("POST", f"/containers/{container}/start")
    text = engine.pick({"1.24": parts, "1.42": shown})
    assert (answer.status, answer.message) == (500, f"invalid tmpfs option {text}")


@pytest.mark.operation("ContainerCreate", "ContainerStart")
@pytest.mark.parametrize("propagation", ["rshared", "shared", "rslave", "slave"])
def test_propagation_that_the_host_does_not_have(engine: Engine, tmp_path: Path, propagation: str) -> None:
    """Whether the host's mount is shared is its own affair: either it starts, or it says why not."""
    container = engine.create("true", host={"Binds": [f"{tmp_path}:/m:{propagation}"]})
    answer = engine.wire.request("POST", f"/containers/{container}/start")
    if answer.status == 204:
        assert engine.inspect(container)["Mounts"][0]["Propagation"] == propagation
        return
    kind = "a shared mount" if "shared" in propagation else "a shared or slave mount"
    assert answer.status == 500
    assert answer.message.startswith(f"path {tmp_path} is mounted on /")
    assert answer.message.endswith(f" but it is not {kind}")
