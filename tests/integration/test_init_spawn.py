"""A container's first process as it finds itself."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from compatd.engine.security import default_profile
from tests.integration.initkit import CAPABILITIES, Box, box

__all__ = ["box"]
pytestmark = pytest.mark.root


def status(text: str) -> dict[str, str]:
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in text.splitlines()}


def mask(*names: str) -> str:
    from runtime.init.capabilities import NUMBERS

    return f"{sum(1 << NUMBERS[name] for name in names):016x}"


def test_output_and_exit_code(box: Box) -> None:
    result = box.run("sh", "-c", "echo out; echo err >&2; exit 7")
    assert (result.out, result.err, result.code, result.error) == ("out\n", "err\n", 7, "")
    assert result.warnings == []


def test_namespaces_are_its_own(box: Box) -> None:
    kinds = ["ipc", "mnt", "net", "pid", "uts"]
    result = box.run(
        "sh", "-c", "for n in ipc mnt net pid uts user; do readlink /proc/self/ns/$n; done; echo $$"
    )
    *spaces, user, pid = result.out.split()
    for kind, space in zip(kinds, spaces, strict=True):
        assert space != os.readlink(f"/proc/self/ns/{kind}")  # noqa: PTH115
    assert user == os.readlink("/proc/self/ns/user")  # noqa: PTH115
    assert pid == "1"


def test_hostname_environment_home_and_umask(box: Box) -> None:
    box.spec["process"]["env"] = ["PATH=/bin", "A=1", "A=2", "EMPTY="]
    result = box.run("sh", "-c", "hostname; echo $A-$EMPTY-$HOME; umask; pwd")
    assert result.out == "box\n2--/root\n0022\n/\n"


def test_writes_go_to_the_upper_layer_alone(box: Box) -> None:
    assert box.run("sh", "-c", "echo x > /new; echo y > /etc/passwd").code == 0
    assert (box.upper / "new").read_text() == "x\n"
    assert not (box.tree / "new").exists()
    assert "bob" in (box.tree / "etc/passwd").read_text()


def test_a_read_only_root(box: Box) -> None:
    box.spec["root"]["readonly"] = True
    result = box.run("sh", "-c", "echo x > /new; echo x > /dev/shm/new && echo shm")
    assert "Read-only file system" in result.err
    assert result.out == "shm\n"


class TestLayers:
    def layers(self, box: Box, count: int) -> list[str]:
        made = []
        for number in range(count):
            layer = box.base / "layers" / f"{number:064x}" / "diff"
            layer.mkdir(parents=True)
            (layer / f"file{number}").write_text(str(number))
            (layer / "who").write_text(str(number))
            made.append(str(layer))
        return made

    def test_more_layers_than_a_page_of_options_holds(self, box: Box) -> None:
        layers = self.layers(box, 60)
        box.root["overlay"]["lower"] = [*layers, str(box.tree)]
        result = box.run("sh", "-c", "cat /who /file59; echo x > /new")
        assert result.out == "059"
        assert (box.upper / "new").exists()

    def test_one_layer_read_only(self, box: Box) -> None:
        box.root["overlay"] = {"lower": [str(box.tree)]}
        result = box.run("sh", "-c", "echo here; echo x > /new")
        assert result.out == "here\n"
        assert "Read-only file system" in result.err

    def test_paths_with_separators(self, box: Box) -> None:
        odd = box.base / "a:b,c\\d"
        box.tree.rename(odd)
        box.root["overlay"]["lower"] = [str(odd)]
        assert box.run("true").code == 0

    def test_a_plain_folder_is_a_root_too(self, box: Box) -> None:
        box.root = {}
        box.spec["root"]["path"] = str(box.tree)
        assert box.run("sh", "-c", "echo x > /new").code == 0
        assert (box.tree / "new").exists()


class TestDev:
    def test_nodes_and_links(self, box: Box) -> None:
        script = (
            "stat -c '%n %a %t:%T' null zero full random urandom tty;"
            "for l in fd stdin stdout stderr ptmx; do readlink $l; done"
        )
        box.spec["process"]["cwd"] = "/dev"
        assert box.run("sh", "-c", script).out.splitlines() == [
            "null 666 1:3",
            "zero 666 1:5",
            "full 666 1:7",
            "random 666 1:8",
            "urandom 666 1:9",
            "tty 666 5:0",
            "/proc/self/fd",
            "/proc/self/fd/0",
            "/proc/self/fd/1",
            "/proc/self/fd/2",
            "pts/ptmx",
        ]

    def test_devices_of_the_spec(self, box: Box) -> None:
        box.spec["linux"]["devices"] = [
            {
                "path": "/dev/snd/mine",
                "type": "c",
                "major": 1,
                "minor": 5,
                "fileMode": 0o640,
                "uid": 1000,
                "gid": 5,
            },
            {"path": "/opt/dev", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600},
        ]
        result = box.run("stat", "-c", "%n %a %u:%g %t:%T", "/dev/snd/mine", "/opt/dev")
        assert result.out == "/dev/snd/mine 640 1000:5 1:5\n/opt/dev 600 0:0 1:3\n"

    def test_a_console_is_named_as_in_the_container(self, box: Box) -> None:
        box.spec["process"]["consoleSize"] = {"height": 33, "width": 111}
        result = box.run("sh", "-c", "tty; echo >/dev/console; stty size; exit 3", console=True)
        assert result.console.splitlines()[0] == "/dev/pts/0"
        assert result.code == 3

    def test_the_console_belongs_to_the_user(self, box: Box) -> None:
        box.spec["process"]["user"] = {"uid": 1000, "gid": 1001}
        result = box.run("sh", "-c", "stat -c %u $(tty); echo x > $(tty)", console=True)
        assert result.console.split() == ["1000", "x"]


class TestIdentity:
    def test_capabilities(self, box: Box) -> None:
        caps = box.spec["process"]["capabilities"]
        caps["effective"] = ["CAP_KILL"]
        caps["permitted"] = ["CAP_KILL", "CAP_CHOWN", "CAP_NOPE"]
        result = box.run("cat", "/proc/self/status")
        found = status(result.out)
        assert found["CapBnd"] == mask(*CAPABILITIES)
        assert found["CapInh"] == found["CapAmb"] == mask()
        # execve of root gives the whole bounding set.
        assert found["CapEff"] == mask(*CAPABILITIES)
        assert result.warnings == ["ignoring unknown or unavailable capabilities: [CAP_NOPE]"]

    def test_ambient_capabilities_reach_another_user(self, box: Box) -> None:
        names = ["CAP_NET_BIND_SERVICE"]
        box.spec["process"]["user"] = {"uid": 1000, "gid": 1001}
        box.spec["process"]["capabilities"].update(inheritable=names, ambient=names)
        found = status(box.run("cat", "/proc/self/status").out)
        assert found["CapEff"] == found["CapAmb"] == mask(*names)

    def test_user_by_name(self, box: Box) -> None:
        box.spec["process"]["user"] = {"username": "bob", "additionalGroups": ["root", "77"]}
        found = box.run("sh", "-c", "id -u; id -g; id -G; echo $HOME; echo mine >> /dev/stdout")
        assert found.out.splitlines() == ["1000", "1001", "1001 0 10 77", "/home/bob", "mine"]

    def test_unknown_user(self, box: Box) -> None:
        box.spec["process"]["user"] = {"username": "nope"}
        assert box.run("true").error == "unable to find user nope: no matching entries in passwd file"

    def test_no_new_privileges(self, box: Box) -> None:
        box.spec["process"]["noNewPrivileges"] = True
        box.spec["linux"]["seccomp"] = default_profile(CAPABILITIES)
        box.spec["process"]["user"] = {"uid": 1000, "gid": 1001}
        found = status(box.run("cat", "/proc/self/status").out)
        assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")

    def test_seccomp(self, box: Box) -> None:
        box.spec["linux"]["seccomp"] = default_profile(CAPABILITIES)
        result = box.run("sh", "-c", "grep Seccomp: /proc/self/status; mkdir /tmp/x && chroot /tmp")
        assert result.out.split() == ["Seccomp:", "2"]
        assert "Operation not permitted" in result.err
        assert list((box.base / "cache").iterdir())

    def test_rlimits(self, box: Box) -> None:
        box.spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
        assert box.run("sh", "-c", "ulimit -Sn; ulimit -Hn").out == "100\n200\n"

    def test_an_unknown_rlimit(self, box: Box) -> None:
        box.spec["process"]["rlimits"] = [{"type": "RLIMIT_NOPE", "soft": 1, "hard": 1}]
        assert box.run("true").error == "wrong rlimit value: RLIMIT_NOPE"

    def test_an_rlimit_that_contradicts_itself(self, box: Box) -> None:
        box.spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 200, "hard": 100}]
        assert box.run("true").error.endswith("error setting rlimit type 7: invalid argument")

    def test_oom_score(self, box: Box) -> None:
        box.spec["process"]["oomScoreAdj"] = 500
        assert box.run("cat", "/proc/self/oom_score_adj").out == "500\n"

    def test_ignored_signals_are_not_inherited(self, box: Box) -> None:
        found = status(box.run("cat", "/proc/self/status").out)
        assert int(found["SigIgn"], 16) == 0
        assert int(found["SigBlk"], 16) == 0


class TestProgram:
    @pytest.mark.parametrize(
        ("program", "text"),
        [
            ("nope", 'exec: "nope": executable file not found in $PATH'),
            ("", 'exec: "": executable file not found in $PATH'),
            ("/nope", 'exec: "/nope": stat /nope: no such file or directory'),
            ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
            ("/etc", 'exec: "/etc": is a directory'),
        ],
    )
    def test_not_found(self, box: Box, program: str, text: str) -> None:
        result = box.run(program)
        assert result.error == f"unable to start container process: {text}"
        assert result.code is None

    def test_what_the_kernel_refuses_is_told_on_stderr(self, box: Box) -> None:
        (box.tree / "bin/junk").write_text("junk")
        (box.tree / "bin/junk").chmod(0o755)
        (box.tree / "bin/script").write_text("#!/nope\n")
        (box.tree / "bin/script").chmod(0o755)
        result = box.run("junk")
        assert (result.err, result.code, result.error) == ("exec /bin/junk: exec format error\n", 255, "")
        assert box.run("script").err == "exec /bin/script: no such file or directory\n"

    def test_the_working_directory_is_made(self, box: Box) -> None:
        box.spec["process"]["cwd"] = "/srv/app"
        assert box.run("sh", "-c", "pwd").out == "/srv/app\n"
        assert stat.S_IMODE((box.upper / "srv/app").stat().st_mode) == 0o755

    def test_a_working_directory_that_is_none(self, box: Box) -> None:
        box.spec["process"]["cwd"] = "/etc/passwd"
        assert box.run("true").error.endswith(
            "error during container init: mkdir /etc/passwd: not a directory"
        )


class TestClosedPaths:
    def test_masked_and_read_only(self, box: Box) -> None:
        box.spec["linux"]["maskedPaths"] = [
            "/proc/timer_list",
            "/proc/keys",
            "/sys/firmware",
            "/proc/not-there",
        ]
        box.spec["linux"]["readonlyPaths"] = ["/proc/sys", "/proc/bus", "/proc/not-there"]
        script = (
            "cat /proc/keys; ls /sys/firmware; echo 1 > /proc/sys/kernel/domainname; touch /sys/firmware/x"
        )
        result = box.run("sh", "-c", script)
        assert result.out == ""
        assert result.err.count("Read-only file system") == 2

    def test_sysctls(self, box: Box) -> None:
        box.spec["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shmmni": "77"}
        box.spec["linux"]["readonlyPaths"] = ["/proc/sys"]
        result = box.run("cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shmmni")
        assert result.out == "1\n77\n"
        assert Path("/proc/sys/kernel/shmmni").read_text() != "77\n"

    def test_an_unknown_sysctl(self, box: Box) -> None:
        box.spec["linux"]["sysctl"] = {"net.ipv4.nope": "1"}
        assert box.run("true").error.endswith("open /proc/sys/net/ipv4/nope: no such file or directory")


class TestJoining:
    """Namespaces by path, as `--network container:` and `--pid container:` want them."""

    @pytest.fixture
    def holder(self) -> Iterator[int]:
        """A process whose child is the first of new namespaces; gives that child's pid."""
        process = subprocess.Popen(
            ["unshare", "-n", "-i", "-u", "-p", "-f", "--kill-child", "sh", "-c", "echo; exec sleep 1000"],
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout
            process.stdout.readline()
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            yield int(children[0])
        finally:
            process.kill()
            process.wait()
            assert process.stdout
            process.stdout.close()

    def test_by_path(self, box: Box, holder: int) -> None:
        kinds = {"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}
        box.spec["linux"]["namespaces"] = [{"type": "mount"}] + [
            {"type": kind, "path": f"/proc/{holder}/ns/{name}"} for kind, name in kinds.items()
        ]
        del box.spec["hostname"]
        without = [mount for mount in box.spec["mounts"] if mount["type"] != "mqueue"]
        box.spec["mounts"] = without
        script = "for n in net ipc uts pid; do readlink /proc/self/ns/$n; done; echo $$"
        *found, pid = box.run("sh", "-c", script).out.split()
        expected = [str(Path(f"/proc/{holder}/ns/{name}").readlink()) for name in kinds.values()]
        assert found == expected
        assert int(pid) > 1

    def test_a_path_that_is_not_there(self, box: Box) -> None:
        box.spec["linux"]["namespaces"].append({"type": "cgroup", "path": "/nope"})
        assert "no such file or directory" in box.run("true").error


def test_an_init_of_the_host_runs_in_front(box: Box) -> None:
    """As the engine does for `--init`: a bind of the binary, and its name before the program."""
    binary = next(
        (path for path in ("/usr/bin/docker-init", "/usr/bin/tini-static") if Path(path).exists()), ""
    )
    if not binary:
        pytest.skip("no init here")
    box.mount(binary, "/sbin/docker-init", "bind", "ro")
    result = box.run("/sbin/docker-init", "--", "sh", "-c", "echo $$; readlink /proc/1/exe; exit 3")
    assert result.code == 3
    assert result.out.splitlines()[0] != "1"
    assert result.out.splitlines()[1] == "/sbin/docker-init"
