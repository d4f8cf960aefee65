"""own: what others have made is not there."""

import pytest

from compatd.access.facts import Container
from compatd.access.policy import Policy, Refused, Request
from compatd.config.access import OWN
from tests.unit.access.world import IDS, ME, World, create, refused

BY_CONTAINER = [
    "ContainerInspect", "ContainerTop", "ContainerLogs", "ContainerChanges", "ContainerExport",
    "ContainerStats", "ContainerResize", "ContainerStart", "ContainerStop", "ContainerRestart",
    "ContainerKill", "ContainerUpdate", "ContainerRename", "ContainerPause", "ContainerUnpause",
    "ContainerAttach", "ContainerAttachWebsocket", "ContainerWait", "ContainerArchiveInfo",
    "ContainerArchive", "PutContainerArchive", "ContainerDelete", "ContainerExec",
]  # fmt: skip


@pytest.mark.parametrize("operation", BY_CONTAINER)
def test_containers_of_others(operation: str) -> None:
    assert refused({OWN}, operation, {}, "others") == "404: No such container: others"
    assert refused({OWN}, operation, {}, IDS["others"]).startswith("404: No such container")
    assert refused({OWN}, operation, {}, "mine") == ""
    assert refused({OWN}, operation, {}, "unknown") == ""


def test_a_name_is_pinned() -> None:
    path = {"id": "mine"}
    Policy(frozenset({OWN}), ME, World()).check(Request("ContainerStop", path, {}))
    assert path["id"] == IDS["mine"]
    for given, pinned in (
        ("container:mine", f"container:{IDS['mine']}"),
        ("mine", "m" * 64),
        ("bridge", "bridge"),
        ("", ""),
    ):
        query = {"networkmode": given}
        Policy(frozenset({OWN}), ME, World()).check(Request("ImageBuild", {}, query))
        assert query["networkmode"] == pinned
    body = {"HostConfig": {"PidMode": "container:mine", "NetworkMode": "bridge"}}
    Policy(frozenset({OWN}), ME, World()).check(Request("ContainerCreate", {}, {}, body))
    assert body["HostConfig"] == {"PidMode": f"container:{IDS['mine']}", "NetworkMode": "bridge"}


@pytest.mark.parametrize("operation", ["ExecStart", "ExecResize", "ExecInspect"])
def test_commands_in_containers_of_others(operation: str) -> None:
    assert refused({OWN}, operation, {}, "exec-others") == "404: No such exec instance: exec-others"
    assert refused({OWN}, operation, {}, "exec-mine") == ""


def test_ways_round_by_create() -> None:
    for host in (
        {"VolumesFrom": ["others"]},
        {"VolumesFrom": [f"{IDS['others']}:ro"]},
        {"NetworkMode": "container:others"},
        {"PidMode": f"container:{IDS['others']}"},
        {"IpcMode": "container:others"},
        {"Links": ["others:x"]},
        {"Links": ["/others:/mine/x"]},
    ):
        assert create({OWN}, **host).startswith("404: No such container"), host
    for host in (
        {"Binds": ["others:/x"]},
        {"Binds": ["nobodys:/x"]},
        {"Mounts": [{"Type": "volume", "Source": "others", "Target": "/x"}]},
    ):
        assert create({OWN}, **host).startswith("404: get "), host
    assert create({OWN}, NetworkMode="others") == "404: network others not found"
    assert create({OWN}, NetworkMode="mine", Binds=["mine:/x", "new:/y", "shared:/z"]) == ""
    body = {"NetworkingConfig": {"EndpointsConfig": {"others": {}}}}
    assert refused({OWN}, "ContainerCreate", body) == "404: network others not found"
    body = {"NetworkingConfig": {"EndpointsConfig": {"mine": {"Links": ["others:x"]}}}}
    assert refused({OWN}, "ContainerCreate", body).startswith("404: No such container")


def test_other_ways_round() -> None:
    assert refused({OWN}, "ImageCommit", {}, container="others").startswith("404: No such container")
    assert refused({OWN}, "ImageBuild", networkmode="container:others").startswith("404: No such container")
    assert refused({OWN}, "ImageBuild", networkmode="others").startswith("404: network")
    for operation in ("NetworkConnect", "NetworkDisconnect"):
        assert refused({OWN}, operation, {"Container": "others"}, "mine").startswith("404: No such container")
        assert refused({OWN}, operation, {"Container": "mine"}, "others").startswith("404: network")
        assert refused({OWN}, operation, {"Container": "mine"}, "bridge") == ""
    assert refused({OWN}, "NetworkDelete", None, "others").startswith("404: network")
    assert "everybody's" in refused({OWN}, "NetworkDelete", None, "bridge")
    assert refused({OWN}, "VolumeDelete", None, "others").startswith("404: get others")
    assert refused({OWN}, "VolumeInspect", None, "others").startswith("404: get others")
    assert refused({OWN}, "VolumeCreate", {"Name": "others"}).startswith("404: get others")
    assert refused({OWN}, "NetworkCreate", {"Name": "n", "ConfigFrom": {"Network": "others"}}).startswith(
        "404"
    )
    for operation in ("ContainerPrune", "VolumePrune", "NetworkPrune", "ImagePrune"):
        assert "everybody's" in refused({OWN}, operation)


def test_what_is_behind_a_name_is_looked_at_again_at_start() -> None:
    """The network, container or volume of a stopped container was removed, and another made by its name."""
    for host, networks, volumes in (
        ({"NetworkMode": "others"}, (), ()),
        ({"NetworkMode": "bridge"}, ("others",), ()),
        ({"PidMode": "container:others"}, (), ()),
        ({"Links": ["/others:/mine/x"]}, (), ()),
        ({}, (), ("others",)),
    ):
        world = World()
        world.containers["old"] = Container("a" * 64, host, networks, volumes, ME)
        for operation in ("ContainerStart", "ContainerRestart"):
            with pytest.raises(Refused):
                Policy(frozenset({OWN}), ME, world).check(Request(operation, {"id": "old"}, {}))
