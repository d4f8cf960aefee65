"""What an image of a container says."""

import json
from typing import Any

import pytest

from compatd.api.archive import content_encoding
from compatd.engine.containers import filesystem
from compatd.engine.containers.commit import image_config, new_config, tidy
from compatd.engine.containers.model import Container
from compatd.engine.errors import InvalidParameter

OWN: dict[str, Any] = {
    "Hostname": "h", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": True,
    "AttachStderr": True, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": ["A=1", "B=2"],
    "Cmd": ["sh"], "Image": "box", "Volumes": {}, "WorkingDir": "", "Entrypoint": None, "Labels": {"l": "1"},
    "ExposedPorts": {"81/tcp": {}, "80/tcp": {}}, "StopSignal": "", "StopTimeout": None,
}  # fmt: skip


def container(**fields: Any) -> Container:
    made = Container(
        id="c" * 64, name="c", created=0, image_id="sha256:1", config=dict(OWN), host_config={}, path="sh",
        args=[], platform={"architecture": "amd64"},
    )  # fmt: skip
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def test_the_containers_own_config_in_gos_shape() -> None:
    config = new_config(OWN, {}, [])
    assert list(config) == [
        "Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr", "ExposedPorts",
        "Tty", "OpenStdin", "StdinOnce", "Env", "Cmd", "Image", "Volumes", "WorkingDir", "Entrypoint",
        "OnBuild", "Labels",
    ]  # fmt: skip
    assert config["Volumes"] is None and list(config["ExposedPorts"]) == ["80/tcp", "81/tcp"]
    assert OWN["Volumes"] == {} and "OnBuild" not in OWN  # it was not touched
    assert tidy({**OWN, "StopTimeout": 3})["StopTimeout"] == 3


def test_changes_and_a_given_config() -> None:
    config = new_config(OWN, {}, ['CMD ["x"]', "ENV A=3"])
    assert config["Cmd"] == ["x"] and config["Env"] == ["A=3", "B=2"]
    config = new_config(OWN, {"Env": ["A=9"], "Cmd": ["mine"], "Labels": {"l": "2", "m": "3"}}, ["ENV C=1"])
    assert config["Env"] == ["A=9", "C=1", "B=2"] and config["Cmd"] == ["mine"]
    assert config["Labels"] == {"l": "2", "m": "3"} and config["Hostname"] == ""
    assert new_config(OWN, {"Entrypoint": ["e"]}, [])["Cmd"] is None
    with pytest.raises(InvalidParameter, match="RUN is not a valid change command"):
        new_config(OWN, {}, ["RUN x"])


def test_the_images_document() -> None:
    parent = {
        "architecture": "arm64", "os": "linux", "variant": "v8", "history": [{"created_by": "base"}],
        "rootfs": {"type": "layers", "diff_ids": ["sha256:a"]},
    }  # fmt: skip
    options: dict[str, Any] = {"comment": "why", "author": "me <x>", "created": 1_700_000_000_123_456_789}
    raw = image_config(parent, container(), tidy(OWN), diff_id="sha256:b", **options)
    document = json.loads(raw)
    assert list(document) == sorted(document) and b"\\u003cx\\u003e" in raw
    assert document["rootfs"]["diff_ids"] == ["sha256:a", "sha256:b"] and document["variant"] == "v8"
    assert document["container"] == "c" * 64 and document["architecture"] == "arm64"
    assert document["history"] == [
        {"created_by": "base"},
        {"created": document["created"], "author": "me <x>", "created_by": "sh", "comment": "why"},
    ]
    empty = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    document = json.loads(image_config(parent, container(), tidy(OWN), diff_id=empty, **options))
    assert document["rootfs"]["diff_ids"] == ["sha256:a"] and document["history"][-1]["empty_layer"] is True


def test_mounts_that_a_copy_sees() -> None:
    points = [
        {"Type": "volume", "Destination": "/a/b", "Source": "/v/1", "RW": True, "Options": {"Subpath": "s"}},
        {"Type": "bind", "Destination": "/a", "Source": "/h", "RW": False, "Options": {"NonRecursive": True}},
        {"Type": "tmpfs", "Destination": "/t", "Source": "", "RW": True, "Options": {}},
        {"Type": "volume", "Destination": "/hidden", "Source": "/v/2", "RW": True, "Options": {}},
        {"Type": "bind", "Destination": "/etc/hosts", "Source": "/mine", "RW": True, "Options": {}},
    ]
    made = container(
        mounts=points, host_config={"Tmpfs": {"/hidden": ""}}, hosts_path="/c/hosts", hostname_path="/c/n"
    )
    found = {mount["destination"]: mount for mount in filesystem.mounts(made)}
    assert list(found) == ["/a", "/a/b", "/etc/hosts", "/etc/hostname"]  # parents first
    assert found["/a"]["writable"] is False and found["/a"]["recursive"] is False
    assert found["/a/b"]["subpath"] == "s" and found["/etc/hosts"]["source"] == "/mine"
    inner = [point["destination"] for point in filesystem.volumes(made)]
    assert inner.index("/a/b") < inner.index("/a")  # the innermost decides


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", ""), ("gzip", "gzip"), ("deflate", "deflate"), ("gzip, deflate", "gzip"), ("*", "gzip"),
        ("gzip;q=0.1, deflate;q=0.5", "deflate"), ("gzip;q=0", ""), ("br", ""), ("GZIP", "gzip"),
        ("gzip;q=nonsense", ""), ("identity", ""),
    ],
)  # fmt: skip
def test_the_encoding_that_a_client_likes(accepted: str, chosen: str) -> None:
    assert content_encoding(accepted) == chosen
