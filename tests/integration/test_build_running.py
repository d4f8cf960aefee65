"""A RUN in the runtime: what it sees, leaves, and how it ends. Expected is what dockerd 26.1 does."""

import re
from collections.abc import Iterator

import pytest

from tests.integration.runkit import Rig, running_rig

HOSTS = "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running_rig() as found:
        yield found


def test_what_it_sees(rig: Rig) -> None:
    found = rig.good("cat /etc/hosts; hostname; cat /proc/self/mountinfo; ls -A /; env")["out"]
    assert found.startswith(HOSTS + "buildkitsandbox\n")
    for path in ("/etc/hosts", "/etc/resolv.conf"):
        assert re.search(f" {path} ro,nosuid,nodev,noexec", found)
    assert "/etc/hostname" not in found
    assert ".dockerenv" not in found
    assert "HOSTNAME=" not in found
    assert rig.good("env", environment=["HOSTNAME=mine"])["out"].count("HOSTNAME=mine") == 1
    assert rig.good("hostname; cat /etc/hosts", hostname="box")["out"].startswith(
        "box\n127.0.0.1\tlocalhost box"
    )


def test_what_the_classic_builder_shows(rig: Rig) -> None:
    found = rig.good("hostname; cat /etc/hostname; ls -A /; env; cat /etc/hosts", classic=True)
    name = found["id"][:12]
    assert found["out"].startswith(f"{name}\n{name}\n.dockerenv\n")
    assert f"HOSTNAME={name}\n" in found["out"]
    assert f"172.17.0.2\t{name}\n" in found["out"]
    assert found["files"] == []


def test_extra_hosts(rig: Rig) -> None:
    hosts = ["db:10.1.2.3", "gw:host-gateway", "six:::1"]
    lines = "10.1.2.3\tdb\n172.17.0.1\tgw\n::1\tsix\n"
    assert rig.good("cat /etc/hosts", extra_hosts=hosts)["out"] == HOSTS + lines


def test_users_and_folders(rig: Rig) -> None:
    assert rig.good("id; pwd; echo $HOME", user="ann:staff", cwd="/x/y")["out"] == (
        "uid=1000(ann) gid=50(staff) groups=50(staff)\n/x/y\n/tmp\n"
    )
    found = rig.fail("id", user="nobodyknows")
    text = "unable to find user nobodyknows: no matching entries in passwd file"
    assert found["error"] == f'process "/bin/sh -c id" did not complete successfully: {text}'
    assert found["classic"] == text


def test_who_it_is_to_the_kernel(rig: Rig) -> None:
    found = rig.good(
        "grep -E '^(CapEff|CapInh|Seccomp|NoNewPrivs):' /proc/self/status; cat /proc/sys/kernel/hostname"
    )
    words = dict(re.findall(r"(\w+):\t(\w+)", found["out"]))
    assert int(words["CapEff"], 16) & ~0xA80425FB == 0
    assert (words["CapInh"].strip("0"), words["Seccomp"], words["NoNewPrivs"]) == ("", "2", "0")


def test_it_fails(rig: Rig) -> None:
    found = rig.fail("echo out; echo err >&2; exit 3")
    assert (found["out"], found["err"], found["code"]) == ("out\n", "err\n", 3)
    assert found["error"].endswith('exit 3" did not complete successfully: exit code: 3')
    assert found["classic"].endswith("exit 3' returned a non-zero code: 3")
    assert rig.fail("sh -c 'kill -9 $$' || exit $?")["code"] == 137


def test_it_cannot_start(rig: Rig) -> None:
    found = rig.fail(["nope", "a b"])
    assert found["error"] == 'process "nope a b" did not complete successfully: exit code: 1'
    reason = 'unable to start container process: exec: "nope": executable file not found in $PATH'
    assert found["err"] == f"runc run failed: {reason}\n"
    assert found["classic"].endswith(f"runc create failed: {reason}: unknown")
    assert rig.fail(["/etc/passwd"])["err"].endswith('exec: "/etc/passwd": permission denied\n')


def test_networks(rig: Rig) -> None:
    count = "ip addr | grep -c 'eth0@'"
    assert rig.good(count)["out"] == "1\n"
    assert rig.good(f"{count} || true; cat /etc/hosts", network="none")["out"] == f"0\n{HOSTS}"
    assert "docker0" in rig.good("ip addr", network="host", entitlements=["network.host"])["out"]
    assert "docker0" in rig.good("ip addr", network="host", classic=True)["out"]
    assert rig.fail("true", network="host")["error"] == "network.host is not allowed"
    rig.ask("network", name="mine")
    command = "grep nameserver /etc/resolv.conf; nslookup $(hostname)"
    found = rig.run(command, network="mine", classic=True)
    assert "nameserver 127.0.0.11" in found["out"]
    assert "Address: 172.18.0.2" in found["out"]
    assert rig.fail("true", network="nowhere")["error"].endswith("network nowhere not found")


def test_no_event_tells_of_it(rig: Rig) -> None:
    before = rig.ask("events")
    rig.good("true", classic=True)
    assert rig.ask("events") == before


def test_insecure(rig: Rig) -> None:
    command = "grep CapEff /proc/self/status; mkdir /m; mount -t tmpfs none /m && echo mounted"
    assert rig.fail(command, security="insecure")["error"] == "security.insecure is not allowed"
    assert "mounted" in rig.good(command, security="insecure", entitlements=["security.insecure"])["out"]
    assert rig.fail(command)["code"]


def test_resources(rig: Rig) -> None:
    limits = {"Memory": 64 << 20, "CpuShares": 512, "Ulimits": [{"Name": "nofile", "Soft": 99, "Hard": 99}],
              "ShmSize": 1 << 20, "PidsLimit": 40}  # fmt: skip
    found = rig.good(
        "ulimit -n; df -k /dev/shm | tail -n 1; cd /sys/fs/cgroup;"
        "cat memory/memory.limit_in_bytes memory.max pids/pids.max pids.max cpu/cpu.shares 2>/dev/null; true",
        resources=limits,
    )["out"]
    assert found.startswith("99\n")
    assert " 1024 " in found
    assert f"{64 << 20}\n" in found
    assert "40\n" in found


def test_out_of_memory(rig: Rig) -> None:
    found = rig.fail(["/bin/sh", "-c", "exec tail /dev/zero"], resources={"Memory": 16 << 20})
    assert found["code"] == 137
    assert found["error"].endswith("did not complete successfully: cannot allocate memory")


def test_a_fork_bomb_is_bounded(rig: Rig) -> None:
    found = rig.run("b() { b | b & }; b; sleep 1; exit 7", resources={"PidsLimit": 30})
    assert found["code"]
    assert rig.at_rest()["cgroups"] == []


def test_it_ends_with_its_first_process(rig: Rig) -> None:
    found = rig.good("(sleep 1000; echo never) & echo first; (trap '' TERM HUP; sleep 1000) &")
    assert found["out"] == "first\n"
    assert rig.at_rest()["cgroups"] == []


def test_a_script_is_mounted(rig: Rig) -> None:
    found = rig.good(["/dev/pipes/EOF"], script="#!/bin/sh\necho $0; ls -l /dev/pipes/EOF; touch $0; true\n")
    assert found["out"].startswith("/dev/pipes/EOF\n-rwxr-xr-x")
    assert found["files"] == ["/etc"]


def test_much_output(rig: Rig) -> None:
    found = rig.good("head -c 3000000 /dev/zero | tr '\\0' x; head -c 100000 /dev/zero | tr '\\0' y >&2")
    assert (len(found["out"]), len(found["err"])) == (3000000, 100000)


def test_mount_points_do_not_stay(rig: Rig) -> None:
    found = rig.good(
        "mkdir -p /kept; echo x > /a/file; ln -s /gone /link; ls -d /a/b/c /t/u",
        mounts=["type=cache,target=/a/b/c", "type=tmpfs,target=/t/u", "type=secret,id=x,target=/s/key"],
        secrets={"x": "hush"},
    )
    assert found["files"] == ["/a", "/a/file", "/etc", "/kept", "/link"]


def test_a_root_of_nothing(rig: Rig) -> None:
    found = rig.good(
        "ls -A /; echo x > /new",
        on="scratch",
        mounts=["type=bind,from=base,source=/bin,target=/bin"],
    )
    assert found["out"].split() == ["bin", "dev", "etc", "proc", "sys"]
    assert found["files"] == ["/dev", "/new", "/proc", "/sys"]


def test_layers_follow_each_other(rig: Rig) -> None:
    rig.good("echo one > /first; mkdir /d; ln -s /d /link", keep="one")
    rig.good("cat /first; rm /first; echo two > /link/second", on="one", keep="two")
    assert rig.good("ls /first /d/second; true", on="two")["out"] == "/d/second\n"
