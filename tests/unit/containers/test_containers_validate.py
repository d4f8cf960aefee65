"""Checks of requests, in dockerd's words; mount specifications."""

from typing import Any

import pytest

from apispec import Version
from compatd.api.create_compat import adapt
from compatd.engine import logdrivers
from compatd.engine.containers import mountspec, validate
from compatd.engine.containers.hostconfig import user_host_config
from compatd.engine.containers.merge import user_config
from compatd.engine.containers.resources import check_resources
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.sysinfo import SysInfo

INFO = SysInfo(cpus="0-3", mems="0", cpu_count=4)


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"Memory": 1000}, "Minimum memory limit allowed is 6MB"),
        (
            {"Memory": 8 << 20, "MemorySwap": 7 << 20},
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            {"MemorySwap": 7 << 20},
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        ({"MemoryReservation": 5}, "Minimum memory reservation allowed is 6MB"),
        ({"MemorySwappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
        (
            {"NanoCpus": 5_000_000_000},
            "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available",
        ),
        (
            {"NanoCpus": 1, "CpuQuota": 5000},
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        ({"CpuQuota": 5}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        ({"CpusetCpus": "0-9"}, "Requested CPUs are not available - requested 0-9, available: 0-3"),
        ({"CpusetCpus": "x"}, "Invalid value x for cpuset cpus: invalid format: x"),
        ({"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
    ],
)
def test_limits_that_cannot_be(host: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter) as error:
        check_resources(user_host_config(host), INFO)
    assert error.value.message == message


def test_limits_that_the_kernel_lacks_are_dropped_with_a_warning() -> None:
    host = user_host_config({"Memory": 8 << 20, "PidsLimit": 10, "OomKillDisable": True})
    warnings = check_resources(host, SysInfo(memory=False, pids=False, oom_kill_disable=False))
    assert (host["Memory"], host["PidsLimit"], host["OomKillDisable"]) == (0, None, None)
    assert [warning.split(".")[0] for warning in warnings] == [
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted",
        "Your kernel does not support OomKillDisable",
        "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted",
    ]


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (
            {"RestartPolicy": {"Name": "x"}},
            "invalid restart policy: unknown policy 'x'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        ),
        (
            {"RestartPolicy": {"Name": "always", "MaximumRetryCount": -1}},
            "invalid restart policy: maximum retry count can only be used with 'on-failure' "
            "and cannot be negative",
        ),
        (
            {"AutoRemove": True, "RestartPolicy": {"Name": "always"}},
            "can't create 'AutoRemove' container with restart policy",
        ),
        ({"CapAdd": ["NOPE"]}, 'invalid CapAdd: unknown capability: "CAP_NOPE"'),
        ({"ExtraHosts": ["x"]}, 'bad format for add-host: "x"'),
        ({"ExtraHosts": ["x=1.2.3.4"]}, 'bad format for add-host: "x=1.2.3.4"'),
        ({"ExtraHosts": ["x:[::1]"]}, 'invalid IP address in add-host: "[::1]"'),
        ({"ExtraHosts": ["x:1.2.3"]}, 'invalid IP address in add-host: "1.2.3"'),
        ({"PortBindings": {"0/tcp": []}}, 'invalid port specification: "0/tcp"'),
        ({"PortBindings": {"80/tcp": [{"HostPort": "9-1"}]}}, 'invalid port specification: "9-1"'),
        (
            {"Mounts": [{"Type": "bind", "Source": "/nonexistent", "Target": "/x"}]},
            'invalid mount config for type "bind": bind source path does not exist: /nonexistent',
        ),
        (
            {"Mounts": [{"Type": "tmpfs"}]},
            'invalid mount config for type "tmpfs": field Target must not be empty',
        ),
        (
            {"Mounts": [{"Type": "volume", "Target": "/x", "BindOptions": {}}]},
            'invalid mount config for type "volume": field BindOptions must not be specified',
        ),
    ],
)
def test_host_configs_that_cannot_be(host: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter) as error:
        validate.check_host(user_host_config(host), have=["CAP_KILL"])
    assert error.value.message == message


def test_host_config_that_is_fine() -> None:
    validate.check_host(
        user_host_config(
            {
                "ExtraHosts": ["a:1.2.3.4", "b:::1", "c:host-gateway"],
                "PortBindings": {"80": [{"HostPort": "8080-8090"}], "53/udp": [{}]},
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
            }
        ),
        have=["CAP_KILL"],
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"HostConfig": {"NetworkMode": "container:"}}, "invalid container format"),
        ({"Hostname": "x", "HostConfig": {"NetworkMode": "container:y"}}, "hostname and the network mode"),
        ({"HostConfig": {"NetworkMode": "container:y", "Dns": ["1.1.1.1"]}}, "dns and the network mode"),
        ({"Hostname": "x", "HostConfig": {"UTSMode": "host"}}, "hostname and the UTS mode"),
    ],
)
def test_modes_that_do_not_go_together(body: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        validate.check_modes(user_config(body), user_host_config(body["HostConfig"]))


def test_working_directory() -> None:
    config = user_config({"WorkingDir": "/a//b/../c/"})
    validate.check_config(config)
    assert config["WorkingDir"] == "/a/c"
    with pytest.raises(InvalidParameter, match="the working directory 'rel' is invalid"):
        validate.check_config(user_config({"WorkingDir": "rel"}))


def test_log_drivers() -> None:
    log = {"Type": "", "Config": {"max-size": "1m"}}
    logdrivers.check(log, "json-file", {"max-file": "3"})
    assert log == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "1m"}}
    with pytest.raises(InvalidParameter, match="unknown log opt 'x' for json-file log driver"):
        logdrivers.check({"Type": "json-file", "Config": {"x": "1"}}, "json-file", {})
    with pytest.raises(InvalidParameter, match='plugin "nope" not found'):
        logdrivers.check({"Type": "nope", "Config": {}}, "json-file", {})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/a:/b", ("bind", "/a", "/b", True, "", "rprivate")),
        ("/a/:/b/:ro,z", ("bind", "/a", "/b", False, "ro,z", "rprivate")),
        ("/a:/b:rshared", ("bind", "/a", "/b", True, "rshared", "rshared")),
        ("name:/b:nocopy", ("volume", "", "/b", True, "nocopy", "")),
        ("/only", ("volume", "", "/only", True, "", "")),
    ],
)
def test_binds(raw: str, expected: tuple[Any, ...]) -> None:
    point = mountspec.parse_bind(raw, "")
    found = tuple(point[key] for key in ("Type", "Source", "Destination", "RW", "Mode", "Propagation"))
    assert found == expected


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("/a:/b:nope", "invalid mode: nope"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:ro", "invalid volume specification: '/a:ro'"),
        ("/a:/b:copy", "invalid mode: copy"),
        (":/b", "invalid volume specification: ':/b'"),
        ("/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"),
        (
            "/a:/",
            "invalid volume specification: '/a:/': invalid mount config for type \"bind\": "
            "invalid specification: destination can't be '/'",
        ),
    ],
)
def test_binds_that_cannot_be(raw: str, message: str) -> None:
    with pytest.raises(EngineError) as error:
        mountspec.parse_bind(raw, "")
    assert (error.value.status, error.value.message) == (500, message)


def test_tmpfs_options() -> None:
    assert (
        mountspec.tmpfs_options({"SizeBytes": 64 << 20, "Mode": 0o1777}, read_only=True)
        == "ro,mode=1777,size=64m"
    )
    assert (
        mountspec.tmpfs_options({"SizeBytes": 1000, "Options": [["exec"]]}, read_only=False)
        == "size=1000,exec"
    )


def test_old_clients() -> None:
    body: dict[str, Any] = {"Image": "x", "MacAddress": "02:00:00:00:00:01"}
    assert adapt(body, Version("1.39")) == []
    assert body["HostConfig"]["IpcMode"] == "shareable"
    assert body["NetworkingConfig"]["EndpointsConfig"]["bridge"]["MacAddress"] == "02:00:00:00:00:01"
    body = {"Image": "x", "MacAddress": "02:00:00:00:00:01"}
    assert "deprecated" in adapt(body, Version("1.44"))[0]


def test_port_without_bindings_means_any() -> None:
    body: dict[str, Any] = {"Image": "x", "HostConfig": {"PortBindings": {"80/tcp": []}}}
    assert "empty list of port-bindings: 80/tcp" in adapt(body, Version("1.52"))[0]
    assert body["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "", "HostPort": ""}]}


def test_interface_sysctls_move_to_the_endpoint() -> None:
    host = {"Sysctls": {"net.ipv4.conf.eth0.log_martians": "1", "kernel.x": "2"}}
    body: dict[str, Any] = {"Image": "x", "HostConfig": host}
    adapt(body, Version("1.45"))
    options = body["NetworkingConfig"]["EndpointsConfig"]["bridge"]["DriverOpts"]
    assert options == {
        "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1",
    }
    assert host["Sysctls"] == {"kernel.x": "2"}
    host["Sysctls"]["net.ipv4.conf.eth0.log_martians"] = "1"
    with pytest.raises(EngineError, match="must be supplied using driver option"):
        adapt(body, Version("1.48"))


@pytest.mark.parametrize("text", ["02:42:AC:11:00:99", "02-42-ac-11-00-99", "0242.ac11.0099"])
def test_a_mac_address_has_one_form(text: str) -> None:
    assert validate.mac_address(text) == "02:42:ac:11:00:99"


@pytest.mark.parametrize("text", ["zz", "02:42:ac:11:00", "02:42-ac:11:00:99", "02:42:ac:11:00:99:1", ""])
def test_what_is_no_mac_address(text: str) -> None:
    with pytest.raises(InvalidParameter) as error:
        validate.mac_address(text)
    assert error.value.message == f"address {text}: invalid MAC address"
