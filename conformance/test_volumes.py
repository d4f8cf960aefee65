"""Volumes of the local driver: create, list, inspect, delete; options; what the clients make of them."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.until import until
from conformance.wire import Answer

CREATE, LIST, INSPECT, DELETE = "VolumeCreate", "VolumeList", "VolumeInspect", "VolumeDelete"
NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this '
    "node to swarm and try again."
)


def create(engine: Engine, name: str = "", version: str = "", **fields: Any) -> Any:
    body = {**({"Name": name} if name else {}), **fields}
    return engine.wire.post("/volumes/create", body, status=201, version=version).json()


def refused(engine: Engine, **fields: Any) -> tuple[int, str]:
    answer = engine.wire.request("POST", "/volumes/create", fields)
    return answer.status, answer.message


def delete(engine: Engine, name: str, **query: Any) -> Answer:
    return engine.wire.request("DELETE", f"/volumes/{name}", **query)


@pytest.mark.operation(CREATE, INSPECT)
def test_all_fields(engine: Engine) -> None:
    name = engine.name("vol")
    made = create(engine, name, Driver="local", Labels={"a": "b", "c": ""})
    root = engine.info["DockerRootDir"]
    datetime.strptime(made.pop("CreatedAt"), "%Y-%m-%dT%H:%M:%S%z")
    assert made == {
        "Name": name,
        "Driver": "local",
        "Labels": {"a": "b", "c": ""},
        "Mountpoint": f"{root}/volumes/{name}/_data",
        "Options": None,
        "Scope": "local",
    }
    found = engine.wire.get(f"/volumes/{name}")
    assert datetime.fromisoformat(found.pop("CreatedAt").replace("Z", "+00:00"))
    assert found == made


@pytest.mark.operation(CREATE)
@pytest.mark.local
def test_the_folder(engine: Engine) -> None:
    folder = Path(create(engine, engine.name("vol"))["Mountpoint"])
    info = folder.stat()
    assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o755, 0, 0)
    assert folder.parent.stat().st_mode & 0o7777 == 0o701


@pytest.mark.operation(CREATE)
def test_empty_labels_and_options(engine: Engine) -> None:
    made = create(engine, engine.name("vol"), Labels={}, DriverOpts={})
    assert (made["Labels"], made["Options"]) == ({}, {})
    made = create(engine, engine.name("vol"), Labels=None, DriverOpts=None)
    assert (made["Labels"], made["Options"]) == (None, None)


@pytest.mark.operation(CREATE)
def test_the_same_name_again(engine: Engine) -> None:
    name = engine.name("vol")
    first = create(engine, name, Labels={"a": "b"})
    again = create(engine, name, Driver="local", DriverOpts={"type": "x"}, Labels={"c": "d"})
    assert again == first
    text = f'create {name}: error looking up volume plugin nope: plugin "nope" not found'
    assert refused(engine, Name=name, Driver="nope") == (404, text)
    assert engine.wire.get(f"/volumes/{name}") == first


@pytest.mark.operation(CREATE, DELETE)
def test_without_a_name(engine: Engine) -> None:
    made = create(engine, Labels={"mark": engine.run_id})
    try:
        assert re.fullmatch("[0-9a-f]{64}", made["Name"])
        anonymous = {"com.docker.volume.anonymous": ""} if engine.at_least("1.42") else {}
        assert made["Labels"] == {"mark": engine.run_id, **anonymous}
    finally:
        assert delete(engine, made["Name"]).status == 204


@pytest.mark.operation(CREATE)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a", "volume name is too short, names should be at least two alphanumeric characters"),
        ("a/b", None),
        ("-ab", None),
        ("a b", None),
    ],
)
def test_names_that_are_refused(engine: Engine, name: str, text: str | None) -> None:
    chars = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
    text = text or (
        f'"{name}" includes invalid characters for a local volume name, only "{chars}" are allowed. If you '
        "intended to pass a host directory, use absolute path"
    )
    assert refused(engine, Name=name) == (400, f"create {name}: {text}")


@pytest.mark.operation(CREATE)
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bogus": "x"}, 'invalid option: "bogus"'),
        ({"type": "tmpfs"}, 'missing required option: "device"'),
        ({"device": "tmpfs"}, 'missing required option: "type"'),
        ({"o": "x", "type": "tmpfs"}, 'missing required option: "device"'),
        ({"size": "x"}, "invalid size: 'x'"),
    ],
)
def test_options_that_are_refused(engine: Engine, options: dict[str, str], text: str) -> None:
    name = engine.name("vol")
    status, message = refused(engine, Name=name, DriverOpts=options)
    assert message == f"create {name}: {text}"
    assert status == engine.pick({"1.24": 500 if "size" in options else 400, "1.42": 400})
    assert engine.wire.request("GET", f"/volumes/{name}").status == 404


@pytest.mark.operation(CREATE)
def test_a_size_where_there_are_no_quotas(engine: Engine) -> None:
    name = engine.name("vol")
    answer = engine.wire.request("POST", "/volumes/create", {"Name": name, "DriverOpts": {"size": "1m"}})
    if answer.status == 201:
        pytest.skip("this engine's file system has project quotas")
    assert answer.status == 400
    assert answer.message == f"create {name}: quota size requested but no quota support"
    assert create(engine, name, DriverOpts={"size": "0"})["Options"] == {"size": "0"}


@pytest.mark.operation(CREATE)
@pytest.mark.since("1.42")
def test_cluster_volumes_need_a_swarm(engine: Engine) -> None:
    fields = {"Name": engine.name("vol"), "ClusterVolumeSpec": {"Group": "g"}}
    assert refused(engine, **fields) == (503, NO_SWARM)
    assert engine.wire.request("GET", f"/volumes/{fields['Name']}").status == 404


@pytest.mark.operation(CREATE)
def test_clients_that_know_no_cluster_volumes(engine: Engine) -> None:
    name = engine.name("vol")
    assert create(engine, name, version="1.41", ClusterVolumeSpec={})["Scope"] == "local"


@pytest.mark.operation("VolumeUpdate")
@pytest.mark.since("1.42")
def test_update_is_for_cluster_volumes(engine: Engine) -> None:
    name = engine.name("vol")
    create(engine, name)
    for path in (f"/volumes/{name}", "/volumes/no-such"):
        answer = engine.wire.request("PUT", path, version="1.42", headers={"Content-Length": "0"})
        assert answer.status == 503
        assert answer.message == "volume update only valid for cluster volumes, but swarm is unavailable"


@pytest.mark.operation(LIST)
def test_filters(engine: Engine) -> None:
    first, second, third = (engine.name("vol") for _ in range(3))
    create(engine, first, Labels={"mark": engine.run_id, "kind": "one"})
    create(engine, second, Labels={"mark": engine.run_id, "kind": "two"})
    create(engine, third)
    engine.create("true", host={"Binds": [f"{second}:/v"]})
    mark = f"mark={engine.run_id}"

    def names(**filters: Any) -> set[str]:
        answer = engine.wire.get("/volumes", filters=filters)
        assert answer["Warnings"] is None
        return {volume["Name"] for volume in answer["Volumes"]} & {first, second, third}

    assert names() == {first, second, third}
    assert names(label=[mark]) == {first, second}
    assert names(label=[mark, "kind=two"]) == {second}
    assert names(label=["kind"]) == {first, second}
    assert names(name=[first]) == {first}
    assert names(name=[f"^{first[:-2]}", third]) >= {first, third}
    assert names(name=["("]) == set()
    assert names(driver=["local"]) == {first, second, third}
    assert names(driver=["nope"]) == set()
    assert names(dangling=["true"]) == {first, third}
    assert names(dangling=["0"]) == {second}
    assert names(dangling={"true": True}, label={mark: True}) == {first}
    assert engine.wire.get("/volumes", filters={"name": ["no-such-volume"]})["Volumes"] == []


@pytest.mark.operation(LIST)
@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ({"dangling": ["x"]}, "invalid filter 'dangling=[x]'"),
        ({"dangling": [""]}, "invalid filter 'dangling=[]'"),
        ({"bogus": ["x"]}, "invalid filter 'bogus'"),
    ],
)
def test_bad_filters(engine: Engine, filters: dict[str, Any], text: str) -> None:
    answer = engine.wire.request("GET", "/volumes", filters=filters)
    assert (answer.status, answer.message.lower()) == (400, text)


@pytest.mark.operation(DELETE)
def test_delete(engine: Engine) -> None:
    name = engine.name("vol")
    folder = Path(create(engine, name)["Mountpoint"])
    assert delete(engine, name).status == 204
    assert engine.root is None or not folder.parent.exists()
    answer = delete(engine, name)
    assert (answer.status, answer.message) == (404, f"get {name}: no such volume")
    assert delete(engine, name, force=True).status == 204


@pytest.mark.operation(DELETE)
def test_delete_of_one_in_use(engine: Engine) -> None:
    name = engine.name("vol")
    container = engine.create("true", host={"Binds": [f"{name}:/v"]})
    for force in (False, True):
        answer = delete(engine, name, force=force)
        assert (answer.status, answer.message) == (409, f"remove {name}: volume is in use - [{container}]")
    engine.remove(container)
    assert delete(engine, name).status == 204


# Options ---------------------------------------------------------------------------------------------------


@pytest.mark.operation(CREATE, "ContainerStart")
def test_a_tmpfs_is_shared_and_gone_after_its_last_user(engine: Engine) -> None:
    name = engine.name("vol")
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=750,uid=1000"}
    assert create(engine, name, DriverOpts=options)["Options"] == options
    host = {"Binds": [f"{name}:/v"]}
    first = engine.run("sh", "-c", "echo shared >/v/f; exec sleep 1000", host=host)
    until(lambda: engine.exec(first, "cat", "/v/f").out)
    second = engine.sleeper(host=host)
    out = engine.exec(second, "sh", "-c", "cat /v/f; stat -c '%a %u' /v; grep ' /v ' /proc/mounts").out
    shared, modes, mount = out.splitlines()
    assert (shared, modes) == ("shared", "750 1000")
    assert "tmpfs" in mount and "size=1024k" in mount
    for container in (first, second):
        engine.wire.post(f"/containers/{container}/kill", status=204)
        engine.wait(container)
    assert engine.sh("ls /v | wc -l", host=host).out == "0\n"
    if engine.root:
        assert list((engine.root / "volumes" / name / "_data").iterdir()) == []


@pytest.mark.operation(CREATE, DELETE)
@pytest.mark.local
def test_a_folder_of_the_host(engine: Engine, tmp_path: Path) -> None:
    name = engine.name("vol")
    (tmp_path / "in").write_text("from the host\n")
    create(engine, name, DriverOpts={"type": "none", "device": str(tmp_path), "o": "bind"})
    done = engine.sh("cat /v/in; echo back >/v/out", host={"Binds": [f"{name}:/v"]})
    assert (done.out, (tmp_path / "out").read_text()) == ("from the host\n", "back\n")
    engine.remove(done.id)
    assert delete(engine, name).status == 204
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]  # it is the host's


@pytest.mark.operation(CREATE, "ContainerStart")
def test_a_device_that_is_not_there(engine: Engine) -> None:
    name = engine.name("vol")
    folder = create(engine, name, DriverOpts={"type": "none", "device": "/no/such", "o": "bind"})[
        "Mountpoint"
    ]
    container = engine.create("true", host={"Binds": [f"{name}:/v:nocopy"]})
    answer = engine.wire.request("POST", f"/containers/{container}/start")
    assert answer.status == 500
    assert answer.message == (
        f"error while mounting volume '{folder}': failed to mount local volume: "
        f"mount /no/such:{folder}, flags: 0x1000: no such file or directory"
    )
    assert engine.state(container)["Status"] == "created"


@pytest.mark.operation(CREATE, "ContainerStart")
@pytest.mark.since("1.42")
def test_a_password_is_not_told(engine: Engine) -> None:
    name = engine.name("vol")
    options = {"type": "no-such-fs", "device": "//x/y", "o": "addr=127.0.0.1,password=secret"}
    create(engine, name, DriverOpts=options)
    container = engine.create("true", host={"Binds": [f"{name}:/v:nocopy"]})
    message = engine.wire.request("POST", f"/containers/{container}/start").message
    assert message.endswith("data: addr=127.0.0.1,password=********: no such device")


@pytest.mark.operation("ContainerCreate", DELETE)
@pytest.mark.since("1.45")
def test_subpath(engine: Engine) -> None:
    name = engine.name("vol")
    engine.sh("mkdir -p /v/a/b; echo deep >/v/a/b/f; ln -s / /v/out", host={"Binds": [f"{name}:/v"]})

    def mount(subpath: str) -> dict[str, Any]:
        options = {"Subpath": subpath}
        return {"Mounts": [{"Type": "volume", "Source": name, "Target": "/s", "VolumeOptions": options}]}

    assert engine.sh("cat /s/f", host=mount("a/b")).out == "deep\n"
    for path in ("no/such", "out/etc"):
        container = engine.create("true", host=mount(path))
        assert engine.wire.request("POST", f"/containers/{container}/start").status >= 400
    body = {"Image": engine.image, "HostConfig": mount("../x")}
    answer = engine.wire.request("POST", "/containers/create", body)
    assert answer.status == 400 and "subpath must be a relative path within the volume" in answer.message


# Clients ---------------------------------------------------------------------------------------------------


@pytest.mark.operation(CREATE, LIST, INSPECT, DELETE)
def test_docker_volume(engine: Engine, cli: Cli) -> None:
    name = engine.name("vol")
    assert cli.text("volume", "create", "--label", "a=b", "--driver", "local", name) == name
    assert cli.text("volume", "create", name) == name
    assert cli.text("volume", "ls", "-q", "-f", f"name={name}", "-f", "label=a=b") == name
    line = cli.text("volume", "ls", "-f", f"name={name}").splitlines()[1]
    assert line.split() == ["local", name]
    form = "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}} {{.Options}}"
    assert cli.text("volume", "inspect", "-f", form, name) == f"{name} local local map[a:b] map[]"
    cli("create", "--name", engine.name(), "-v", f"{name}:/v", engine.image)
    done = cli("volume", "rm", name, check=False)
    assert done.code == 1 and "volume is in use" in done.err
    engine.sweep()
    assert cli.text("volume", "rm", name) == name
    assert cli.text("volume", "rm", "-f", name) == name
    done = cli("volume", "inspect", name, check=False)
    assert done.code == 1 and "no such volume" in done.err.lower()


@pytest.mark.operation(CREATE, "ContainerDelete")
def test_anonymous_volumes_go_with_their_container(engine: Engine, cli: Cli) -> None:
    named, name = engine.name("vol"), engine.name()
    volumes = ("-v", "/one", "--mount", "type=volume,target=/two", "-v", f"{named}:/three")

    def sources(container: str) -> list[str]:
        mounts = {mount["Destination"]: mount["Name"] for mount in engine.inspect(container)["Mounts"]}
        assert set(mounts) == {"/one", "/two", "/three"} and mounts["/three"] == named
        return [mounts["/one"], mounts["/two"]]

    def there(volume: str) -> bool:
        return engine.wire.request("GET", f"/volumes/{volume}").status == 200

    cli("create", "--name", name, *volumes, engine.image)
    kept = sources(name)
    for volume in kept[: engine.pick({"1.24": 0, "1.42": 1, "1.52": 2})]:
        assert engine.wire.get(f"/volumes/{volume}")["Labels"] == {"com.docker.volume.anonymous": ""}
    cli("rm", name)
    assert all(there(volume) for volume in kept)
    for volume in kept:
        delete(engine, volume)
    cli("create", "--name", name, *volumes, engine.image)
    gone = sources(name)
    cli("rm", "-v", name)
    assert not any(there(volume) for volume in gone) and there(named)
    cli("run", "-d", "--rm", "--name", name, *volumes, engine.image, "sleep", "1000")
    gone = sources(name)
    cli("kill", name)
    until(lambda: not any(there(volume) for volume in gone), "the volumes to go")
    assert there(named)


@pytest.mark.operation(CREATE, LIST, INSPECT, DELETE, "VolumePrune")
def test_docker_py(engine: Engine) -> None:
    name, client = engine.name("vol"), engine.docker
    volume = client.volumes.create(name, driver="local", labels={"mark": engine.run_id})
    assert (volume.name, volume.attrs["Driver"]) == (name, "local")
    assert client.volumes.get(name).attrs["Mountpoint"].endswith(f"/{name}/_data")
    assert name in [one.name for one in client.volumes.list(filters={"dangling": True})]
    out = client.containers.run(
        engine.image, ["sh", "-c", "echo kept >/v/f; cat /v/f"], volumes={name: {"bind": "/v"}}, remove=True
    )
    assert out == b"kept\n"
    pruned = client.volumes.prune(filters={"label": "mark=no-such-mark"})
    assert pruned == {"VolumesDeleted": [], "SpaceReclaimed": 0}
    volume.remove()
    assert client.volumes.list(filters={"name": name}) == []
