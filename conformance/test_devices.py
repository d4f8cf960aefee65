"""Devices and the resource fields of HostConfig, as the kernel has them afterwards."""

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.limits import cgroup_file
from conformance.test_events import now, past
from conformance.until import until

START = ("ContainerCreate", "ContainerStart")
MB = 1 << 20


def create(engine: Engine, host: dict[str, Any]) -> Any:
    body = {"Image": engine.image, "Cmd": ["true"], "HostConfig": host}
    return engine.wire.request("POST", "/containers/create", body)


def start_error(engine: Engine, host: dict[str, Any]) -> tuple[int, str]:
    answer = engine.wire.request("POST", f"/containers/{engine.create('true', host=host)}/start")
    return answer.status, answer.message


def block_device() -> tuple[str, str]:
    """A disk of this machine (which is the engine's, as the marker `local` says): (node, `major:minor`)."""
    for entry in sorted(Path("/sys/block").iterdir()):
        node = Path("/dev") / entry.name
        if node.exists() and stat.S_ISBLK(node.stat().st_mode):
            return str(node), f"{os.major(node.stat().st_rdev)}:{os.minor(node.stat().st_rdev)}"
    pytest.skip("this machine shows no block device")


def character_device() -> tuple[str, int, int]:
    """One of this machine's that no container may use by itself, and that a program may open at will."""
    for node in ("/dev/loop-control", "/dev/fuse", "/dev/hwrng"):
        with contextlib.suppress(OSError):
            os.close(os.open(node, os.O_RDWR))
            device = os.stat(node).st_rdev
            return node, os.major(device), os.minor(device)
    pytest.skip("this machine has no such device")


@pytest.mark.operation(*START)
@pytest.mark.parametrize(
    ("host", "controller", "file", "value"),
    [
        ({"Memory": 32 * MB, "MemorySwap": 48 * MB}, "memory", "memory.memsw.limit_in_bytes", 48 * MB),
        ({"Memory": 32 * MB}, "memory", "memory.memsw.limit_in_bytes", 64 * MB),
        ({"MemorySwappiness": 13}, "memory", "memory.swappiness", 13),
        ({"MemorySwappiness": 0}, "memory", "memory.swappiness", 0),
        ({"CpuPeriod": 50_000}, "cpu", "cpu.cfs_period_us", 50_000),
        ({"CpuShares": 300}, "cpu", "cpu.shares", 300),
        ({"CpusetMems": "0"}, "cpuset", "cpuset.mems", 0),
        ({"PidsLimit": 77}, "pids", "pids.max", 77),
    ],
)
def test_limits(engine: Engine, host: dict[str, Any], controller: str, file: str, value: int) -> None:
    if engine.info["CgroupVersion"] != "1":
        pytest.skip("files of cgroup v1")
    path = cgroup_file(engine, controller, file, "")
    assert engine.ended("cat", path, host=host).out == f"{value}\n"


@pytest.mark.operation(*START)
def test_unlimited_swap(engine: Engine) -> None:
    path = cgroup_file(engine, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max")
    out = engine.ended("cat", path, host={"Memory": 32 * MB, "MemorySwap": -1}).out.strip()
    assert out == "max" or int(out) > 1 << 60


@pytest.mark.operation(*START)
def test_oom_kill_disable(engine: Engine) -> None:
    if not engine.info["OomKillDisable"]:
        pytest.skip("this kernel cannot")
    host = {"OomKillDisable": True, "Memory": 32 * MB}
    assert create(engine, host).json()["Warnings"] == []
    path = "/sys/fs/cgroup/memory/memory.oom_control"
    assert "oom_kill_disable 1\n" in engine.ended("cat", path, host=host).out
    (warning,) = create(engine, {"OomKillDisable": True}).json()["Warnings"]
    assert warning.startswith("OOM killer is disabled for the container, but no memory limit is set")


@pytest.mark.operation("ContainerCreate")
@pytest.mark.parametrize(
    ("host", "text"),
    [
        ({"Memory": -1}, "Minimum memory limit allowed is 6MB"),
        (
            {"MemorySwap": 64 * MB},
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        ({"MemoryReservation": 1000}, "Minimum memory reservation allowed is 6MB"),
        (
            {"Memory": 8 * MB, "MemoryReservation": 9 * MB},
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        ({"MemorySwappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
        (
            {"CpuPeriod": 10},
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        ({"CpuQuota": 10}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (
            {"NanoCpus": 10**8, "CpuQuota": 5000},
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        ({"OomScoreAdj": 1001}, "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
        ({"CpusetMems": "99"}, "Requested memory nodes are not available - requested 99, available: 0"),
    ],
)
def test_invalid(engine: Engine, host: dict[str, Any], text: str) -> None:
    answer = create(engine, host)
    assert (answer.status, answer.message) == (400, text)


@pytest.mark.operation("ContainerCreate")
def test_weights_where_the_kernel_has_none(engine: Engine) -> None:
    if engine.info["CgroupVersion"] != "1" or Path("/sys/fs/cgroup/blkio/blkio.weight").exists():
        pytest.skip("this kernel has weights")
    host = {"BlkioWeight": 300, "BlkioWeightDevice": [{"Path": "/dev/null", "Weight": 20}]}
    answer = create(engine, host).json()
    assert answer["Warnings"] == [
        "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
        "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. "
        "Weight-device discarded.",
    ]
    found = engine.inspect(answer["Id"])["HostConfig"]
    assert (found["BlkioWeight"], found["BlkioWeightDevice"]) == (0, [])


@pytest.mark.operation(*START)
@pytest.mark.local
@pytest.mark.parametrize(
    ("field", "file"),
    [
        ("BlkioDeviceReadBps", "read_bps_device"),
        ("BlkioDeviceWriteBps", "write_bps_device"),
        ("BlkioDeviceReadIOps", "read_iops_device"),
        ("BlkioDeviceWriteIOps", "write_iops_device"),
    ],
)
def test_throttled_devices(engine: Engine, field: str, file: str) -> None:
    node, numbers = block_device()
    if engine.info["CgroupVersion"] != "1":
        pytest.skip("files of cgroup v1")
    path = f"/sys/fs/cgroup/blkio/blkio.throttle.{file}"
    assert engine.ended("cat", path, host={field: [{"Path": node, "Rate": 4321}]}).out == f"{numbers} 4321\n"


@pytest.mark.operation(*START)
def test_throttling_what_is_no_disk(engine: Engine) -> None:
    status, text = start_error(engine, {"BlkioDeviceReadBps": [{"Path": "/dev/no-such", "Rate": 1}]})
    assert (status, text) == (500, "stat /dev/no-such: no such file or directory")
    if engine.info["CgroupVersion"] == "1":
        _, text = start_error(engine, {"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1}]})
        words = engine.words(
            runc="blkio.throttle.read_bps_device: no such device",
            crun="write `blkio.throttle.read_bps_device`: No such device",
        )
        assert words in text


@pytest.mark.operation(*START)
@pytest.mark.local
def test_cgroup_parent(engine: Engine) -> None:
    parent = f"/{engine.prefix}-parent"
    container = engine.sleeper(host={"CgroupParent": parent})
    groups = Path(f"/proc/{engine.state(container)['Pid']}/cgroup").read_text().splitlines()
    # In a new cgroup namespace (as an isolated engine has) paths are relative to its root.
    assert all(line.endswith(f"{parent}/{container}") for line in groups if ":memory:" in line or (line[:3] == "0::" and len(groups) == 1))  # fmt: skip # noqa: E501
    engine.remove(container)
    for root in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()):
        with contextlib.suppress(OSError):  # the engine leaves the parent, which may be others', too
            (root / parent.lstrip("/")).rmdir()


@pytest.mark.operation(*START)
@pytest.mark.local
def test_device_rules(engine: Engine, cli: Cli) -> None:
    """A rule lets a program use a node that it makes itself."""
    _, major, minor = character_device()
    script = f"mknod /k c {major} {minor} && : <>/k && echo opened"
    assert "opened" not in engine.sh(script).out
    assert engine.sh(script, host={"DeviceCgroupRules": [f"c {major}:{minor} rw"]}).out == "opened\n"
    # crun 1.8 writes a rule with one number only in a way that v1's kernel refuses
    rule = f"c {major}:{engine.words(runc='*', crun=minor)} rmw"
    out = cli.text("run", "--rm", "--device-cgroup-rule", rule, engine.image, "sh", "-c", script)
    assert out == "opened"
    answer = start_error(engine, {"DeviceCgroupRules": ["c 1"]})
    assert answer == (500, "invalid device cgroup rule format: 'c 1'")


@pytest.mark.operation(*START)
@pytest.mark.local
def test_permissions_of_a_device(engine: Engine) -> None:
    node, _, _ = character_device()

    def opened(permissions: str) -> str:
        mapping = {"PathOnHost": node, "PathInContainer": "/dev/m", "CgroupPermissions": permissions}
        script = "(: </dev/m) && echo read; (: >>/dev/m) && echo write"
        return engine.sh(script, host={"Devices": [mapping]}).out

    assert opened("r") == "read\n"
    assert opened("rw") == "read\nwrite\n"


@pytest.mark.operation(*START)
def test_a_folder_of_devices(engine: Engine) -> None:
    mapping = {"PathOnHost": "/dev/net", "PathInContainer": "/dev/mine", "CgroupPermissions": "rwm"}
    assert engine.sh("ls /dev/mine", host={"Devices": [mapping]}).out == "tun\n"
    for path, reason in (("/etc/hostname", "not a device node"), ("/dev/no", "no such file or directory")):
        mapping = {"PathOnHost": path, "PathInContainer": "/dev/m", "CgroupPermissions": "rwm"}
        status, text = start_error(engine, {"Devices": [mapping]})
        start = f'error gathering device information while adding custom device "{path}": '
        assert (status, text) == (500, start + reason)


@pytest.mark.operation(*START)
def test_drivers_of_device_requests(engine: Engine) -> None:
    answer = start_error(engine, {"DeviceRequests": [{"Driver": "no-such", "Count": 1}]})
    assert answer == (500, 'could not select device driver "no-such" with capabilities: []')
    asked = [{"Driver": "no-such", "Capabilities": [["gpu", "x"], ["y"]]}]
    answer = start_error(engine, {"DeviceRequests": asked})
    assert answer == (500, 'could not select device driver "no-such" with capabilities: [[gpu x] [y]]')
    (found,) = engine.inspect(engine.create("true", host={"DeviceRequests": asked}))["HostConfig"][
        "DeviceRequests"
    ]
    assert (found["Driver"], found["Capabilities"]) == ("no-such", [["gpu", "x"], ["y"]])


@pytest.fixture
def vendor(engine: Engine) -> Iterator[str]:
    """Devices `<vendor>/dev=one` and `=hooked`, described in a folder where this engine looks."""
    folders = engine.info.get("CDISpecDirs") or []
    if not folders:
        pytest.skip("this engine looks for no descriptions of devices")
    folder = Path(folders[-1])
    name = f"{engine.prefix}.example"
    hook = {"hookName": "createContainer", "path": "/bin/true"}
    document = {
        "cdiVersion": "0.5.0",
        "kind": f"{name}/dev",
        "containerEdits": {"env": ["VENDOR=here"]},
        "devices": [
            {
                "name": "one",
                "containerEdits": {
                    "env": ["ONE=1"],
                    "deviceNodes": [{"path": "/dev/vendor1", "hostPath": "/dev/null"}],
                    "mounts": [
                        {
                            "hostPath": "/etc",
                            "containerPath": "/vendor",
                            "options": ["ro", "nosuid", "nodev", "rbind"],
                        }
                    ],
                },
            },
            {"name": "hooked", "containerEdits": {"hooks": [hook]}},
        ],
    }
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    file.write_text(json.dumps(document))
    try:
        yield name
    finally:
        file.unlink()
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


@pytest.mark.operation(*START)
@pytest.mark.since("1.50")
@pytest.mark.local
def test_described_devices(engine: Engine, vendor: str) -> None:
    script = "echo $VENDOR $ONE; stat -c '%t:%T' /dev/vendor1; echo x >/dev/vendor1; test -e /vendor/passwd; echo $?"  # fmt: skip # noqa: E501
    request = {"Driver": "cdi", "DeviceIDs": [f"{vendor}/dev=one"]}
    assert engine.sh(script, host={"DeviceRequests": [request]}).out.split() == ["here", "1", "1:3", "0"]
    request["DeviceIDs"] = [f"{vendor}/dev=two"]
    text = f"CDI device injection failed: unresolvable CDI devices {vendor}/dev=two"
    assert start_error(engine, {"DeviceRequests": [request]}) == (500, text)
    assert {"Source": "cdi", "ID": f"{vendor}/dev=one"} in engine.wire.get("/info")["DiscoveredDevices"]


@pytest.mark.operation(*START)
@pytest.mark.since("1.50")
@pytest.mark.local
def test_described_devices_on_the_command_line(engine: Engine, cli: Cli, vendor: str) -> None:
    if cli.major < 25:
        pytest.skip("this command line does not know such names")
    out = cli.text("run", "--rm", "--device", f"{vendor}/dev=one", engine.image, "sh", "-c", "echo $VENDOR")
    assert out == "here"


@pytest.mark.operation("SystemEvents", *START)
def test_out_of_memory_is_told(engine: Engine) -> None:
    since = now(engine)
    host = {"Memory": 16 * MB, "MemorySwap": 16 * MB}
    # pid 1 lives on when a child is killed
    container = engine.run("sh", "-c", "tail -c 400m /dev/zero; sleep 1000", host=host)
    until(lambda: [e for e in past(engine, since, container=[container]) if e["Action"] == "oom"])
    state = engine.state(container)
    assert state["Running"]
    if engine.at_least("1.44"):  # older engines tell at the end only
        assert state["OOMKilled"] is True
    engine.wire.post(f"/containers/{container}/kill", status=204)
    until(lambda: not engine.state(container)["Running"])
    assert engine.state(container)["OOMKilled"] is True
    engine.start(container)  # a new run has a clean record to begin with
    actions = [e["Action"] for e in past(engine, since, container=[container])]
    assert actions.index("oom") < actions.index("die")
