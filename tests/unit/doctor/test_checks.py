"""Each check of `compatd doctor`, on machines made of a folder: what is wrong is found, a way out is told."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from compatd.config import Config
from compatd.doctor import cgroups, configuration, conflicts, firewall, kernel, limits, names, storage
from compatd.doctor.finding import OK, PROBLEM, WARNING, Finding
from compatd.doctor.machine import Machine, Result


class Fake(Machine):
    """A machine of files below a folder, with the answers to commands in `commands` by their first words."""

    def __init__(self, root: Path, files: dict[str, str] | None = None, uid: int = 0) -> None:
        super().__init__(root, {}, uid, [uid], "6.1.0")
        self.commands: dict[str, Result] = {}
        for name, text in (files or {}).items():
            self.put(name, text)

    def put(self, name: str, text: str = "") -> None:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, *words: str) -> Result:
        line = " ".join(words)
        return next(
            (value for start, value in self.commands.items() if line.startswith(start)), Result(-1, "")
        )


NAMESPACES = {f"/proc/self/ns/{name}": "" for name in ("cgroup", "ipc", "mnt", "net", "pid", "uts")}
SWITCHES = "\n".join(
    f"CONFIG_{name}=y"
    for name in ("OVERLAY_FS", "BRIDGE", "VETH", "NF_TABLES", "NFT_NAT", "NFT_MASQ", "NF_CONNTRACK")
)
GOOD = {
    **NAMESPACES,
    "/proc/sys/kernel/seccomp/actions_avail": "kill",
    "/proc/sys/net/ipv4/ip_forward": "1",
    "/boot/config-6.1.0": SWITCHES,
}


def wrong(findings: Iterable[Finding]) -> list[Finding]:
    """All that is not right; each must say what to do."""
    found = [finding for finding in findings if finding.level != OK]
    assert all(finding.do for finding in found)
    return found


def config(**values: object) -> Config:
    made = Config({})
    for name, value in values.items():
        setattr(made, name, value)
    return made


def test_a_good_kernel(tmp_path: Path) -> None:
    assert not wrong(kernel.check(Fake(tmp_path, GOOD)))


def test_the_kernels_configuration_is_also_read_packed(tmp_path: Path) -> None:
    machine = Fake(tmp_path, {**GOOD, "/boot/config-6.1.0": ""})
    machine.path("/proc/config.gz").write_bytes(gzip.compress(SWITCHES.encode()))
    assert not wrong(kernel.check(machine))


def test_modules_that_can_be_loaded_count(tmp_path: Path) -> None:
    dependencies = "".join(
        f"kernel/net/{name}.ko.xz: kernel/lib.ko\n"
        for name in ("overlay", "bridge", "veth", "nf_tables", "nft_nat", "nft_masq", "nf_conntrack")
    )
    files = {**GOOD, "/boot/config-6.1.0": "", "/lib/modules/6.1.0/modules.dep": dependencies}
    assert not wrong(kernel.check(Fake(tmp_path, files)))


@pytest.mark.parametrize(
    ("name", "content", "level", "text", "do"),
    [
        ("/boot/config-6.1.0", SWITCHES.replace("CONFIG_VETH=y", ""), PROBLEM, "lacks veth", "modprobe veth"),
        ("/boot/config-6.1.0", SWITCHES.replace("CONFIG_OVERLAY_FS=y", ""), WARNING, "is vfs", "overlay"),
        ("/boot/config-6.1.0", "", WARNING, "cannot see", "modprobe -a"),
        ("/proc/sys/net/ipv4/ip_forward", "0", WARNING, "not forwarded", "net.ipv4.ip_forward=1"),
        ("/proc/sys/user/max_net_namespaces", "0", PROBLEM, "network namespace", "sysctl"),
    ],
)
def test_a_kernel_that_lacks(tmp_path: Path, name: str, content: str, level: str, text: str, do: str) -> None:
    [found] = wrong(kernel.check(Fake(tmp_path, {**GOOD, name: content})))
    assert found.level == level
    assert text in found.text
    assert any(do in step for step in found.do)


def test_missing_namespaces_and_seccomp(tmp_path: Path) -> None:
    machine = Fake(tmp_path, GOOD)
    machine.path("/proc/self/ns/pid").unlink()
    machine.path("/proc/sys/kernel/seccomp/actions_avail").unlink()
    assert [found.level for found in wrong(kernel.check(machine))] == [PROBLEM, WARNING]


def test_control_groups(tmp_path: Path) -> None:
    assert wrong(cgroups.check(Fake(tmp_path / "none")))[0].level == PROBLEM
    second = Fake(tmp_path / "two", {"/sys/fs/cgroup/cgroup.controllers": "cpu cpuset io pids"})
    [found] = wrong(cgroups.check(second))
    assert "--memory" in found.text
    assert "cgroup_enable=memory" in found.do[0]
    first = Fake(
        tmp_path / "one",
        {
            f"/sys/fs/cgroup/{name}/tasks": ""
            for name in ("cpu", "cpuset", "memory", "pids", "devices", "freezer", "blkio")
        },
    )
    assert "swapaccount" in wrong(cgroups.check(first))[0].do[0]
    first.put("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
    assert not wrong(cgroups.check(first))


@pytest.mark.parametrize(
    ("mounts", "level", "text"),
    [
        ("overlay / overlay rw 0 0", WARNING, "vfs"),
        ("/dev/sda / ext4 rw 0 0\nsrv:/x /var nfs4 rw 0 0", WARNING, "nfs4"),
        ("/dev/sda / ext4 rw 0 0\n/dev/sdb /var/lib xfs rw 0 0", PROBLEM, "d_type"),
        ("/dev/sda / ext4 ro 0 0", PROBLEM, "mounted ro"),
        ("/dev/sda / ext4 rw,noexec 0 0", PROBLEM, "noexec"),
    ],
)
def test_file_systems(tmp_path: Path, mounts: str, level: str, text: str) -> None:
    machine = Fake(tmp_path, {"/proc/self/mounts": mounts})
    machine.commands["xfs_info /var/lib"] = Result(0, "naming =version 2 ascii-ci=0, ftype=0")
    found = [found for found in wrong(storage.check(machine, config())) if "free" not in found.text]
    assert [found[0].level] == [level]
    assert text in found[0].text


def test_a_plain_file_system_and_another_engines_data(tmp_path: Path) -> None:
    mounts = "/dev/sda / ext4 rw 0 0\n/dev/sdb /var/libx nfs rw 0 0"
    machine = Fake(tmp_path, {"/proc/self/mounts": mounts, "/var/lib/docker/overlay2/l/X": ""})
    texts = [found.text for found in wrong(storage.check(machine, config())) if "free" not in found.text]
    assert len(texts) == 1
    assert "another Docker Engine" in texts[0]


@pytest.mark.parametrize(("left", "level"), [(0, PROBLEM), (10, WARNING), (900, OK)])
def test_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int, level: str) -> None:
    class Space:
        f_blocks, f_bavail, f_frsize, f_files, f_favail = 1000, left, 1 << 30, 0, 0

    machine = Fake(tmp_path)
    monkeypatch.setattr(machine, "space", lambda name: Space)
    found = wrong(storage.check(machine, config()))
    assert [item.level for item in found] == ([] if level == OK else [level])


CHAIN = {"family": "inet", "table": "mine", "name": "fwd", "hook": "forward", "policy": "drop"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 1),
        ({"policy": "accept"}, 0),
        ({"hook": "input"}, 0),
        ({"table": "compatd"}, 0),
        ({"family": "ip", "table": "filter", "name": "FORWARD"}, 0),
    ],
)
def test_tables_that_drop(tmp_path: Path, change: dict[str, str], expected: int) -> None:
    machine = Fake(tmp_path)
    listing = json.dumps({"nftables": [{"metainfo": {}}, {"chain": {**CHAIN, **change}}]})
    machine.commands["nft -j list chains"] = Result(0, listing)
    found = wrong(firewall.check(machine, config()))
    assert len(found) == expected
    if found:
        assert "nft insert rule inet mine fwd iifname docker0 accept" in found[0].do


def test_firewalld_and_ufw(tmp_path: Path) -> None:
    machine = Fake(tmp_path, {"/etc/ufw/ufw.conf": "ENABLED=yes\n"})
    machine.commands = {
        "firewall-cmd --state": Result(0, "running"),
        "firewall-cmd --get-zone-of": Result(2, "no zone"),
    }
    first, second = wrong(firewall.check(machine, config()))
    assert "--add-interface=docker0" in first.do[0]
    assert "ufw" in second.text
    machine.commands["firewall-cmd --get-zone-of"] = Result(0, "docker\n")
    machine.put("/etc/ufw/ufw.conf", "ENABLED=no\n")
    assert not wrong(firewall.check(machine, config()))


@pytest.mark.parametrize(
    ("resolv", "other", "dns", "good"),
    [
        ("nameserver 192.0.2.1", "", [], True),
        ("nameserver 127.0.0.1", "", [], False),
        ("nameserver 127.0.0.1", "", ["192.0.2.1"], True),
        ("nameserver ::1%lo", "", [], False),
        ("nameserver 127.0.0.53", "nameserver 192.0.2.1", [], True),
        ("nameserver 127.0.0.53", "", [], False),
        ("", "", [], False),
    ],
)
def test_names(tmp_path: Path, resolv: str, other: str, dns: list[str], good: bool) -> None:
    files = {"/etc/resolv.conf": resolv, "/etc/hosts": "127.0.0.1 localhost"}
    machine = Fake(tmp_path, {**files, "/run/systemd/resolve/resolv.conf": other})
    assert bool(wrong(names.check(machine, config(dns=dns)))) is not good


def test_limits_and_the_clock(tmp_path: Path) -> None:
    machine = Fake(tmp_path, {"/proc/sys/fs/inotify/max_user_instances": "128\n"})
    [found] = wrong(limits.check(machine, lambda: 1.8e9))
    assert "fs.inotify.max_user_instances=8192" in found.do[0]
    machine.put("/proc/sys/fs/inotify/max_user_instances", "8192")
    [found] = wrong(limits.check(machine, lambda: 0.0))
    assert (found.level, found.do) == (PROBLEM, ["timedatectl set-ntp true"])
    machine.commands["timedatectl"] = Result(0, "no\n")
    assert wrong(limits.check(machine, lambda: 1.8e9))[0].level == WARNING


def test_other_engines(tmp_path: Path) -> None:
    machine = Fake(tmp_path, {"/proc/7/comm": "dockerd\n", "/proc/7/cmdline": "dockerd\0-H\0fd://\0"})
    machine.path("/proc/7/exe").symlink_to("/usr/bin/dockerd")
    machine.commands["dpkg-query -W -f ${Status} docker.io"] = Result(0, "install ok installed")
    first, second = wrong(conflicts.check(machine, config(hosts=["unix:///var/run/docker.sock"])))
    assert "apt remove docker.io" in first.do
    assert "PID 7" in second.text
    machine.commands.clear()
    for name, text in (
        ("/proc/7/cmdline", "dockerd\0-H\0unix:///x.sock\0--data-root\0/x\0"),  # in nobody's way
        ("/proc/7/status", "NSpid:\t7\t1\n"),  # in a container
    ):
        machine.put(name, text)
        assert not wrong(conflicts.check(machine, config(hosts=["unix:///var/run/docker.sock"])))
        machine.put("/proc/7/cmdline", "dockerd\0")


def test_the_configuration(tmp_path: Path) -> None:
    machine, path = Fake(tmp_path), "/etc/docker/daemon.json"
    assert not wrong(configuration.read(machine, None)[1])
    assert wrong(configuration.read(machine, path)[1])[0].level == PROBLEM
    machine.put(path, '{"data-root": "/srv/docker"}')
    read, findings = configuration.read(machine, None)
    assert read.data_root == "/srv/docker"
    assert not wrong(findings)
    for text, said in (('{"data-root": "/srv"', "JSON"), ('{"data-rot": "/srv"}', "data-rot")):
        machine.put(path, text)
        [found] = wrong(configuration.read(machine, None)[1])
        assert said in found.text
        assert "dockerd --validate --config-file /etc/docker/daemon.json" in found.do


def test_hosts_in_the_file_and_in_the_unit(tmp_path: Path) -> None:
    files = {"/etc/docker/daemon.json": '{"hosts": ["unix:///x"]}', "/run/systemd/system/x": ""}
    machine = Fake(tmp_path, files)
    machine.commands["systemctl show docker.service"] = Result(
        0, "ExecStart={ argv[]=/usr/bin/dockerd -H fd:// }"
    )
    [found] = wrong(configuration.read(machine, None)[1])
    assert "both" in found.text
    machine.commands["systemctl show docker.service"] = Result(0, "ExecStart={ argv[]=/usr/bin/dockerd }")
    assert not wrong(configuration.read(machine, None)[1])
