"""Our part of a filter, by interpretation."""

from runtime.init.seccomp import bpf, numbers
from tests.unit.runtime.bpf_machine import AARCH64, ALLOW, ERRNO, I386, X86_64, run

END = [(bpf.RET, 0, 0, ALLOW | 1)]  # stands for libseccomp's part
PASSED = ALLOW | 1
ENOSYS = ERRNO | 38


def program(*rules: bpf.ArchRules) -> bytes:
    return bpf.encode([*bpf.front(rules), *END])


def test_named_numbers_are_answered_and_others_passed_on() -> None:
    code = program(bpf.ArchRules(X86_64, {458: ALLOW, 500: ERRNO | 7}, None))
    assert run(code, 458) == ALLOW
    assert run(code, 500) == ERRNO | 7
    assert run(code, 457) == PASSED
    assert run(code, 10**6) == PASSED


def test_numbers_newer_than_known_are_enosys() -> None:
    code = program(bpf.ArchRules(X86_64, {}, 460))
    assert run(code, 460) == PASSED
    assert run(code, 461) == ENOSYS


def test_architectures_do_not_mix() -> None:
    code = program(bpf.ArchRules(X86_64, {458: ALLOW}, 460), bpf.ArchRules(I386, {}, 400))
    assert run(code, 458, arch=I386) == ENOSYS
    assert run(code, 400, arch=I386) == PASSED
    assert run(code, 999, arch=AARCH64) == PASSED


def test_x32_numbers_are_compared_with_their_own() -> None:
    bit = bpf.X32_BIT
    both = program(
        bpf.ArchRules(X86_64, {458: ALLOW}, 460), bpf.ArchRules(X86_64, {459: ALLOW}, 547, x32=True)
    )
    assert run(both, bit | 547) == PASSED
    assert run(both, bit | 548) == ENOSYS
    assert run(both, bit | 459) == ALLOW
    assert run(both, bit | 458) == PASSED
    assert run(both, 461) == ENOSYS
    alone = program(bpf.ArchRules(X86_64, {}, 460))
    assert run(alone, bit | 1) == PASSED


def test_numbers_agree_with_those_that_are_generally_known() -> None:
    assert numbers.lookup("clone3", "SCMP_ARCH_AARCH64") == 435
    assert numbers.lookup("landlock_restrict_self", "SCMP_ARCH_X86") == 446
    assert numbers.lookup("listmount", "SCMP_ARCH_X86_64") == 458
    assert numbers.lookup("mseal", "SCMP_ARCH_X86_64") == 462
    assert numbers.lookup("uretprobe", "SCMP_ARCH_X86_64") == 335
    assert numbers.lookup("uretprobe", "SCMP_ARCH_AARCH64") is None
    assert numbers.lookup("nope", "SCMP_ARCH_X86_64") is None
