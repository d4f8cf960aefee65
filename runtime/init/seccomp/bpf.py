"""The part of a filter that we write ourselves, in front of libseccomp's: classic BPF as in linux/filter.h.

It answers for two kinds of syscalls: those that the profile names but the library does not know (allowed
ones must not fall to the default EPERM), and those newer than all that the profile knows, which get ENOSYS
so that a libc falls back to an older call (as runc does).
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# linux/bpf_common.h and the offsets in struct seccomp_data (linux/seccomp.h)
LD_W_ABS, JMP_JA, JMP_JEQ, JMP_JGT, JMP_JGE, RET = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06
_NR, _ARCH = 0, 4
RET_ENOSYS = 0x00050000 | 38
X32_BIT = 0x40000000
AUDIT_X86_64 = 0xC000003E

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, k


def encode(program: Sequence[Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


class ArchRules:
    """What the front part knows of one architecture.

    token: AUDIT_ARCH_*; returns: syscall number → SECCOMP_RET_*; newest: highest number the profile knows,
    or None when unknown ones are the default action's business. x32 shares x86_64's token; its numbers carry
    X32_BIT.
    """

    __slots__ = ("newest", "returns", "token", "x32")

    def __init__(self, token: int, returns: dict[int, int], newest: int | None, *, x32: bool = False) -> None:
        self.token, self.returns, self.newest, self.x32 = token, returns, newest, x32

    def block(self) -> list[Instruction]:
        """Instructions with the number loaded; falls through when it has no opinion."""
        base = X32_BIT if self.x32 else 0
        program: list[Instruction] = []
        for number, action in sorted(self.returns.items()):
            program += [(JMP_JEQ, 0, 1, base | number), (RET, 0, 0, action)]
        if self.newest is not None:
            program += [(JMP_JGT, 0, 1, base | self.newest), (RET, 0, 0, RET_ENOSYS)]
        return program


def front(rules: Sequence[ArchRules]) -> list[Instruction]:
    """The front part; its end falls into the program that follows."""
    program: list[Instruction] = []
    for token in dict.fromkeys(rule.token for rule in rules):
        normal = next((rule.block() for rule in rules if rule.token == token and not rule.x32), [])
        other = next((rule.block() for rule in rules if rule.token == token and rule.x32), [])
        inner: list[Instruction] = [(LD_W_ABS, 0, 0, _NR)]
        if token == AUDIT_X86_64:
            # Without the skip, every x32 number would look "newer than known".
            inner += [(JMP_JGE, len(normal) + 1, 0, X32_BIT), *normal, (JMP_JA, 0, 0, len(other)), *other]
        else:
            inner += normal
        program += [(LD_W_ABS, 0, 0, _ARCH), (JMP_JEQ, 0, len(inner), token), *inner]
    return program
