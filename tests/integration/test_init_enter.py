"""Further processes in a running container."""

import pytest

from compatd.engine.security import default_profile
from tests.integration.initkit import CAPABILITIES, Box, box

__all__ = ["box"]
pytestmark = pytest.mark.root

FAILED = "exec failed: unable to start container process: "


def test_it_is_where_the_first_process_is(box: Box) -> None:
    script = "hostname; echo $(cat /new); readlink /proc/self/ns/net; cat /proc/self/cgroup"
    first = "echo mine > /new; readlink /proc/self/ns/net"
    result = box.run_beside(first, box.process("sh", "-c", script))
    out = result.execs[0]["out"].splitlines()
    assert out[:3] == ["box", "mine", result.out.strip()]
    assert all(line.endswith(f"{box.group}/c") for line in out[3:] if not line.startswith("0::"))


def test_exit_codes_and_output(box: Box) -> None:
    execs = [box.process("sh", "-c", "echo out; echo err >&2; exit 9"), box.process("sh", "-c", "kill -9 $$")]
    result = box.run("sleep", "100", execs=execs)
    assert (result.execs[0]["out"], result.execs[0]["code"]) == ("out\nerr\n", 9)
    assert result.execs[1]["code"] == -9


def test_user_directory_environment_and_limits_are_its_own(box: Box) -> None:
    process = box.process(
        "sh",
        "-c",
        "id -u; id -g; pwd; echo $X $HOME; ulimit -n",
        user={"username": "bob:10"},
        cwd="/tmp",
        env=["PATH=/bin", "X=1"],
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}],
    )
    result = box.run("sleep", "100", execs=[process])
    assert result.execs[0]["out"].split() == ["1000", "10", "/tmp", "1", "/home/bob", "64"]


def test_capabilities_and_seccomp(box: Box) -> None:
    box.spec["linux"]["seccomp"] = default_profile(CAPABILITIES)
    none: dict[str, list[str]] = {"bounding": [], "effective": [], "permitted": []}
    process = box.process("grep", "-E", "CapEff|CapBnd|Seccomp:", "/proc/self/status", capabilities=none)
    out = box.run("sleep", "100", execs=[process]).execs[0]["out"].split()
    assert out == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "Seccomp:", "2"]


def test_a_terminal(box: Box) -> None:
    process = box.process(
        "sh", "-c", "tty; stat -c %u $(tty)", terminal=True, user={"uid": 1000, "gid": 1001}
    )
    result = box.run("sleep", "100", execs=[process])
    assert result.execs[0]["out"].split() == ["/dev/pts/0", "1000"]


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("nope", f'{FAILED}exec: "nope": executable file not found in $PATH'),
        ("/nope", f'{FAILED}exec: "/nope": stat /nope: no such file or directory'),
        ("/etc", f'{FAILED}exec: "/etc": is a directory'),
    ],
)
def test_programs_that_are_not_there(box: Box, program: str, text: str) -> None:
    result = box.run("sleep", "100", execs=[box.process(program)])
    assert result.execs[0]["error"] == text


def test_a_directory_that_is_not_there(box: Box) -> None:
    result = box.run("sleep", "100", execs=[box.process("true", cwd="/nope")])
    expected = f'{FAILED}chdir to cwd ("/nope") set in config.json failed: no such file or directory'
    assert result.execs[0]["error"] == expected


def test_an_unknown_user_is_told_as_dockerd_does(box: Box) -> None:
    result = box.run("sleep", "100", execs=[box.process("true", user={"username": "nope"})])
    assert result.execs[0]["error"] == "unable to find user nope: no matching entries in passwd file"


def test_a_bad_program(box: Box) -> None:
    (box.tree / "bin/junk").write_text("junk")
    (box.tree / "bin/junk").chmod(0o755)
    result = box.run("sleep", "100", execs=[box.process("junk")])
    assert (result.execs[0]["out"], result.execs[0]["code"]) == ("exec /bin/junk: exec format error\n", 255)
