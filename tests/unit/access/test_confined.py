"""no-privileged, no-host-paths, no-host-namespaces: every way round that we know of."""

from typing import Any

import pytest

from compatd.config.access import LIMITS, NO_HOST_NAMESPACES, NO_HOST_PATHS, NO_PRIVILEGED, OWN
from tests.unit.access.world import CONFINED, create, refused

EACH = [{NO_PRIVILEGED}, {NO_HOST_PATHS}, {NO_HOST_NAMESPACES}, CONFINED]
OWN_TOO = [*EACH, {OWN}]  # with the host's files one has everybody's containers


def mount(**fields: Any) -> dict[str, Any]:
    return {"Mounts": [{"Type": "volume", "Target": "/x", **fields}]}


def options(**fields: str) -> dict[str, Any]:
    return mount(VolumeOptions={"DriverConfig": {"Name": "local", "Options": fields}})


BEYOND: list[tuple[dict[str, Any], str]] = [
    ({"Privileged": True}, "privileged containers"),
    ({"CapAdd": ["SYS_ADMIN"]}, "capability SYS_ADMIN"),
    ({"CapAdd": ["cap_sys_ptrace"]}, "capability cap_sys_ptrace"),
    ({"CapAdd": ["ALL"]}, "capability ALL"),
    ({"Devices": [{"PathOnHost": "/dev/sda"}]}, "devices"),
    ({"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["x=y"]}]}, "devices"),
    ({"DeviceCgroupRules": ["b *:* rwm"]}, "rules for devices"),
    ({"SecurityOpt": ["seccomp=unconfined"]}, "security option seccomp"),
    ({"SecurityOpt": ["seccomp={}"]}, "security option seccomp"),
    ({"SecurityOpt": ["apparmor=unconfined"]}, "security option apparmor"),
    ({"SecurityOpt": ["systempaths=unconfined"]}, "security option systempaths"),
    ({"SecurityOpt": ["label=disable"]}, "security option label"),
    ({"SecurityOpt": ["no-new-privileges=false"]}, "security option no-new-privileges"),
    ({"MaskedPaths": []}, "paths of /proc and /sys"),
    ({"MaskedPaths": ["/proc/kcore"]}, "paths of /proc and /sys"),
    ({"ReadonlyPaths": []}, "paths of /proc and /sys"),
    ({"Runtime": "runc"}, "runtime runc"),
    ({"CgroupParent": "/"}, "a parent cgroup"),
    ({"Annotations": {"run.oci.keep_original_groups": "1"}}, "annotations"),
    ({"CpuRealtimeRuntime": 1000}, "real-time"),
    ({"OomScoreAdj": -900}, "OOM score"),
    ({"Binds": ["/:/host"]}, "host paths"),
    ({"Binds": ["/var/run/docker.sock:/s:ro"]}, "host paths"),
    ({"Binds": ["~/x:/host"]}, "host paths"),
    ({"Binds": ["grants:/host"]}, "something of the host's"),
    ({"Mounts": [{"Type": "bind", "Source": "/", "Target": "/x"}]}, "host paths"),
    ({"Mounts": [{"Type": "npipe", "Source": "/", "Target": "/x"}]}, "host paths"),
    (mount(Source="grants"), "something of the host's"),
    (mount(Source="programs"), "has more than is allowed: privileged"),
    ({"Binds": ["programs:/x"]}, "has more than is allowed: privileged"),
    (options(type="none", o="bind", device="/"), "something of the host's"),
    (options(o="bind", device="/etc"), "something of the host's"),
    (options(type="overlay", device="overlay", o="lowerdir=/etc"), "something of the host's"),
    (options(type="ext4", device="/dev/sda1"), "something of the host's"),
    (options(type="tmpfs", device="/dev/sda1"), "something of the host's"),
    (mount(VolumeOptions={"DriverConfig": {"Name": "plugin"}}), "volume drivers other than local"),
    ({"VolumeDriver": "plugin"}, "volume drivers other than local"),
    ({"VolumesFrom": ["bound"]}, "has more than is allowed: host paths"),
    ({"VolumesFrom": ["volumed:ro"]}, "has more than is allowed"),
    ({"PidMode": "host"}, "process namespace"),
    ({"IpcMode": "host"}, "IPC namespace"),
    ({"UsernsMode": "host"}, "user namespace"),
    ({"PidMode": "container:privileged"}, "has more than is allowed: privileged"),
    ({"IpcMode": "container:bound"}, "has more than is allowed: host paths"),
    ({"NetworkMode": "container:privileged"}, "has more than is allowed: privileged"),
    (
        {"LogConfig": {"Type": "fluentd", "Config": {"fluentd-address": "unix:///run/docker.sock"}}},
        "log option",
    ),
    ({"LogConfig": {"Type": "syslog", "Config": {"syslog-tls-ca-cert": "/etc/shadow"}}}, "log option"),
]


@pytest.mark.parametrize("limits", OWN_TOO, ids=lambda limits: "+".join(sorted(limits)))
@pytest.mark.parametrize(("host", "text"), BEYOND, ids=lambda value: str(value)[:50])
def test_what_goes_beyond(limits: set[str], host: dict[str, Any], text: str) -> None:
    assert text in create(limits, **host)
    assert create((), **host) == ""


@pytest.mark.parametrize(
    "host",
    [
        {"NetworkMode": "host"},
        {"NetworkMode": "h" * 64},
        {"UTSMode": "host"},
        {"CgroupnsMode": "host"},
        {"NetworkMode": "container:net-host"},
        {"NetworkMode": "container:joins"},
    ],
    ids=str,
)
def test_the_host_s_other_namespaces(host: dict[str, Any]) -> None:
    assert "namespace is not allowed" in create({NO_HOST_NAMESPACES}, **host)
    assert create({NO_PRIVILEGED}, **host) == ""


def test_old_clients_do_not_get_the_host_s_cgroup_namespace() -> None:
    body: dict[str, Any] = {"Image": "x"}
    assert refused(CONFINED, "ContainerCreate", body) == ""
    assert body["HostConfig"] == {"CgroupnsMode": "private"}


WITHIN: list[dict[str, Any]] = [
    {},
    {"CapAdd": ["CHOWN", "CAP_NET_RAW"], "CapDrop": ["ALL"]},
    {"SecurityOpt": ["no-new-privileges"], "ReadonlyRootfs": True},
    {"Binds": ["mine:/x", "new:/y:ro", "shared:/z", "/anonymous"]},
    mount(Source="mine"),
    mount(),
    options(type="tmpfs", device="tmpfs", o="size=1m"),
    {"Mounts": [{"Type": "tmpfs", "Target": "/x"}, {"Type": "image", "Source": "i", "Target": "/y"}]},
    {"MaskedPaths": ["/proc/kcore", "/proc/keys", "/proc/x"]},
    {"Runtime": "compatd", "NetworkMode": "bridge", "IpcMode": "private", "PidMode": ""},
    {"PidMode": "container:mine", "VolumesFrom": ["mine"], "Links": ["mine:x"]},
    {"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}, "PortBindings": {"80/tcp": []}},
]


@pytest.mark.parametrize("host", WITHIN, ids=lambda value: str(value)[:50])
def test_what_stays_within(host: dict[str, Any]) -> None:
    assert create(CONFINED, **host) == ""


@pytest.mark.parametrize(
    "operation",
    ["ContainerExec", "ContainerAttach", "ContainerAttachWebsocket", "PutContainerArchive",
     "ContainerArchive", "ContainerArchiveInfo", "ContainerStart", "ContainerRestart"],
)  # fmt: skip
@pytest.mark.parametrize("target", ["privileged", "bound", "volumed", "net-host"])
def test_containers_that_have_more_are_not_entered(operation: str, target: str) -> None:
    assert "has more than is allowed" in refused(CONFINED, operation, {"Cmd": ["sh"]}, target)
    assert refused(CONFINED, operation, {"Cmd": ["sh"]}, "mine") == ""


def test_commands() -> None:
    assert "privileged commands" in refused(CONFINED, "ContainerExec", {"Privileged": True}, "mine")
    assert "has more" in refused(CONFINED, "ExecStart", {}, "exec-privileged")
    assert refused(CONFINED, "ExecStart", {}, "exec-mine") == ""


def test_update() -> None:
    for body in ({"Devices": [{"PathOnHost": "/dev/sda"}]}, {"CgroupParent": "/x"}, {"CpuRealtimePeriod": 1}):
        assert "not allowed" in refused(CONFINED, "ContainerUpdate", body, "mine")
    assert refused(CONFINED, "ContainerUpdate", {"Memory": 1}, "mine") == ""


def test_build() -> None:
    assert "network namespace" in refused(CONFINED, "ImageBuild", networkmode="host")
    assert "network namespace" in refused(CONFINED, "ImageBuild", networkmode="h" * 64)
    assert "has more" in refused(CONFINED, "ImageBuild", networkmode="container:privileged")
    assert "parent cgroup" in refused(CONFINED, "ImageBuild", cgroupparent="/")
    assert refused(CONFINED, "ImageBuild", networkmode="default", version="2") == ""
    assert refused(CONFINED, "ImageBuild", networkmode="default", version="1") == ""


def test_volumes_and_networks() -> None:
    bound = {"Name": "x", "DriverOpts": {"type": "none", "o": "bind", "device": "/"}}
    assert "something of the host's" in refused(CONFINED, "VolumeCreate", bound)
    assert "volume drivers" in refused(CONFINED, "VolumeCreate", {"Driver": "plugin"})
    assert refused(CONFINED, "VolumeCreate", {"Name": "x"}) == ""
    for body in (
        {"Name": "n", "Driver": "macvlan", "Options": {"parent": "eth0"}},
        {"Name": "n", "Driver": "host"},
        {"Name": "n", "Options": {"com.docker.network.bridge.name": "docker0"}},
    ):
        assert "not allowed" in refused(CONFINED, "NetworkCreate", body)
    assert refused(CONFINED, "NetworkCreate", {"Name": "n", "Driver": "bridge"}) == ""
    connect = {"Container": "mine"}
    assert "network namespace" in refused(CONFINED, "NetworkConnect", connect, "host")
    assert refused(CONFINED, "NetworkConnect", connect, "mine") == ""


@pytest.mark.parametrize("operation", ["PluginPull", "PluginEnable", "ServiceCreate", "SwarmInit"])
@pytest.mark.parametrize("limit", LIMITS)
def test_what_reaches_the_machine_by_itself(operation: str, limit: str) -> None:
    assert refused({limit}, operation)
    assert refused((), operation) == ""
