"""OCI runtime spec 1.1, "Configuration" and "Linux Container Configuration": what a container is given."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from runtime import cgroups
from tests.integration.ocikit import Runtime, box, runtime

__all__ = ["box", "runtime"]
pytestmark = pytest.mark.root


def namespace(runtime: Runtime, kind: str, path: str | None) -> None:
    """Join `path`, or share the runtime's with None."""
    spaces = runtime.spec["linux"]["namespaces"]
    spaces[:] = [space for space in spaces if space["type"] != kind]
    if path is not None:
        spaces.append({"type": kind, "path": path})


def test_the_process(runtime: Runtime) -> None:
    (runtime.box.tree / "work dir").mkdir()
    runtime.spec["process"].update(
        cwd="/work dir",
        env=["PATH=/bin", "A=1", "B=x=y", "EMPTY="],
        user={"uid": 1000, "gid": 1001, "additionalGids": [10, 4242], "umask": 0o027},
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
        noNewPrivileges=True,
        oomScoreAdj=321,
        capabilities={
            "bounding": ["CAP_KILL", "CAP_CHOWN"],
            "permitted": ["CAP_KILL"],
            "effective": ["CAP_KILL"],
            "inheritable": ["CAP_KILL"],
            "ambient": ["CAP_KILL"],
        },
    )
    lines = runtime.script(
        "pwd; id -u; id -g; id -G; umask; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj;"
        "grep -E 'NoNewPrivs|Cap' /proc/self/status; env"
    ).splitlines()
    assert lines[:3] == ["/work dir", "1000", "1001"]
    assert set(lines[3].split()) == {"1001", "10", "4242"}
    assert lines[4:8] == ["0027", "100", "200", "321"]
    status = dict(line.split(":\t") for line in lines[8:] if ":\t" in line)
    kill, chown = 1 << 5, 1 << 0
    assert {name: int(value, 16) for name, value in status.items()} == {
        "CapInh": kill,
        "CapPrm": kill,
        "CapEff": kill,
        "CapBnd": kill | chown,
        "CapAmb": kill,
        "NoNewPrivs": 1,
    }
    assert {"A=1", "B=x=y", "EMPTY="} <= set(lines)


def test_no_capabilities_that_are_unknown(runtime: Runtime) -> None:
    """They are ignored with a warning, as 1.1 has it."""
    runtime.spec["process"]["capabilities"] = {"bounding": ["CAP_TEST", "CAP_KILL"]}
    assert int(runtime.script("grep CapBnd /proc/self/status").split()[1], 16) == 1 << 5


def test_a_limit_that_cannot_be(runtime: Runtime) -> None:
    runtime.spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 200, "hard": 100}]
    assert "error setting rlimit type 7: invalid argument" in runtime.refused_create()


def test_names(runtime: Runtime) -> None:
    runtime.spec["hostname"], runtime.spec["domainname"] = "name", "example.org"
    assert runtime.script("hostname; cat /proc/sys/kernel/domainname") == "name\nexample.org\n"


def test_properties_that_nobody_knows(runtime: Runtime) -> None:
    runtime.spec["unknown"] = {"a": 1}
    runtime.spec["linux"]["unknown"] = runtime.spec["process"]["unknown"] = [1]
    assert runtime.script("echo ran") == "ran\n"


@pytest.mark.parametrize("readonly", [True, False])
def test_the_root(runtime: Runtime, readonly: bool) -> None:
    runtime.spec["root"]["readonly"] = readonly
    out = runtime.script("echo x > /file 2>&1 && echo written; echo y > /dev/shm/file && echo shm")
    assert ("written" in out) == (not readonly)
    assert "shm" in out
    assert (runtime.box.tree / "file").exists() == (not readonly)


def test_mounts_are_made_in_order(runtime: Runtime) -> None:
    for name in ("first", "second"):
        (runtime.box.base / name).mkdir()
        (runtime.box.base / name / name).touch()
        runtime.box.mount(runtime.box.base / name, "/mnt", "bind")
    runtime.box.mount("tmpfs", "/mnt/deeper/down", kind="tmpfs")
    (runtime.box.base / "second/deeper/down").mkdir(parents=True)
    out = runtime.script("ls /mnt; grep -c ' /mnt ' /proc/mounts; stat -f -c %T /mnt/deeper/down")
    assert out == "deeper\nsecond\n2\ntmpfs\n"


def test_a_relative_source_is_of_the_bundle(runtime: Runtime) -> None:
    (runtime.bundle / "data").mkdir()
    (runtime.bundle / "data/file").write_text("content\n")
    runtime.box.mount("data", "/data", "bind", "ro")
    assert (
        runtime.script("cat /data/file; touch /data/new 2>/dev/null || echo read-only")
        == "content\nread-only\n"
    )


OPTIONS = [
    (["ro"], {"ro"}, {"rw"}),
    (["nosuid", "nodev", "noexec"], {"nosuid", "nodev", "noexec"}, set()),
    (["nosuid", "suid", "nodev", "dev", "noexec", "exec"], set(), {"nosuid", "nodev", "noexec"}),
    (["noatime"], {"noatime"}, {"relatime"}),
    (["noatime", "atime"], {"relatime"}, {"noatime"}),
    (["nodiratime"], {"nodiratime"}, set()),
    (["nodiratime", "diratime"], set(), {"nodiratime"}),
    (["strictatime"], set(), {"relatime", "noatime"}),
    (["defaults", "ro", "rw"], {"rw"}, {"ro"}),
    (["sync", "dirsync"], {"sync", "dirsync"}, set()),
    (["sync", "async"], set(), {"sync"}),
    (["lazytime", "nolazytime", "loud", "silent", "noiversion"], {"rw"}, {"lazytime"}),
    (["size=64k", "mode=700"], {"size=64k", "mode=700"}, set()),
]


@pytest.mark.parametrize(("options", "wanted", "unwanted"), OPTIONS, ids=str)
def test_mount_options(runtime: Runtime, options: list[str], wanted: set[str], unwanted: set[str]) -> None:
    runtime.box.mount("tmpfs", "/mnt", *options, kind="tmpfs")
    fields = runtime.script("grep ' /mnt ' /proc/self/mountinfo").split()
    given = set(fields[5].split(",")) | set(fields[-1].split(","))
    assert wanted <= given
    assert not unwanted & set(fields[5].split(",")), "flags of the mount itself"
    assert not unwanted & (given - {"rw"})


@pytest.mark.parametrize("option", ["rro", "rnosuid", "rnodev", "rnoexec", "rnoatime"])
def test_recursive_mount_options(runtime: Runtime, option: str) -> None:
    """On /dev, which has other mounts in it."""
    runtime.box.mount("/dev", "/host", "rbind", option)
    out = runtime.script("grep -E ' /host(/[a-z]+)? ' /proc/self/mountinfo").splitlines()
    assert len(out) > 1
    assert all(option[1:] in line.split()[5].split(",") for line in out)


def test_an_option_that_the_filesystem_refuses(runtime: Runtime) -> None:
    runtime.box.mount("tmpfs", "/mnt", "no-such-option", kind="tmpfs")
    assert 'error mounting "tmpfs" to rootfs at "/mnt"' in runtime.refused_create()


def test_a_source_that_is_not_there(runtime: Runtime) -> None:
    runtime.box.mount("/no/such/source", "/mnt", "bind")
    assert "no such file or directory" in runtime.refused_create()


@pytest.mark.parametrize(
    ("propagation", "mark"),
    [("private", ""), ("slave", ""), ("shared", "shared:"), ("unbindable", "unbindable")],
)
def test_rootfs_propagation(runtime: Runtime, propagation: str, mark: str) -> None:
    runtime.spec["linux"]["rootfsPropagation"] = propagation
    line = runtime.script("grep ' / / \\| /[^ ]* / ' /proc/self/mountinfo").splitlines()[0]
    optional = line.partition(" - ")[0].split()[6:]
    assert (
        any(field.startswith(mark) for field in optional)
        if mark
        else not any("shared" in f for f in optional)
    )


@pytest.mark.parametrize("propagation", ["rprivate", "rslave", "rshared", "runbindable"])
def test_the_propagation_of_a_mount(runtime: Runtime, propagation: str) -> None:
    runtime.box.mount("tmpfs", "/mnt", propagation, kind="tmpfs")
    optional = runtime.script("grep ' /mnt ' /proc/self/mountinfo").partition(" - ")[0].split()[6:]
    expected = {"rshared": "shared:", "runbindable": "unbindable"}.get(propagation, "")
    assert any(field.startswith(expected) for field in optional) if expected else optional == []


def test_default_devices_and_links(runtime: Runtime) -> None:
    script = "for d in null zero full random urandom tty; do test -c /dev/$d -a -w /dev/$d || echo $d; done;"
    script += "for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done"
    expected = ["/proc/self/fd", *(f"/proc/self/fd/{n}" for n in range(3)), "pts/ptmx"]
    assert runtime.script(script).split() == expected


def test_devices(runtime: Runtime) -> None:
    runtime.spec["linux"]["devices"] = [
        {"path": "/dev/own", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
        {"path": "/opt/deep/zero", "type": "u", "major": 1, "minor": 5},
    ]
    out = runtime.script("stat -c '%A %u %g %t %T' /dev/own /dev/pipe /opt/deep/zero")
    assert out == "crw-r----- 3 4 1 3\nprw------- 0 0 0 0\ncrw-rw-rw- 0 0 1 5\n"


def test_a_file_in_the_place_of_a_device(runtime: Runtime) -> None:
    (runtime.box.tree / "node").write_text("")
    runtime.spec["linux"]["devices"] = [{"path": "/node", "type": "c", "major": 1, "minor": 3}]
    assert '"/node" exists and is not the device' in runtime.refused_create()


def test_device_rules_in_order(runtime: Runtime) -> None:
    rules: list[dict[str, Any]] = [
        {"allow": False, "access": "rwm"},
        *({"allow": True, "type": "c", "major": 1, "minor": minor, "access": "rwm"} for minor in (3, 5)),
        {"allow": False, "type": "c", "major": 1, "minor": 5, "access": "w"},
    ]
    runtime.spec["linux"]["resources"]["devices"] = rules
    runtime.spec["linux"]["devices"] = []
    script = "echo > /dev/null && echo null; (echo > /dev/zero) 2> /dev/null && echo zero-written;"
    script += "true < /dev/zero && echo zero-read"
    assert runtime.script(script).split() == ["null", "zero-read"]


def test_the_cgroup_of_the_path(runtime: Runtime) -> None:
    runtime.spec["linux"]["resources"] = {"pids": {"limit": 77}, "memory": {"limit": 64 << 20}}
    runtime.create("sleep", "1000")
    group = cgroups.open_cgroup(f"{runtime.box.group}/c")
    assert runtime.pid in group.pids()
    values = [
        path.read_text().strip() for folder in group.folders() for path in Path(folder).glob("pids.max")
    ]
    assert values == ["77"]
    lines = Path(f"/proc/{runtime.pid}/cgroup").read_text()
    assert f"{runtime.box.group}/c\n" in lines


def test_resources_that_cannot_be(runtime: Runtime) -> None:
    runtime.spec["linux"]["resources"] = {"cpu": {"cpus": "9000"}}
    runtime.refused_create()
    assert not any(Path(path).exists() for path in cgroups.open_cgroup(f"{runtime.box.group}/c").folders())


def test_seccomp(runtime: Runtime) -> None:
    runtime.spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
    }
    assert runtime.script("mkdir /x 2>&1; echo on").splitlines()[-2:] == [
        "mkdir: can't create directory '/x': Function not implemented",
        "on",
    ]


def test_sysctls(runtime: Runtime) -> None:
    runtime.spec["linux"]["sysctl"] = {"net.ipv4.ip_default_ttl": "77", "kernel.msgmax": "4096"}
    before = Path("/proc/sys/net/ipv4/ip_default_ttl").read_text()
    assert runtime.script("cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax") == "77\n4096\n"
    assert Path("/proc/sys/net/ipv4/ip_default_ttl").read_text() == before


def test_masked_and_readonly_paths(runtime: Runtime) -> None:
    (runtime.box.tree / "secret").mkdir()
    (runtime.box.tree / "secret/file").write_text("hidden")
    (runtime.box.tree / "file").write_text("hidden")
    (runtime.box.tree / "fixed").mkdir()
    runtime.spec["linux"]["maskedPaths"] = ["/secret", "/file", "/not/there"]
    runtime.spec["linux"]["readonlyPaths"] = ["/fixed", "/proc/sys", "/not/there"]
    script = "ls /secret; cat /file; for f in /fixed/new /secret/new /proc/sys/kernel/msgmax; do"
    script += " (echo 1 > $f) 2> /dev/null && echo $f; done; echo end"
    assert runtime.script(script) == "end\n"


def test_namespaces_are_new(runtime: Runtime) -> None:
    runtime.spec["linux"]["namespaces"].append({"type": "cgroup"})
    runtime.create("sleep", "1000")
    for kind in ("pid", "mnt", "ipc", "uts", "net", "cgroup"):
        theirs, ours = (Path(f"/proc/{pid}/ns/{kind}").readlink() for pid in (runtime.pid, "self"))
        assert theirs != ours, kind


@pytest.mark.parametrize("kind", ["ipc", "uts", "network"])
def test_what_is_not_listed_is_the_runtimes(runtime: Runtime, kind: str) -> None:
    namespace(runtime, kind, None)
    if kind == "uts":
        del runtime.spec["hostname"]
    runtime.create("sleep", "1000")
    name = "net" if kind == "network" else kind
    theirs, ours = (Path(f"/proc/{pid}/ns/{name}").readlink() for pid in (runtime.pid, "self"))
    assert theirs == ours


@pytest.mark.parametrize("kind", ["ipc", "uts", "network", "pid"])
def test_namespaces_by_path(runtime: Runtime, kind: str) -> None:
    runtime.create("sleep", "1000")
    name = "net" if kind == "network" else kind
    path = f"/proc/{runtime.pid}/ns/{name}"
    namespace(runtime, kind, path)
    other = f"{runtime.id}-2"
    runtime.spec["linux"]["cgroupsPath"] = f"{runtime.box.group}/d"
    runtime.write("sleep", "1000")
    pid_file = runtime.box.base / "pid2"
    try:
        with (runtime.box.base / "out2").open("w") as out:
            line = ["create", "--bundle", str(runtime.bundle), "--pid-file", str(pid_file), other]
            runtime(*line, stdout=out, stderr=out)
        assert Path(f"/proc/{pid_file.read_text()}/ns/{name}").readlink() == Path(path).readlink()
    finally:
        runtime("delete", "--force", other, ok=False)


@pytest.mark.parametrize("path", ["/no/such", "/proc/self/ns/uts", "/etc/passwd"])
def test_paths_that_are_no_such_namespace(runtime: Runtime, path: str) -> None:
    namespace(runtime, "network", path)
    runtime.refused_create()


def test_a_terminal(runtime: Runtime) -> None:
    runtime.spec["process"].update(terminal=True, consoleSize={"width": 91, "height": 37})
    path = runtime.box.base / "tty.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        runtime.create(
            "sh",
            "-c",
            "tty; test -c /dev/console && ls -l /dev/console | grep -c 136",
            more=["--console-socket", str(path)],
        )
        link, _ = listener.accept()
        name, fds, _, _ = socket.recv_fds(link, 4096, 2)
        link.close()
    assert (len(fds), bool(name)) == (1, True)
    size = os.get_terminal_size(fds[0])
    assert (size.columns, size.lines) == (91, 37)
    runtime("start", runtime.id)
    got = b""
    while got.count(b"\n") < 2:
        got += os.read(fds[0], 1000)
    os.close(fds[0])
    assert got == b"/dev/pts/0\r\n1\r\n"


def test_features(runtime: Runtime) -> None:
    features = json.loads(runtime("features").stdout)
    assert features["ociVersionMax"] == "1.1.0"
    assert features["hooks"] == [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ]
    assert {"bind", "rbind", "nolazytime", "rprivate"} <= set(features["mountOptions"])
