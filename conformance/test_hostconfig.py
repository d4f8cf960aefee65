"""Fields of HostConfig and Config that no other file shows: namespaces of others, security, names, limits."""

import json
from typing import Any

import pytest

from conformance.engine import Engine

CREATE = ("ContainerCreate",)
START = ("ContainerCreate", "ContainerStart")
RUN = ("ContainerCreate", "ContainerStart", "ContainerInspect")


def create_fails(engine: Engine, host: dict[str, Any], **config: Any) -> tuple[int, str]:
    """Status and text of a create that fails; (201, "") when it does not."""
    body = {"Image": engine.image, "HostConfig": host, **config}
    answer = engine.wire.request("POST", "/containers/create", body)
    if answer.status == 201:
        engine.remove(answer.json()["Id"])
        return 201, ""
    return answer.status, answer.message


def start_fails(engine: Engine, host: dict[str, Any], **config: Any) -> tuple[int, str]:
    """The same of a start, after a create that works."""
    answer = engine.wire.request("POST", f"/containers/{engine.create('true', host=host, **config)}/start")
    return answer.status, answer.message if answer.status >= 400 else ""


# Namespaces ----------------------------------------------------------------------------------------------


@pytest.mark.operation(*RUN)
def test_namespaces_of_another_container(engine: Engine) -> None:
    donor = engine.sleeper(host={"IpcMode": "shareable"}, Hostname="donor")
    engine.exec(donor, "sh", "-c", "echo shared >/dev/shm/f")
    host = {f"{kind}Mode": f"container:{donor[:12]}" for kind in ("Pid", "Ipc", "Network")}
    done = engine.sh("cat /dev/shm/f; ps | grep -c '[s]leep 1000'; hostname", host=host)
    assert done.out == "shared\n1\ndonor\n"
    shown = engine.inspect(done.id)["HostConfig"]
    assert {shown[field] for field in host} == {f"container:{donor}"}
    ours = engine.sh("readlink /proc/self/ns/ipc /proc/self/ns/net", host=host).out
    assert ours == engine.exec(donor, "readlink", "/proc/self/ns/ipc", "/proc/self/ns/net").out


@pytest.mark.operation(*CREATE)
@pytest.mark.parametrize("field", ["PidMode", "IpcMode"])
def test_namespaces_of_nobody(engine: Engine, field: str) -> None:
    assert create_fails(engine, {field: "container:of-nobody"}) == (400, "No such container: of-nobody")


@pytest.mark.operation(*START)
@pytest.mark.parametrize("field", ["PidMode", "IpcMode", "NetworkMode"])
def test_namespaces_of_one_that_does_not_run(engine: Engine, field: str) -> None:
    donor = engine.create("true", host={"IpcMode": "shareable"})
    status, message = start_fails(engine, {field: f"container:{donor}"})
    if not engine.at_least("1.44" if field != "NetworkMode" else "1.48"):
        assert (status, donor in message) == (409 if field == "NetworkMode" else 500, True)
        return
    name = engine.inspect(donor)["Name"].lstrip("/")
    assert (status, message) == {
        "PidMode": (500, f"failed to join PID namespace: container {donor} is not running"),
        "IpcMode": (409, f"failed to join IPC namespace: container {donor} is not running"),
        "NetworkMode": (
            409,
            f"cannot join network namespace of a non running container: container {name} is created",
        ),
    }[field]


@pytest.mark.operation(*START)
def test_ipc_that_is_not_shared(engine: Engine) -> None:
    donor = engine.sleeper(host={"IpcMode": "private"})
    status, message = start_fails(engine, {"IpcMode": f"container:{donor}"})
    assert status == (400 if engine.at_least("1.44") else 500)
    assert message.endswith(
        f"container {donor}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
    )


@pytest.mark.operation(*CREATE)
@pytest.mark.parametrize(
    ("host", "config", "message"),
    [
        ({"UTSMode": "host"}, {"Hostname": "x"}, "conflicting options: hostname and the UTS mode"),
        ({"CgroupnsMode": "bogus"}, {}, "invalid cgroup namespace mode: bogus"),
        (
            {"NetworkMode": "container:x"},
            {"Hostname": "x"},
            "conflicting options: hostname and the network mode",
        ),
        (
            {"NetworkMode": "container:x", "Dns": ["1.1.1.1"]},
            {},
            "conflicting options: dns and the network mode",
        ),
        (
            {"NetworkMode": "container:x", "ExtraHosts": ["a:1.1.1.1"]},
            {},
            "conflicting options: custom host-to-IP mapping and the network mode",
        ),
        (
            {"NetworkMode": "host", "Links": ["a:b"]},
            {},
            "conflicting options: host type networking can't be used with links. "
            "This would result in undefined behavior",
        ),
        ({"ShmSize": -1}, {}, "SHM size can not be less than 0"),
        ({"ExtraHosts": ["x"]}, {}, 'bad format for add-host: "x"'),
        ({"ExtraHosts": ["x:y"]}, {}, 'invalid IP address in add-host: "y"'),
        ({"ExtraHosts": ["x:[::1]"]}, {}, 'invalid IP address in add-host: "[::1]"'),
        ({}, {"Env": ["=x"]}, "invalid environment variable: =x"),
        ({}, {"WorkingDir": "a"}, "the working directory 'a' is invalid, it needs to be an absolute path"),
    ],
)
def test_what_cannot_be(engine: Engine, host: dict[str, Any], config: dict[str, Any], message: str) -> None:
    assert create_fails(engine, host, **config) == (400, message)


@pytest.mark.operation(*RUN)
def test_host_modes(engine: Engine) -> None:
    host = {"PidMode": "host", "IpcMode": "host", "UTSMode": "host", "UsernsMode": "host"}
    done = engine.sh("true", host=host)
    assert done.code == 0
    shown = engine.inspect(done.id)["HostConfig"]
    assert {field: shown[field] for field in host} == host
    assert shown["SecurityOpt"] == ["label=disable"]


@pytest.mark.operation(*RUN)
def test_a_network_that_is_disabled(engine: Engine) -> None:
    done = engine.sh("ls /sys/class/net", NetworkDisabled=True)
    assert done.out == "lo\n"
    found = engine.inspect(done.id)
    assert found["Config"]["NetworkDisabled"] is True
    assert found["NetworkSettings"]["Networks"] == {}


@pytest.mark.operation(*RUN)
def test_isolation_has_one_value(engine: Engine) -> None:
    container = engine.create("true", host={"Isolation": "default"})
    assert engine.inspect(container)["HostConfig"]["Isolation"] == "default"
    status, message = create_fails(engine, {"Isolation": "hyperv"})
    assert status == (400 if engine.at_least("1.52") else 500)
    assert "hyperv" in message
    assert "linux only supports 'default'" in message


# Names and addresses -------------------------------------------------------------------------------------


@pytest.mark.operation(*RUN)
def test_domain_name(engine: Engine) -> None:
    script = "cat /proc/sys/kernel/domainname; grep -w box /etc/hosts | cut -f2-"
    done = engine.sh(script, Hostname="box", Domainname="example.org")
    assert done.out == "example.org\nbox.example.org box\n"


@pytest.mark.operation(*RUN)
def test_host_gateway_and_resolver(engine: Engine) -> None:
    _, gateway = engine.bridge()
    host = {
        "ExtraHosts": ["a:1.2.3.4", "six:2001:db8::1", "gw:host-gateway"],
        "Dns": ["192.0.2.1"],
        "DnsSearch": ["example.org"],
        "DnsOptions": ["ndots:3"],
    }
    done = engine.sh("cat /etc/hosts; grep -v '^#' /etc/resolv.conf", host=host)
    lines = done.out.splitlines()
    assert {"1.2.3.4\ta", "2001:db8::1\tsix", f"{gateway}\tgw"} <= set(lines)
    assert lines[-3:] == ["search example.org", "nameserver 192.0.2.1", "options ndots:3"] or set(lines) >= {
        "search example.org",
        "nameserver 192.0.2.1",
        "options ndots:3",
    }


@pytest.mark.operation(*RUN)
def test_mac_address(engine: Engine) -> None:
    """Container-wide as old clients send it; see test_dockerpy for the endpoint's."""
    mac = "02:42:AC:11:99:99"
    body = {"Image": engine.image, "Cmd": ["cat", "/sys/class/net/eth0/address"], "MacAddress": mac}
    answer = engine.wire.request("POST", "/v1.41/containers/create", body)
    assert answer.status == 201, answer
    container = answer.json()["Id"]
    engine.start(container)
    assert engine.wait(container) == 0
    assert engine.logs(container)[0] == "02:42:ac:11:99:99\n"


@pytest.mark.operation(*START)
def test_what_is_no_mac_address(engine: Engine) -> None:
    body = {"Image": engine.image, "MacAddress": "02:42:zz"}
    answer = engine.wire.request("POST", "/v1.41/containers/create", body)
    if answer.status == 201:  # found out by the start
        answer = engine.wire.request("POST", f"/containers/{answer.json()['Id']}/start")
    assert answer.status in (400, 500)
    assert "invalid MAC address" in answer.message and "02:42:zz" in answer.message


# Security ------------------------------------------------------------------------------------------------


def seccomp(**profile: Any) -> dict[str, Any]:
    return {"SecurityOpt": ["seccomp=" + json.dumps(profile)]}


@pytest.mark.operation(*START)
def test_seccomp_profile_inline(engine: Engine) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    done = engine.sh("mkdir /x", host=seccomp(defaultAction="SCMP_ACT_ALLOW", syscalls=[rule]))
    assert done.code == 1
    assert "Operation not permitted" in done.err
    assert engine.sh("mkdir /x", host={"SecurityOpt": ["seccomp=unconfined"]}).code == 0


@pytest.mark.operation(*START)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("/etc/hostname", "invalid character '/' looking for beginning of value"),
        ("nope", "invalid character 'o' in literal null (expecting 'u')"),
        ("[]", "json: cannot unmarshal array into Go value of type seccomp.Seccomp"),
        ("{", "unexpected end of JSON input"),
    ],
)
def test_a_seccomp_profile_is_never_a_path(engine: Engine, value: str, message: str) -> None:
    found = start_fails(engine, {"SecurityOpt": [f"seccomp={value}"]})
    assert found == (500, f"Decoding seccomp profile failed: {message}")


@pytest.mark.operation(*START)
@pytest.mark.parametrize(
    ("option", "set_"),
    [
        ("no-new-privileges", 1),
        ("no-new-privileges:true", 1),
        ("no-new-privileges=1", 1),
        ("no-new-privileges:false", 0),
        ("label=disable", 0),
        ("label:type:x", 0),
        ("disable", 0),
    ],
)
def test_security_options(engine: Engine, option: str, set_: int) -> None:
    done = engine.sh("grep NoNewPrivs /proc/self/status", host={"SecurityOpt": [option]})
    assert done.out.split() == ["NoNewPrivs:", str(set_)]
    assert engine.inspect(done.id)["HostConfig"]["SecurityOpt"] == [option]


@pytest.mark.operation(*CREATE)
@pytest.mark.parametrize(
    ("option", "number"), [("bogus", 1), ("", 1), ("bogus=x", 2), ("no-new-privileges=x", 2), ("=x", 2)]
)
def test_security_options_that_cannot_be(engine: Engine, option: str, number: int) -> None:
    found = create_fails(engine, {"SecurityOpt": [option]})
    assert found == (500, f'invalid --security-opt {number}: "{option}"')


@pytest.mark.operation(*RUN)
def test_masked_and_readonly_paths(engine: Engine) -> None:
    script = (
        "grep -c ' /sys/firmware ' /proc/mounts; grep -c ' /proc/version ' /proc/mounts; "
        "grep -c ' /proc/sys proc ro' /proc/mounts; grep -c ' /proc/bus proc ro' /proc/mounts"
    )
    for host, counts in (
        ({}, "1 0 1 1"),
        ({"MaskedPaths": None, "ReadonlyPaths": None}, "1 0 1 1"),
        ({"MaskedPaths": [], "ReadonlyPaths": []}, "0 0 0 0"),
        ({"MaskedPaths": ["/proc/version", "/nowhere"]}, "0 1 1 1"),
        ({"ReadonlyPaths": ["/proc/bus", "/nowhere"]}, "1 0 0 1"),
    ):
        done = engine.sh(script, host=host)
        assert done.out.split() == counts.split(), host
        shown = engine.inspect(done.id)["HostConfig"]
        for field, value in host.items():
            if value is not None:
                assert shown[field] == value


@pytest.mark.operation(*START)
@pytest.mark.parametrize(
    ("name", "host", "runc", "crun"),
    [
        (
            "net.core.somaxconn",
            {"NetworkMode": "host"},
            "not allowed in host network namespace",
            "requires a new network namespace",
        ),
        (
            "kernel.shmmax",
            {"IpcMode": "host"},
            "is not allowed in the hosts ipc namespace",
            "requires a new IPC namespace",
        ),
        (
            "fs.mqueue.msg_max",
            {"IpcMode": "host"},
            "is not allowed in the hosts ipc namespace",
            "requires a new IPC namespace",
        ),
        (
            "kernel.domainname",
            {"UTSMode": "host"},
            "is not in a separate kernel namespace",
            "requires a new UTS namespace",
        ),
        ("vm.swappiness", {}, "is not in a separate kernel namespace", "is not namespaced"),
        (
            "kernel.hostname",
            {},
            'is not allowed as it conflicts with the OCI "hostname" field',
            "conflicts with OCI field `hostname`",
        ),
    ],
)
def test_sysctls_of_the_host(engine: Engine, name: str, host: dict[str, Any], runc: str, crun: str) -> None:
    if engine.words(runc=False, crun="NetworkMode" in host):
        pytest.skip("crun sets it where dockerd names the host's network by its path: not on this machine")
    status, message = start_fails(engine, {**host, "Sysctls": {name: "1"}})
    assert status == 500
    assert engine.words(runc=f'sysctl "{name}" {runc}', crun=f"the sysctl `{name}` {crun}") in message


@pytest.mark.operation(*START)
@pytest.mark.parametrize(
    ("limit", "runc", "crun"),
    [
        (
            {"Name": "bogus", "Soft": 1, "Hard": 1},
            "wrong rlimit value: RLIMIT_BOGUS",
            "invalid rlimit `RLIMIT_BOGUS`",
        ),
        (
            {"Name": "nofile", "Soft": 900, "Hard": 800},
            "error setting rlimits for ready process: error setting rlimit type 7: invalid argument",
            "setrlimit `RLIMIT_NOFILE`: Invalid argument",
        ),
    ],
)
def test_limits_that_cannot_be(engine: Engine, limit: dict[str, Any], runc: str, crun: str) -> None:
    status, message = start_fails(engine, {"Ulimits": [limit]})
    assert status == 500
    assert engine.words(runc=runc, crun=crun) in message
