"""The OCI spec of a container."""

from pathlib import Path
from typing import Any

import pytest

from compatd.engine.containers import mountspec
from compatd.engine.containers.hostconfig import fill_host_defaults, user_host_config
from compatd.engine.containers.merge import user_config
from compatd.engine.containers.model import Container
from compatd.engine.containers.security import parse_security_options
from compatd.engine.containers.spec import Surroundings, build_spec, exec_process
from compatd.engine.containers.spec.devices import parse_rule
from compatd.engine.containers.spec.mounts import check_propagation, merge_tmpfs
from compatd.engine.errors import EngineError

ID = "c" * 64


def container(config: dict[str, Any] | None = None, host: dict[str, Any] | None = None) -> Container:
    merged = user_config({"Cmd": ["sh", "-c", "x"], "Hostname": "box", **(config or {})})
    filled = user_host_config(host)
    fill_host_defaults(filled, cgroup_v2=False, shm_size=1 << 26, ipc_mode="private", cgroupns="host")
    made = Container(
        id=ID,
        name="n",
        created=1,
        image_id="",
        config=merged,
        host_config=filled,
        path="sh",
        args=["-c", "x"],
    )
    for bind in filled["Binds"] or []:
        made.mounts.append(mountspec.parse_bind(bind, ""))
    return made


def spec_of(
    config: dict[str, Any] | None = None, host: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    made = container(config, host)
    settings: dict[str, Any] = {
        "root": Path("/bundle/rootfs"),
        "folder": Path("/containers"),
        "pid_of": lambda _, name: {"other": 99}[name],
        "shm_of": {"other": "/other/shm"}.__getitem__,
        "own_shm": "/own/shm",
        "layers_of": lambda chain_ids: [f"/l/{chain_id}" for chain_id in reversed(chain_ids)],
        "seccomp": lambda option, names: {"defaultAction": option or "default"},
        "security": parse_security_options(made.host_config["SecurityOpt"]),
        "capabilities": ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN"],
        "cgroup_v2": False,
        **changes,
    }
    return build_spec(made, Surroundings(**settings))


def types(spec: dict[str, Any]) -> dict[str, str]:
    return {entry["type"]: entry.get("path", "") for entry in spec["linux"]["namespaces"]}


def mount(spec: dict[str, Any], destination: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [entry for entry in spec["mounts"] if entry["destination"] == destination]
    assert len(found) == 1
    return found[0]


def test_process() -> None:
    process = spec_of({"Env": ["A=1", "PATH=/x"], "User": "me:grp", "Tty": True}, {"GroupAdd": ["9"]})[
        "process"
    ]
    assert process["args"] == ["sh", "-c", "x"]
    assert process["env"] == ["PATH=/x", "HOSTNAME=box", "TERM=xterm", "A=1"]
    assert process["user"] == {"uid": 0, "gid": 0, "username": "me:grp", "additionalGroups": ["9"]}
    assert process["capabilities"]["bounding"] == ["CAP_CHOWN", "CAP_KILL"]
    assert "inheritable" not in process["capabilities"]
    assert process["cwd"] == "/"


def test_init_is_put_before_the_command() -> None:
    spec = spec_of(init="/usr/bin/tini")
    assert spec["process"]["args"] == ["/sbin/docker-init", "--", "sh", "-c", "x"]
    assert mount(spec, "/sbin/docker-init")["source"] == "/usr/bin/tini"
    shared = spec_of(None, {"PidMode": "host"}, init="/usr/bin/tini")
    assert shared["process"]["args"] == ["sh", "-c", "x"]


def test_namespaces() -> None:
    assert set(types(spec_of())) == {"mount", "network", "uts", "pid", "ipc"}
    host = {"NetworkMode": "host", "PidMode": "host", "IpcMode": "host", "UTSMode": "host"}
    spec = spec_of(None, host)
    assert set(types(spec)) == {"mount"}
    assert "hostname" not in spec
    joined = types(spec_of(None, {"PidMode": "container:other", "NetworkMode": "container:other"}))
    assert joined["pid"] == "/proc/99/ns/pid"
    assert joined["network"] == "/proc/99/ns/net"
    assert "cgroup" in types(spec_of(None, {"CgroupnsMode": "private"}))


def test_shared_memory_goes_with_ipc() -> None:
    assert "size=67108864" in mount(spec_of(), "/dev/shm")["options"]
    assert mount(spec_of(None, {"IpcMode": "host"}), "/dev/shm")["source"] == "/dev/shm"
    shared = mount(spec_of(None, {"IpcMode": "container:other"}), "/dev/shm")
    assert shared["source"] == "/other/shm"
    assert mount(spec_of(None, {"IpcMode": "shareable"}), "/dev/shm")["source"] == "/own/shm"
    assert not [m for m in spec_of(None, {"IpcMode": "none"})["mounts"] if m["destination"] == "/dev/shm"]


def test_privileged() -> None:
    spec = spec_of(None, {"Privileged": True})
    assert "seccomp" not in spec["linux"]
    assert spec["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert "ro" not in mount(spec, "/sys")["options"]
    assert "ro" not in mount(spec, "/sys/fs/cgroup")["options"]
    assert spec["linux"]["maskedPaths"] == []
    assert "/dev/null" in {device["path"] for device in spec["linux"]["devices"]}


def test_user_mounts_come_sorted_and_replace_defaults() -> None:
    spec = spec_of(
        None, {"Binds": ["/a:/x/y/z", "/b:/x:ro", "/c:/dev/shm"], "Tmpfs": {"/x/t": "size=1m,exec"}}
    )
    own = [m["destination"] for m in spec["mounts"] if m["destination"].startswith("/x")]
    assert own == ["/x", "/x/t", "/x/y/z"]
    assert mount(spec, "/x")["options"] == ["rbind", "rro", "rprivate"]
    assert mount(spec, "/dev/shm")["source"] == "/c"
    assert mount(spec, "/x/t")["options"] == ["nosuid", "nodev", "rprivate", "size=1m", "exec"]


def test_a_user_mount_of_dev_replaces_all_below() -> None:
    spec = spec_of(None, {"Binds": ["/d:/dev"]})
    assert [m["destination"] for m in spec["mounts"] if m["destination"].startswith("/dev")] == ["/dev"]


def test_read_only_root() -> None:
    spec = spec_of(None, {"ReadonlyRootfs": True})
    assert spec["root"]["readonly"]
    assert "ro" in mount(spec, "/sys")["options"]
    assert "ro" not in mount(spec, "/dev/shm")["options"]


def test_limits() -> None:
    found = spec_of(
        None,
        {"Memory": 64 << 20, "NanoCpus": 1_500_000_000, "PidsLimit": 7, "CpusetCpus": "0", "CpuShares": 2},
    )["linux"]["resources"]
    assert found["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert found["cpu"] == {"period": 100000, "quota": 150000, "shares": 2, "cpus": "0"}
    assert found["pids"] == {"limit": 7}


def test_ulimits_and_daemon_defaults() -> None:
    host = {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": -1}]}
    defaults = {"nofile": {"Soft": 9, "Hard": 9}, "core": {"Soft": 0, "Hard": 0}}
    assert spec_of(None, host, ulimits=defaults)["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 1, "hard": (1 << 64) - 1},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]


def test_cgroup_paths() -> None:
    assert spec_of()["linux"]["cgroupsPath"] == f"/docker/{ID}"
    assert spec_of(cgroup_parent="/mine/")["linux"]["cgroupsPath"] == f"/mine/{ID}"
    assert spec_of(systemd_cgroups=True)["linux"]["cgroupsPath"] == f"system.slice:docker:{ID}"


def test_security_options() -> None:
    options = parse_security_options(
        ["no-new-privileges", "seccomp=unconfined", "label=disable", "apparmor:x"]
    )
    assert (options.no_new_privileges, options.seccomp, options.apparmor) == (True, "unconfined", "x")
    assert not parse_security_options(["no-new-privileges=false"], no_new_privileges=True).no_new_privileges
    for bad, text in (("nope", '1: "nope"'), ("x=y", '2: "x=y"'), ("no-new-privileges=maybe", "2:")):
        with pytest.raises(EngineError, match=f"invalid --security-opt {text}"):
            parse_security_options([bad])


def test_devices() -> None:
    host = {"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}]}
    linux = spec_of(None, host)["linux"]
    assert [(d["path"], d["type"], d["major"], d["minor"]) for d in linux["devices"]] == [
        ("/dev/x", "c", 1, 3)
    ]
    assert linux["resources"]["devices"][-1]["access"] == "r"
    with pytest.raises(EngineError, match='custom device "/dev/nope": no such file or directory'):
        spec_of(None, {"Devices": [{"PathOnHost": "/dev/nope", "PathInContainer": "/dev/nope"}]})
    assert parse_rule("c 1:* rw") == {"allow": True, "type": "c", "major": 1, "minor": -1, "access": "rw"}
    with pytest.raises(EngineError, match="invalid device cgroup rule format: 'c 1 rw'"):
        parse_rule("c 1 rw")


def test_propagation(tmp_path: Path) -> None:
    info = tmp_path / "mountinfo"
    info.write_text(
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        "2 1 8:2 / /shared rw shared:5 - ext4 /dev/b rw\n"
        "3 1 8:3 / /slave rw master:6 - ext4 /dev/c rw\n"
    )
    check_propagation("/shared/x", "rshared", info)
    check_propagation("/slave/x", "rslave", info)
    check_propagation("/x", "rprivate", info)
    with pytest.raises(EngineError, match="path /x is mounted on / but it is not a shared mount"):
        check_propagation("/x", "shared", info)
    with pytest.raises(EngineError, match="not a shared or slave mount"):
        check_propagation("/x", "slave", info)


def test_tmpfs_options_are_merged() -> None:
    assert merge_tmpfs("exec,size=1m,size=2m") == ["nosuid", "nodev", "rprivate", "exec", "size=2m"]
    assert merge_tmpfs("rw,ro,dev,rshared") == ["noexec", "nosuid", "ro", "dev", "rshared"]
    for text, shown in (("bogus", "bogus"), ("huge=always", "huge"), ("lazytime", "lazytime")):
        with pytest.raises(EngineError) as error:
            merge_tmpfs(f"size=1m,{text}")
        assert error.value.message == f'invalid tmpfs option "{shown}"'


def test_exec_process_takes_what_the_container_has() -> None:
    made = container({"Env": ["A=1"], "WorkingDir": "/srv", "User": "me"})
    base = {"capabilities": {"bounding": []}, "oomScoreAdj": 5, "consoleSize": {"height": 1, "width": 1}}
    process = exec_process(made, base, {"Cmd": ["ls"], "Env": ["B=2"]})
    assert process["args"] == ["ls"]
    assert process["cwd"] == "/srv"
    assert process["user"]["username"] == "me"
    assert process["env"][-2:] == ["A=1", "B=2"]
    assert process["oomScoreAdj"] == 5
    assert "consoleSize" not in process
    other = exec_process(
        made, base, {"Cmd": ["ls"], "User": "0", "WorkingDir": "/", "Tty": True, "ConsoleSize": [4, 5]}
    )
    assert (other["user"]["username"], other["cwd"]) == ("0", "/")
    assert other["consoleSize"] == {"height": 4, "width": 5}
