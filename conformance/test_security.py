"""What holds a container in: capabilities, seccomp, paths, devices, and what loosens each."""

import json
import re
from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.limits import bounding_set, skip_without_all_capabilities

START = ("ContainerCreate", "ContainerStart")
# CAP_CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW,
# SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP: dockerd's default set.
DEFAULT_CAPS = 0x00000000A80425FB
NET_ADMIN, NET_RAW, SYS_ADMIN, SYS_TIME = 12, 13, 21, 25


def status(engine: Engine, **options: object) -> dict[str, str]:
    """/proc/self/status of a container's program."""
    done = engine.ended("cat", "/proc/self/status", **options)  # type: ignore[arg-type]
    skip_without_all_capabilities(done.out + done.err)
    return {key: value.strip() for key, _, value in (line.partition(":") for line in done.out.splitlines())}


@pytest.mark.operation(*START)
def test_default_capabilities(engine: Engine) -> None:
    found = status(engine)
    assert int(found["CapBnd"], 16) == DEFAULT_CAPS
    assert int(found["CapPrm"], 16) == int(found["CapEff"], 16) == DEFAULT_CAPS
    assert int(found["CapInh"], 16) == 0  # CVE-2022-24769
    assert int(found["CapAmb"], 16) == 0


@pytest.mark.operation(*START)
def test_capabilities_of_a_user(engine: Engine) -> None:
    found = status(engine, User="user")
    assert int(found["CapBnd"], 16) == DEFAULT_CAPS
    assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == int(found["CapAmb"], 16) == 0


@pytest.mark.operation(*START)
def test_cap_add_and_drop(engine: Engine, cli: Cli) -> None:
    def caps(*options: str) -> int:
        return int(
            cli.text("run", "--rm", *options, engine.image, "grep", "CapEff", "/proc/self/status").split()[1],
            16,
        )

    assert caps("--cap-add", "NET_ADMIN") == DEFAULT_CAPS | 1 << NET_ADMIN
    assert caps("--cap-add", "CAP_SYS_ADMIN", "--cap-drop", "net_raw") == (DEFAULT_CAPS | 1 << SYS_ADMIN) & ~(
        1 << NET_RAW
    )
    assert caps("--cap-drop", "ALL") == 0
    assert caps("--cap-drop", "ALL", "--cap-add", "NET_RAW") == 1 << NET_RAW


@pytest.mark.operation("ContainerCreate")
def test_unknown_capability(engine: Engine) -> None:
    answer = engine.wire.request(
        "POST", "/containers/create", {"Image": engine.image, "HostConfig": {"CapAdd": ["FLYING"]}}
    )
    assert answer.status == 400
    assert 'invalid capadd: unknown capability: "cap_flying"' in answer.message.lower()


@pytest.mark.operation(*START)
def test_privileged(engine: Engine) -> None:
    container = engine.create("cat", "/proc/self/status", host={"Privileged": True})
    answer = engine.wire.request("POST", f"/containers/{container}/start")
    skip_without_all_capabilities(answer.body.decode())
    assert answer.status == 204, answer
    engine.wait(container)
    found = {
        key: value.strip()
        for key, _, value in (line.partition(":") for line in engine.logs(container)[0].splitlines())
    }
    effective = int(found["CapEff"], 16)
    # All that the machine has and whose names the engine knows: up to CAP_CHECKPOINT_RESTORE (40) or less.
    assert effective & ~bounding_set() == 0
    assert effective | 0x3F << 35 == bounding_set() | 0x3F << 35
    assert found["Seccomp"] == "0"


@pytest.mark.operation(*START)
def test_privileged_sees_devices_and_may_write_sys(engine: Engine) -> None:
    script = (
        "ls /dev | wc -l; grep -E ' /(sys|proc/sys|proc/kcore) ' /proc/mounts; "
        "mkdir /m && mount -t tmpfs x /m && echo mounted"
    )
    container = engine.create("sh", "-c", script, host={"Privileged": True})
    answer = engine.wire.request("POST", f"/containers/{container}/start")
    skip_without_all_capabilities(answer.body.decode())
    engine.wait(container)
    lines = engine.logs(container)[0].splitlines()
    assert int(lines[0]) > 20
    assert lines[-1] == "mounted"
    (sysfs,) = [line for line in lines if " /sys " in line]
    assert sysfs.split()[3].startswith("rw")
    assert not any(" /proc/sys " in line or " /proc/kcore " in line for line in lines)


@pytest.mark.operation(*START)
def test_seccomp_is_on(engine: Engine) -> None:
    assert status(engine)["Seccomp"] == "2"
    assert status(engine, host={"SecurityOpt": ["seccomp=unconfined"]})["Seccomp"] == "0"


@pytest.mark.operation(*START)
@pytest.mark.parametrize(
    ("command", "refused"),
    [
        (["unshare", "-U", "true"], "Operation not permitted"),
        (["unshare", "-m", "true"], "Operation not permitted"),
        (["mount", "-t", "tmpfs", "x", "/mnt"], "(?i)permission denied|not permitted"),
        (["swapoff", "-a"], ""),
        (["reboot", "-f"], "(?i)not permitted"),
        (["hwclock", "-w"], "."),
        (["pivot_root", "/", "/mnt"], "(?i)not permitted"),
    ],
)
def test_denied(engine: Engine, command: list[str], refused: str) -> None:
    done = engine.sh("mkdir -p /mnt; " + " ".join(command))
    if refused:
        assert done.code != 0 and re.search(refused, done.err), done


@pytest.mark.operation(*START)
def test_own_seccomp_profile(engine: Engine) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    profile = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    done = engine.sh(
        "mkdir /x; echo $?; unshare -U true && echo allowed", host={"SecurityOpt": [f"seccomp={profile}"]}
    )
    assert done.out == "1\nallowed\n"
    assert "Operation not permitted" in done.err


@pytest.mark.operation("ContainerCreate", "ContainerStart")
def test_bad_seccomp_profile(engine: Engine) -> None:
    answer = engine.wire.request(
        "POST",
        "/containers/create",
        {"Image": engine.image, "Cmd": ["true"], "HostConfig": {"SecurityOpt": ["seccomp={bad"]}},
    )
    if answer.status == 201:
        answer = engine.wire.request("POST", f"/containers/{answer.json()['Id']}/start")
    assert answer.status in {400, 500}
    assert "ecoding seccomp profile failed" in answer.message


@pytest.mark.operation(*START)
def test_no_new_privileges(engine: Engine) -> None:
    assert status(engine)["NoNewPrivs"] == "0"
    assert status(engine, host={"SecurityOpt": ["no-new-privileges"]})["NoNewPrivs"] == "1"
    assert status(engine, host={"SecurityOpt": ["no-new-privileges:true"]})["NoNewPrivs"] == "1"


@pytest.mark.operation(*START)
def test_masked_paths(engine: Engine) -> None:
    script = """
    for f in kcore keys timer_list sched_debug latency_stats timer_stats; do
        [ -e /proc/$f ] || continue
        [ -c /proc/$f ] && [ "$(cat /proc/$f)" = "" ] || echo /proc/$f is open
    done
    for d in /proc/acpi /proc/scsi /sys/firmware; do
        [ -e $d ] || continue
        [ -z "$(ls -A $d)" ] || echo $d is open
        touch $d/x 2>/dev/null && echo $d can be written
    done
    echo done
    """
    assert engine.sh(script).out == "done\n"


@pytest.mark.operation(*START)
def test_read_only_paths(engine: Engine) -> None:
    script = """
    for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/default_smp_affinity \
        /sys/kernel/mm/ksm/run; do
        [ -e $f ] || continue
        (echo 0 >$f) 2>&1 | grep -qi 'read-only' || echo $f can be written
    done
    for d in bus fs irq sys; do
        grep -q " /proc/$d proc ro" /proc/mounts || echo /proc/$d is not read-only
    done
    grep -q ' /sys sysfs ro' /proc/mounts || echo /sys is not read-only
    echo done
    """
    assert engine.sh(script).out == "done\n"


@pytest.mark.operation(*START)
def test_unmasked(engine: Engine) -> None:
    host: dict[str, Any] = {"MaskedPaths": [], "ReadonlyPaths": []}
    out = engine.sh("grep -cE ' /proc/(kcore|sys|bus) ' /proc/mounts", host=host).out
    assert out == "0\n"
    assert engine.inspect(engine.create("true", host=host))["HostConfig"]["MaskedPaths"] == []


@pytest.mark.operation("ContainerInspect")
def test_paths_in_inspect(engine: Engine) -> None:
    found = engine.inspect(engine.create("true"))["HostConfig"]
    assert {
        "/proc/acpi",
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/scsi",
        "/sys/firmware",
    } <= set(found["MaskedPaths"])
    assert set(found["ReadonlyPaths"]) == {
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    }
    found = engine.inspect(engine.create("true", host={"Privileged": True}))["HostConfig"]
    assert found["MaskedPaths"] is None and found["ReadonlyPaths"] is None


@pytest.mark.operation(*START)
def test_devices(engine: Engine) -> None:
    done = engine.sh(
        "ls /dev; cd /dev; stat -c '/dev/%n %t:%T %a' null zero full random urandom tty; "
        "for l in fd stdin stdout stderr ptmx; do readlink $l; done"
    )
    lines = done.out.splitlines()
    names = set(lines[: lines.index("/dev/null 1:3 666")])
    assert names - {"console", "core"} == {
        "fd",
        "full",
        "mqueue",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
        "zero",
    }
    rest = lines[lines.index("/dev/null 1:3 666") :]
    assert rest[:6] == [
        "/dev/null 1:3 666",
        "/dev/zero 1:5 666",
        "/dev/full 1:7 666",
        "/dev/random 1:8 666",
        "/dev/urandom 1:9 666",
        "/dev/tty 5:0 666",
    ]
    assert rest[6:] == ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx"]


@pytest.mark.operation(*START)
def test_other_devices_are_refused(engine: Engine) -> None:
    """Making the node is allowed (CAP_MKNOD), using it is not."""
    done = engine.sh("mknod /k c 1 11 && cat /k")
    assert done.code != 0 and "Operation not permitted" in done.err


@pytest.mark.operation(*START)
def test_given_device(engine: Engine, cli: Cli) -> None:
    out = cli.text(
        "run",
        "--rm",
        "--device",
        "/dev/null:/dev/void:rw",
        engine.image,
        "sh",
        "-c",
        "stat -c '%t:%T' /dev/void; echo x >/dev/void && echo written",
    )
    assert out == "1:3\nwritten"
    done = cli("run", "--rm", "--device", "/dev/no-such-device", engine.image, "true", check=False)
    assert done.code in {125, 127}
    assert "/dev/no-such-device" in done.err


@pytest.mark.operation(*START)
def test_namespaces_are_own(engine: Engine) -> None:
    script = "for n in mnt uts ipc pid net; do readlink /proc/self/ns/$n; done"
    first = engine.sh(script).out.split()
    assert len(first) == 5
    shared = {"PidMode": "host", "IpcMode": "host", "NetworkMode": "host", "UTSMode": "host"}
    second = engine.sh(script, host=shared).out.split()
    assert len(second) == 5 and not set(first) & set(second)
    third = engine.sh(script, host=shared).out.split()
    assert third[1:] == second[1:]


@pytest.mark.operation(*START)
def test_only_three_descriptors(engine: Engine) -> None:
    """Nothing of the runtime leaks into the container (CVE-2024-21626)."""
    out = engine.ended("ls", "/proc/self/fd").out.split()
    assert out == ["0", "1", "2", "3"]  # 3 is ls reading the folder
    container = engine.sleeper()
    assert engine.exec(container, "ls", "/proc/self/fd").out.split() == ["0", "1", "2", "3"]


@pytest.mark.operation(*START)
@pytest.mark.parametrize("fd", [3, 7, 8, 9])
def test_workdir_in_a_descriptor(engine: Engine, fd: int) -> None:
    """A working directory in /proc/self/fd does not lead to the host (CVE-2024-21626)."""
    container = engine.create("sh", "-c", "ls ../../../../../../..", WorkingDir=f"/proc/self/fd/{fd}")
    answer = engine.wire.request("POST", f"/containers/{container}/start")
    if answer.status == 204:
        engine.wait(container)
        out, _ = engine.logs(container)
        assert "bin" in out.split() or out == ""
        assert not set(out.split()) & {"boot", "srv", "media"}


@pytest.mark.operation(*START)
def test_other_processes_are_hidden(engine: Engine) -> None:
    out = engine.ended("ls", "/proc").out.split()
    assert [name for name in out if name.isdigit()] == ["1"]


@pytest.mark.operation(*START)
def test_signals_are_as_new(engine: Engine) -> None:
    found = status(engine)
    assert int(found["SigBlk"], 16) == 0
    # Go's runtime ignores nothing; Python ignores SIGPIPE and SIGXFSZ, which must not be inherited.
    assert int(found["SigIgn"], 16) == 0


@pytest.mark.operation(*START)
def test_root_is_not_the_hosts(engine: Engine) -> None:
    out = engine.sh("cat /proc/self/mountinfo").out
    roots = [line.split() for line in out.splitlines() if line.split()[4] == "/"]
    assert len(roots) == 1
    assert " overlay " in " ".join(roots[0]) or engine.info["Driver"] not in {"overlay2", "overlayfs"}


@pytest.mark.operation(*START)
def test_proc_is_of_the_container(engine: Engine) -> None:
    lines = [line.split() for line in engine.sh("cat /proc/mounts").out.splitlines()]
    by_target = {line[1]: line for line in lines}
    assert by_target["/proc"][2] == "proc" and {"rw", "nosuid", "nodev", "noexec", "relatime"} <= set(
        by_target["/proc"][3].split(",")
    )
    assert by_target["/dev"][2] == "tmpfs" and {"nosuid", "size=65536k", "mode=755"} <= set(
        by_target["/dev"][3].split(",")
    )
    assert by_target["/dev/pts"][2] == "devpts" and {"gid=5", "mode=620", "ptmxmode=666"} <= set(
        by_target["/dev/pts"][3].split(",")
    )
    assert by_target["/sys"][2] == "sysfs" and {"ro", "nosuid", "nodev", "noexec"} <= set(
        by_target["/sys"][3].split(",")
    )
    assert by_target["/dev/mqueue"][2] == "mqueue"
    assert by_target["/dev/shm"][2] == "tmpfs" and {"nosuid", "nodev", "noexec"} <= set(
        by_target["/dev/shm"][3].split(",")
    )
    assert any(target.startswith("/sys/fs/cgroup") for target in by_target)


@pytest.mark.operation(*START)
@pytest.mark.parametrize("user", ["4294967296", "-1", "+1", "1:", ":1"])
def test_odd_users(engine: Engine, user: str) -> None:
    """Never somebody else than asked for; refused, or (`1:`, `:1`) what stands there."""
    container = engine.create("sh", "-c", "id -u", User=user)
    answer = engine.wire.request("POST", f"/containers/{container}/start")
    if answer.status != 204:
        assert engine.state(container)["Status"] == "created"
        return
    engine.wait(container)
    expected = {"1:": "1\n", ":1": "0\n"}
    assert engine.logs(container)[0] == expected.get(
        user, "1\n" if user == "+1" and not engine.at_least("1.56") else "refused"
    )


@pytest.mark.operation(*START)
def test_proc_as_a_link(engine: Engine) -> None:
    """An image whose /proc leads elsewhere (CVE-2023-27561)."""
    from conformance.images import Image, Tar, busybox_root, docker_archive

    tag = engine.name("proc") + ":1"
    layer = Tar().add(".wh.proc", "").add("tmp/fake").bytes()
    link = Tar().link("proc", "/tmp/fake").bytes()
    engine.load(docker_archive({tag: Image([busybox_root(), layer, link], dict(engine.base().config))}))
    container = engine.create("cat", "/proc/1/status", Image=tag)
    answer = engine.wire.request("POST", f"/containers/{container}/start")
    if answer.status == 204:
        # Then there is a true /proc of its own all the same.
        engine.wait(container)
        assert engine.logs(container)[0].startswith("Name:\tcat\n")
    else:
        assert engine.state(container)["Running"] is False
