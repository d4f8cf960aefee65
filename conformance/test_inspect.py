"""inspect: the shape of a container's description, and how it differs between API versions."""

from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine, version
from conformance.until import until

INSPECT = "ContainerInspect"
# What every engine from 20.10 on says of a container, whatever the version asked for.
TOP = {
    "Id", "Created", "Path", "Args", "State", "Image", "ResolvConfPath", "HostnamePath", "HostsPath",
    "LogPath", "Name", "RestartCount", "Driver", "Platform", "MountLabel", "ProcessLabel",
    "AppArmorProfile", "ExecIDs", "HostConfig", "Mounts", "Config", "NetworkSettings",
}  # fmt: skip
STATE = {
    "Status", "Running", "Paused", "Restarting", "OOMKilled", "Dead", "Pid", "ExitCode", "Error",
    "StartedAt", "FinishedAt",
}  # fmt: skip
HOST = {
    "Binds", "ContainerIDFile", "LogConfig", "NetworkMode", "PortBindings", "RestartPolicy", "AutoRemove",
    "VolumeDriver", "VolumesFrom", "CapAdd", "CapDrop", "CgroupnsMode", "Dns", "DnsOptions", "DnsSearch",
    "ExtraHosts", "GroupAdd", "IpcMode", "Cgroup", "Links", "OomScoreAdj", "PidMode", "Privileged",
    "PublishAllPorts", "ReadonlyRootfs", "SecurityOpt", "UTSMode", "UsernsMode", "ShmSize", "Runtime",
    "ConsoleSize", "Isolation", "CpuShares", "Memory", "NanoCpus", "CgroupParent", "BlkioWeight",
    "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps", "CpuPeriod", "CpuQuota", "CpuRealtimePeriod", "CpuRealtimeRuntime",
    "CpusetCpus", "CpusetMems", "Devices", "DeviceCgroupRules", "DeviceRequests", "MemoryReservation",
    "MemorySwap", "MemorySwappiness", "OomKillDisable", "PidsLimit", "Ulimits", "CpuCount", "CpuPercent",
    "IOMaximumIOps", "IOMaximumBandwidth", "MaskedPaths", "ReadonlyPaths",
}  # fmt: skip
CONFIG = {
    "Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin",
    "StdinOnce", "Env", "Cmd", "Image", "Volumes", "WorkingDir", "Entrypoint", "Labels",
}  # fmt: skip
ENDPOINT = {
    "IPAMConfig", "Links", "Aliases", "NetworkID", "EndpointID", "Gateway", "IPAddress", "IPPrefixLen",
    "IPv6Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "MacAddress", "DriverOpts",
}  # fmt: skip
VERSIONS = ("1.24", "1.30", "1.40", "1.41", "1.43", "1.44", "1.47", "1.52", "1.56")


def supported(engine: Engine, api: str) -> None:
    if not version(engine.min_api) <= version(api) <= version(engine.api):
        pytest.skip(f"this engine serves API {engine.min_api} to {engine.api}")


@pytest.mark.operation(INSPECT)
@pytest.mark.parametrize("api", VERSIONS)
def test_shape_by_version(engine: Engine, box: str, api: str) -> None:
    supported(engine, api)
    found = engine.inspect(box, version=api)
    assert not TOP - set(found)
    assert not STATE - set(found["State"])
    assert not HOST - set(found["HostConfig"])
    assert not CONFIG - set(found["Config"])
    (endpoint,) = found["NetworkSettings"]["Networks"].values()
    assert not ENDPOINT - set(endpoint)
    # Engines with containerd's image store say Storage instead, from 1.52 on.
    assert "GraphDriver" in found or (version(api) >= version("1.52") and "Storage" in found)
    assert ("SizeRw" in found) is False


@pytest.mark.operation(INSPECT)
@pytest.mark.since("1.52")
def test_addresses_at_the_top_end_with_1_52(engine: Engine, box: str) -> None:
    old = engine.inspect(box, version="1.51")["NetworkSettings"]
    new = engine.inspect(box, version="1.52")["NetworkSettings"]
    assert old["IPAddress"] == old["Networks"]["bridge"]["IPAddress"] != ""
    assert "IPAddress" not in new


@pytest.mark.operation(INSPECT)
@pytest.mark.since("1.44")
def test_mac_address_in_the_configuration(engine: Engine) -> None:
    """The field moved to the endpoint with 1.44; older clients still see it."""
    mac = "02:42:ac:11:99:99"
    body = {"Image": engine.image, "MacAddress": mac}
    container = engine.wire.post("/containers/create", body, status=201, version="1.43").json()["Id"]
    assert engine.inspect(container, version="1.43")["Config"]["MacAddress"] == mac


@pytest.mark.operation(INSPECT)
def test_values(engine: Engine) -> None:
    name = engine.name()
    container = engine.run(
        "sleep", "1000", name=name, Env=["A=1"], Labels={"k": "v"}, WorkingDir="/tmp", User="user"
    )
    found = engine.inspect(container)
    assert found["Id"] == container and found["Name"] == "/" + name
    assert (found["Path"], found["Args"]) == ("sleep", ["1000"])
    assert found["Image"] == engine.base().id
    assert found["Platform"] == "linux" and found["Driver"] == engine.info["Driver"]
    config = found["Config"]
    assert (config["Image"], config["User"], config["WorkingDir"]) == (engine.image, "user", "/tmp")
    assert (config["Cmd"], config["Entrypoint"]) == (["sleep", "1000"], None)
    assert config["Env"] == ["A=1", engine.base().config["Env"][0]]
    assert config["Labels"] == {**engine.labels, "k": "v"}
    assert config["Hostname"] == container[:12]
    host = found["HostConfig"]
    assert host["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert host["RestartPolicy"] == {"Name": host["RestartPolicy"]["Name"], "MaximumRetryCount": 0}
    assert host["RestartPolicy"]["Name"] in {"no", ""}
    assert host["NetworkMode"] in {"default", "bridge"}
    assert host["Runtime"] == engine.info["DefaultRuntime"]
    assert (host["IpcMode"], host["ShmSize"]) == ("private", 64 << 20)
    assert (host["Privileged"], host["ReadonlyRootfs"], host["AutoRemove"]) == (False, False, False)
    assert found["LogPath"].endswith(f"/containers/{container}/{container}-json.log")
    assert found["HostsPath"].endswith(f"/containers/{container}/hosts")
    assert found["Created"].endswith("Z") and found["State"]["StartedAt"] >= found["Created"][:19]
    network = found["NetworkSettings"]
    assert len(network["SandboxID"]) == 64 and network["SandboxKey"]
    assert network["Ports"] == {}


@pytest.mark.operation(INSPECT)
def test_by_every_name(engine: Engine, box: str) -> None:
    name = engine.inspect(box)["Name"][1:]
    for reference in (box, box[:12], box[:20], name):
        assert engine.inspect(reference)["Id"] == box
    answer = engine.wire.request("GET", "/containers/no-such/json")
    assert (answer.status, answer.message) == (404, "No such container: no-such")


@pytest.mark.operation(INSPECT)
def test_size(engine: Engine) -> None:
    container = engine.run("sh", "-c", "head -c 100000 /dev/zero >/f; sleep 1000")
    until(lambda: engine.inspect(container, size=True)["SizeRw"] >= 100_000)
    assert engine.inspect(container, size=True)["SizeRootFs"] > 1_000_000
    assert "SizeRw" not in engine.inspect(container)


@pytest.mark.operation(INSPECT)
def test_mounts(engine: Engine, tmp_path: Any) -> None:
    volume = engine.name("vol")
    host = {"Binds": [f"{tmp_path}:/bind:ro", f"{volume}:/vol"], "Tmpfs": {"/t": "size=1m"}}
    found = engine.inspect(engine.create("true", host=host))
    mounts = {m["Destination"]: m for m in found["Mounts"]}
    assert set(mounts) == {"/bind", "/vol"}
    bind, vol = mounts["/bind"], mounts["/vol"]
    assert (bind["Type"], bind["Source"], bind["Mode"], bind["RW"], bind["Propagation"]) == (
        "bind",
        str(tmp_path),
        "ro",
        False,
        "rprivate",
    )
    assert (vol["Type"], vol["Name"], vol["Driver"], vol["RW"]) == ("volume", volume, "local", True)
    assert vol["Source"].endswith(f"/volumes/{volume}/_data")
    assert found["HostConfig"]["Binds"] == host["Binds"]
    assert found["HostConfig"]["Tmpfs"] == {"/t": "size=1m"}


@pytest.mark.operation(INSPECT)
def test_host_config_survives(engine: Engine) -> None:
    given = {
        "CapAdd": ["NET_ADMIN"],
        "CapDrop": ["MKNOD"],
        "Dns": ["192.0.2.1"],
        "DnsSearch": ["example.org"],
        "ExtraHosts": ["a:192.0.2.2"],
        "GroupAdd": ["7"],
        "ReadonlyRootfs": True,
        "SecurityOpt": ["no-new-privileges"],
        "Sysctls": {"net.ipv4.ip_forward": "1"},
        "Init": True,
        "AutoRemove": True,
        "PublishAllPorts": True,
    }
    found = engine.inspect(engine.create("true", host=given))["HostConfig"]
    normal = {key: [c.removeprefix("CAP_") for c in found[key]] for key in ("CapAdd", "CapDrop")}
    assert {**{key: found[key] for key in given}, **normal} == given


@pytest.mark.operation(INSPECT)
def test_by_cli(engine: Engine, cli: Cli, box: str) -> None:
    assert cli.text("inspect", "-f", "{{.Id}} {{.State.Status}}", box) == f"{box} running"
    assert cli.text("inspect", "-f", "{{json .Config.Cmd}}", box) == '["sleep","100000"]'
    assert cli.text("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", box).count(".") == 3
    failed = cli("inspect", "--type", "container", "no-such", check=False)
    assert (failed.code, failed.out, "o such container: no-such" in failed.err) == (1, "[]\n", True)


@pytest.mark.operation(INSPECT, "ImageInspect", "NetworkInspect", "VolumeInspect", "PluginInspect")
def test_of_any_kind_by_cli(engine: Engine, cli: Cli) -> None:
    """Without a kind the command line asks for all of them in turn."""
    assert cli.text("inspect", "-f", "{{.Id}}", engine.image) == engine.base().id
    assert cli.text("inspect", "-f", "{{.Driver}}", "host") == "host"
    failed = cli("inspect", "no-such", check=False)
    assert (failed.code, failed.out, "o such object: no-such" in failed.err) == (1, "[]\n", True)
    answer = engine.wire.request("GET", "/plugins/no-such/json")
    assert (answer.status, answer.message) == (404, 'plugin "no-such" not found')


@pytest.mark.operation("ContainerTop")
def test_top(engine: Engine, cli: Cli) -> None:
    container = engine.sleeper()

    def top() -> dict[str, str]:
        found = engine.wire.get(f"/containers/{container}/top")
        (process,) = found["Processes"]
        return dict(zip(found["Titles"], process, strict=True))

    # While the kernel replaces the program, ps may show its name instead of its arguments.
    until(lambda: top()["CMD"] == "sleep 1000")
    values = top()
    assert int(values["PID"]) == engine.state(container)["Pid"]
    lines = cli.text("top", container, "-eo", "pid,comm").splitlines()
    assert lines[0].split() == ["PID", "COMMAND"] and lines[1].split() == [values["PID"], "sleep"]
    answer = engine.wire.request("GET", f"/containers/{engine.create('true')}/top")
    assert (answer.status, "is not running" in answer.message) == (409, True)


@pytest.mark.operation("ContainerChanges")
def test_changes(engine: Engine) -> None:
    done = engine.sh("echo x >/new; rm /etc/group; echo y >>/etc/passwd")
    found = {(c["Kind"], c["Path"]) for c in engine.wire.get(f"/containers/{done.id}/changes")}
    assert found == {(1, "/new"), (0, "/etc"), (2, "/etc/group"), (0, "/etc/passwd")}
