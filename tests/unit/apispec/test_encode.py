"""What a current engine tells each API version, as key differences: recorded, then reduced to facts."""

from typing import Any

import pytest

from apispec import OPERATIONS, Version, gate
from apispec.encode import gate_of
from apispec.model import Field, MapOf, String, Struct

INSPECT = "ContainerInspect"
IMAGE = "ImageInspect"

CONTAINER: dict[str, Any] = {
    "Id": "0123456789abcdef" * 4,
    "ImageManifestDescriptor": {"size": 1},
    "Storage": {"RootFS": None},
    "Config": {"Hostname": "box", "MacAddress": "02:00:00:00:00:01"},
    "HostConfig": {"ConsoleSize": [0, 0], "Annotations": {"a": "b"}},
    "NetworkSettings": {
        "Ports": {},
        "Networks": {
            "bridge": {
                "IPAddress": "172.17.0.2",
                "Gateway": "172.17.0.1",
                "IPPrefixLen": 16,
                "Aliases": None,
            },
            "mine": {"Aliases": ["w"], "DNSNames": ["w"], "GwPriority": 0},
        },
    },
}
SUMMARY: dict[str, Any] = {
    "ImageManifestDescriptor": {"size": 1},
    "Health": {"Status": "none"},
    "HostConfig": {"NetworkMode": "none", "Annotations": {"a": "b"}},
}
IMAGE_SUMMARY: dict[str, Any] = {
    "Size": 7,
    "Containers": 2,
    "RepoTags": [],
    "RepoDigests": [],
    "Descriptor": {"size": 1},
}
IMAGE_INSPECT: dict[str, Any] = {
    "Size": 7,
    "Comment": "hello",
    "Config": {"Cmd": ["sh"]},
    "Descriptor": {"size": 1},
    "Manifests": [],
    "Identity": {},
}
INFO: dict[str, Any] = {
    "Runtimes": {"runc": {"path": "runc", "status": {}}},
    "Containerd": {},
    "FirewallBackend": {},
    "DiscoveredDevices": [],
    "NRI": {},
    "RuncCommit": {"ID": "abc"},
    "RegistryConfig": {"Mirrors": []},
}
DF: dict[str, Any] = {
    "ImageUsage": {},
    "Images": [{"Size": 7, "Containers": 2, "Descriptor": {"size": 1}, "RepoTags": [], "RepoDigests": []}],
    "Containers": [{"Health": {"Status": "none"}}],
}
NEWEST: dict[str, Any] = {
    "ContainerInspect": CONTAINER,
    "ContainerList": [SUMMARY],
    "ImageList": [IMAGE_SUMMARY],
    "ImageInspect": IMAGE_INSPECT,
    "SystemInfo": INFO,
    "SystemDataUsage": DF,
    "NetworkInspect": {"Id": "x", "Containers": {}, "Status": {"IPAM": {}}},
}
# operation, path of a key, first version that shows it, last version that shows it
RANGES = [
    ("ContainerInspect", "ImageManifestDescriptor", "1.48", ""),
    ("ContainerInspect", "Storage", "1.52", ""),
    ("ContainerInspect", "Config.MacAddress", "", "1.51"),
    ("ContainerInspect", "NetworkSettings.IPAddress", "", "1.51"),
    ("ContainerInspect", "NetworkSettings.Gateway", "", "1.51"),
    ("ContainerInspect", "NetworkSettings.Networks.mine.DNSNames", "", ""),
    ("ContainerInspect", "NetworkSettings.Networks.mine.GwPriority", "", ""),
    ("ContainerInspect", "HostConfig.ConsoleSize", "", ""),
    ("ContainerList", "0.ImageManifestDescriptor", "1.48", ""),
    ("ContainerList", "0.Health", "1.52", ""),
    ("ContainerList", "0.HostConfig.Annotations", "1.46", ""),
    ("ContainerList", "0.HostConfig.NetworkMode", "", ""),
    ("ImageList", "0.VirtualSize", "", "1.43"),
    ("ImageList", "0.Descriptor", "1.48", ""),
    ("ImageInspect", "VirtualSize", "", "1.43"),
    ("ImageInspect", "Container", "", "1.44"),
    ("ImageInspect", "ContainerConfig", "", "1.44"),
    ("ImageInspect", "Descriptor", "1.48", ""),
    ("ImageInspect", "Identity", "1.53", ""),
    ("ImageInspect", "Config.Hostname", "", "1.49"),
    ("ImageInspect", "Config.Tty", "", "1.49"),
    ("ImageInspect", "Config.Env", "", "1.51"),
    ("ImageInspect", "Config.Cmd", "", ""),
    ("ImageInspect", "Parent", "", "1.51"),
    ("ImageInspect", "DockerVersion", "", "1.51"),
    ("ImageInspect", "Author", "", "1.51"),
    ("ImageInspect", "Comment", "", ""),
    ("SystemInfo", "Runtimes.runc.status", "1.44", ""),
    ("SystemInfo", "Containerd", "1.46", ""),
    ("SystemInfo", "RegistryConfig.AllowNondistributableArtifactsCIDRs", "", "1.46"),
    ("SystemInfo", "FirewallBackend", "1.49", ""),
    ("SystemInfo", "RuncCommit.Expected", "", "1.48"),
    ("SystemInfo", "DiscoveredDevices", "1.50", ""),
    ("SystemInfo", "BridgeNfIptables", "", "1.49"),
    ("SystemInfo", "NRI", "1.53", ""),
    ("SystemDataUsage", "ImageUsage", "1.52", ""),
    ("SystemDataUsage", "Images", "", ""),
    ("SystemDataUsage", "Images.0.VirtualSize", "", "1.43"),
    ("SystemDataUsage", "Images.0.Descriptor", "", ""),
    ("SystemDataUsage", "Containers.0.Health", "", ""),
    ("NetworkInspect", "Status", "1.52", ""),
    ("NetworkInspect", "Containers", "", ""),
]


def shown(operation: str, version: str) -> Any:
    return gate(OPERATIONS[operation], NEWEST[operation], Version(version))


def has(value: Any, path: str) -> bool:
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)]
        elif part in value:
            value = value[part]
        else:
            return False
    return True


@pytest.mark.parametrize(("operation", "path", "first", "last"), RANGES)
def test_keys_come_and_go(operation: str, path: str, first: str, last: str) -> None:
    for minor in range(24, 57):
        version = Version(f"1.{minor}")
        known = (not first or version >= first) and (not last or version <= last)
        assert has(shown(operation, version.text), path) is known, version


def test_values_put_back_for_older_clients() -> None:
    image = shown("ImageInspect", "1.40")
    assert image["VirtualSize"] == 7
    assert image["Comment"] == "hello"
    assert image["Config"]["Cmd"] == ["sh"]
    assert image["Config"]["Volumes"] is None
    assert image["ContainerConfig"] is None
    assert shown("SystemInfo", "1.40")["RuncCommit"] == {"ID": "abc", "Expected": "abc"}
    assert shown("ContainerInspect", "1.51")["NetworkSettings"]["IPPrefixLen"] == 16


def test_images_were_not_counted_and_had_made_up_names() -> None:
    assert shown("ImageList", "1.51")[0]["Containers"] == 2
    assert shown("ImageList", "1.50")[0]["Containers"] == -1
    assert shown("ImageList", "1.43")[0]["RepoTags"] == []
    assert shown("ImageList", "1.42")[0]["RepoTags"] == ["<none>:<none>"]
    assert shown("ImageList", "1.42")[0]["RepoDigests"] == ["<none>@<none>"]
    assert shown("SystemDataUsage", "1.40")["Images"][0]["Containers"] == 2


def test_security_options_were_words() -> None:
    value = {"SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"]}
    answer = OPERATIONS["SystemInfo"]
    old = gate(answer, dict(value), Version("1.24"))
    assert old["SecurityOptions"] == ["seccomp", "cgroupns"] and old["ExecutionDriver"] == "<not supported>"
    assert gate(answer, dict(value), Version("1.25"))["SecurityOptions"] == value["SecurityOptions"]


def test_aliases_held_the_short_id() -> None:
    networks = shown("ContainerInspect", "1.44")["NetworkSettings"]["Networks"]
    assert networks["mine"]["Aliases"] == ["w", "0123456789ab", "box"]
    assert networks["bridge"]["Aliases"] is None
    assert shown("ContainerInspect", "1.45")["NetworkSettings"]["Networks"]["mine"]["Aliases"] == ["w"]


def test_no_bridge_no_address_one_level_up() -> None:
    container: dict[str, Any] = {"NetworkSettings": {"Networks": {"mine": {}}}}
    settings = gate(OPERATIONS["ContainerInspect"], container, Version("1.51"))["NetworkSettings"]
    assert "IPAddress" not in settings


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("container", {"status": "die", "id": "c1", "from": "busybox"}),
        ("image", {"status": "die", "id": "c1"}),
        ("network", {}),
    ],
)
def test_events(kind: str, more: dict[str, str]) -> None:
    event = {"Type": kind, "Action": "die", "Actor": {"ID": "c1", "Attributes": {"image": "busybox"}}}
    operation = OPERATIONS["SystemEvents"]
    assert gate(operation, event, Version("1.51")) == {**event, **more}
    assert gate(operation, event, Version("1.52")) is event


def test_what_does_not_differ_is_the_same_object() -> None:
    for operation, value in NEWEST.items():
        if operation != "ContainerInspect":  # it still has Config.MacAddress for older clients
            assert gate(OPERATIONS[operation], value) is value
    volume = {"Name": "x"}
    assert gate(OPERATIONS["VolumeInspect"], volume, Version("1.24")) is volume
    assert gate(OPERATIONS["ContainerStart"], volume) is volume
    assert gate_of(OPERATIONS["ContainerList"].answer, Version("1.52")) is None


def test_the_value_itself_is_never_changed() -> None:
    before = repr(NEWEST)
    for minor in range(24, 57):
        for operation in NEWEST:
            shown(operation, f"1.{minor}")
    assert repr(NEWEST) == before


def test_nothing_inside_is_nothing_outside() -> None:
    inner = Struct("x.Inner", Young=Field(String, since="1.50"))
    outer = Struct("x.Outer", One=inner, Many=MapOf(inner))
    value = {"One": None, "Many": {"a": None, "b": {"Young": "x"}}}
    assert gate(outer, value, Version("1.40")) == {"One": None, "Many": {"a": None, "b": {}}}
    assert gate(outer, None, Version("1.40")) is None
