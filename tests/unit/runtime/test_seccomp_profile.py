"""Docker's default profile compiled by libseccomp, and judged by interpretation."""

import errno
import os
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest

from compatd.engine.security import default_profile
from runtime.init.errors import InitError
from runtime.init.seccomp import cache as filters
from runtime.init.seccomp import compiler
from runtime.spec import Seccomp
from tests.unit.runtime.bpf_machine import ALLOW, ERRNO, I386, KILL, run

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")

EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS
READ, SOCKET, CLONE, MOUNT, CHROOT, PERSONALITY, PTRACE, KEYCTL = 0, 41, 56, 165, 161, 135, 101, 250
CLONE3, LISTMOUNT, UNSHARE, BPF = 435, 458, 272, 321
CLONE_NEWUSER = 0x10000000


@cache
def default(*capabilities: str) -> bytes:
    return compiler.compile_profile(cast(Seccomp, default_profile(list(capabilities))))


def test_ordinary_calls_pass_and_dangerous_ones_do_not() -> None:
    code = default()
    assert run(code, READ) == ALLOW
    assert run(code, PTRACE) == ALLOW
    for number in (MOUNT, CHROOT, KEYCTL, UNSHARE, BPF):
        assert run(code, number) == EPERM


def test_capabilities_open_calls() -> None:
    assert run(default("CAP_SYS_CHROOT"), CHROOT) == ALLOW
    assert run(default("CAP_SYS_CHROOT"), MOUNT) == EPERM
    admin = default("CAP_SYS_ADMIN")
    assert [run(admin, number) for number in (MOUNT, UNSHARE, CLONE3, BPF)] == [ALLOW] * 4
    assert run(default("CAP_BPF"), BPF) == ALLOW


def test_clone_may_not_make_namespaces() -> None:
    assert run(default(), CLONE, (0x11,)) == ALLOW
    assert run(default(), CLONE, (CLONE_NEWUSER | 0x11,)) == EPERM
    assert run(default("CAP_SYS_ADMIN"), CLONE, (CLONE_NEWUSER,)) == ALLOW


def test_clone3_does_not_exist() -> None:
    assert run(default(), CLONE3) == ENOSYS


@pytest.mark.parametrize(
    ("family", "verdict"), [(1, ALLOW), (2, ALLOW), (38, EPERM), (39, ALLOW), (40, EPERM), (41, ALLOW)]
)
def test_cve_2026_31431_af_alg_and_af_vsock_are_refused(family: int, verdict: int) -> None:
    assert run(default(), SOCKET, (family, 1, 0)) == verdict


def test_personality_takes_the_harmless_kinds() -> None:
    assert run(default(), PERSONALITY, (0x20008,)) == ALLOW
    assert run(default(), PERSONALITY, (0xFFFFFFFF,)) == ALLOW
    assert run(default(), PERSONALITY, (0x40000,)) == EPERM


def test_a_call_that_the_library_may_not_know_is_allowed_by_number() -> None:
    assert run(default(), LISTMOUNT) == ALLOW


def test_calls_newer_than_the_profile_are_enosys() -> None:
    assert run(default(), 1000) == ENOSYS
    assert run(default(), 1000, arch=I386) == ENOSYS


def test_32_bit_calls_are_judged_too() -> None:
    assert run(default(), 3, arch=I386) == ALLOW  # read
    assert run(default(), 21, arch=I386) == EPERM  # mount
    assert run(default(), 3, arch=0x1234) == KILL


def test_errors_have_runcs_words() -> None:
    profile: Any = {"defaultAction": "SCMP_ACT_NOPE"}
    with pytest.raises(compiler.CompileError, match='"SCMP_ACT_NOPE" is not a valid action for seccomp'):
        compiler.compile_profile(profile)
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NOPE"]}
    with pytest.raises(compiler.CompileError, match="not a valid arch"):
        compiler.compile_profile(profile)


def test_a_deny_list() -> None:
    profile: Any = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["mkdir", "listmount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5},
            {
                "names": ["socket"],
                "action": "SCMP_ACT_KILL_PROCESS",
                "args": [
                    {"index": 0, "value": 16, "op": "SCMP_CMP_EQ"},
                    {"index": 0, "value": 17, "op": "SCMP_CMP_EQ"},
                ],
            },
        ],
    }
    code = compiler.compile_profile(profile)
    assert run(code, 83) == ERRNO | 5
    assert run(code, LISTMOUNT) == ERRNO | 5
    assert run(code, 1000) == ALLOW
    # Two comparisons of one argument are alternatives.
    assert [run(code, SOCKET, (family,)) for family in (16, 17, 18)] == [0x80000000, 0x80000000, ALLOW]


READ_ONLY: Any = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}],
}


class TestCache:
    def test_compiled_once_and_read_then(self, tmp_path: Path) -> None:
        cache_folder = tmp_path / "seccomp"
        first, flags = filters.program(READ_ONLY, str(cache_folder))
        (file,) = cache_folder.iterdir()
        assert first == file.read_bytes()
        assert flags == 0
        assert run(first, READ) == ALLOW
        file.write_bytes(b"01234567")
        assert filters.program(READ_ONLY, str(cache_folder))[0] == b"01234567"

    def test_a_torn_file_is_made_anew(self, tmp_path: Path) -> None:
        first, _ = filters.program(READ_ONLY, str(tmp_path))
        (file,) = tmp_path.iterdir()
        file.write_bytes(b"123")
        assert filters.program(READ_ONLY, str(tmp_path))[0] == first

    def test_profiles_differ(self) -> None:
        other: Any = {**READ_ONLY, "defaultErrnoRet": 38}
        assert filters.key(READ_ONLY) != filters.key(other)

    def test_errors_come_from_the_compiling_child(self, tmp_path: Path) -> None:
        with pytest.raises(InitError, match='string "SCMP_ACT_X" is not a valid action'):
            filters.program({"defaultAction": "SCMP_ACT_X"}, str(tmp_path))
        assert list(tmp_path.iterdir()) == []

    def test_a_compiler_that_dies_is_an_error_and_not_a_missing_filter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(filters, "_compile_to", lambda *_: os._exit(66))
        with pytest.raises(InitError, match="unable to init seccomp"):
            filters.program(READ_ONLY, str(tmp_path))

    def test_flags(self, tmp_path: Path) -> None:
        profile: Any = {**READ_ONLY, "flags": ["SECCOMP_FILTER_FLAG_LOG"]}
        assert filters.program(profile, str(tmp_path))[1] == 2
        with pytest.raises(InitError, match="not a valid flag"):
            filters.program(profile | {"flags": ["X"]}, str(tmp_path))

    def test_allow_all_is_no_filter(self, tmp_path: Path) -> None:
        assert filters.program({"defaultAction": "SCMP_ACT_ALLOW"}, str(tmp_path)) == (b"", 0)
