"""cgroup v2's device control: an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE (linux/bpf.h), written by
us."""

from __future__ import annotations

import ctypes
import os
import struct

from runtime import syscalls as s
from runtime.cgroups import devices
from runtime.cgroups.base import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.spec import DeviceRule

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI = 15, 6, 2
# eBPF opcodes
_LDX_W, _AND32, _RSH32, _MOV32_REG, _MOV_IMM, _JNE, _JEQ, _EXIT = (
    0x61,
    0x54,
    0x74,
    0xBC,
    0xB7,
    0x55,
    0x15,
    0x95,
)
_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}

# (type 1, 2 or 0 for both; major or -1; minor or -1; access mask)
Exception_ = tuple[int, int, int, int]


def reduce(rules: Sequence[DeviceRule]) -> tuple[bool, list[Exception_]]:
    """The rules as the v1 controller understands them: (allowed by default, exceptions to that)."""
    default = True
    exceptions: list[Exception_] = []
    for rule in devices.effective(rules):
        allow = bool(rule.get("allow"))
        if devices.is_all(rule):
            default, exceptions = allow, []
            continue
        access = sum(_ACCESS[letter] for letter in set(rule.get("access") or "rwm") if letter in _ACCESS)
        numbers = [-1 if n is None or n < 0 else n for n in (rule.get("major"), rule.get("minor"))]
        place = (_TYPES.get(rule.get("type") or "a", 0), numbers[0], numbers[1])
        old = next((item for item in exceptions if item[:3] == place), None)
        before = old[3] if old else 0
        # A rule of the default's own kind takes its access out of the exceptions, the other kind adds it.
        after = before & ~access if allow == default else before | access
        if old:
            exceptions.remove(old)
        if after:
            exceptions.append((*place, after))
    return default, exceptions


def assemble(default: bool, exceptions: Sequence[Exception_]) -> bytes:
    """The program: r2 type, r3 access, r4 major, r5 minor; the answer is 1 (allow) or 0.

    By default denied, an exception must cover all the access that is asked for; by default allowed, one that
    touches any of it denies.
    """
    program = [
        _instruction(_LDX_W, 2, 1, 0, 0),
        _instruction(_MOV32_REG, 3, 2, 0, 0),
        _instruction(_AND32, 2, 0, 0, 0xFFFF),
        _instruction(_RSH32, 3, 0, 0, 16),
        _instruction(_LDX_W, 4, 1, 4, 0),
        _instruction(_LDX_W, 5, 1, 8, 0),
    ]
    for kind, major, minor, access in exceptions:
        tests: list[tuple[int, int, int]] = []
        if kind:
            tests.append((_JNE, 2, kind))
        if major >= 0:
            tests.append((_JNE, 4, major))
        if minor >= 0:
            tests.append((_JNE, 5, minor))
        mask, skip = (access, _JEQ) if default else (~access & 7, _JNE)
        size = len(tests) + 3 + 2
        for position, (code, register, value) in enumerate(tests):
            program.append(_instruction(code, register, 0, size - position - 1, value))
        program += [
            _instruction(_MOV32_REG, 1, 3, 0, 0),
            _instruction(_AND32, 1, 0, 0, mask),
            _instruction(skip, 1, 0, 2, 0),
            *_answer(not default),
        ]
    return b"".join([*program, *_answer(default)])


def _answer(allow: bool) -> list[bytes]:
    return [_instruction(_MOV_IMM, 0, 0, 0, int(allow)), _instruction(_EXIT, 0, 0, 0, 0)]


def _instruction(code: int, target: int, source: int, offset: int, value: int) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | target, offset, value)


class _Load(ctypes.Structure):
    _fields_ = [
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
    ]


class _Attach(ctypes.Structure):
    _fields_ = [
        ("target_fd", ctypes.c_uint32),
        ("attach_bpf_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
    ]


class _Query(ctypes.Structure):
    _fields_ = [
        ("target_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("query_flags", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
        ("prog_ids", ctypes.c_uint64),
        ("prog_cnt", ctypes.c_uint32),
    ]


class _ById(ctypes.Structure):
    _fields_ = [("prog_id", ctypes.c_uint32), ("next_id", ctypes.c_uint32), ("open_flags", ctypes.c_uint32)]


def load(program: bytes) -> int:
    """Fd of the loaded program. Raises OSError."""
    code = ctypes.create_string_buffer(program, len(program))
    license_ = ctypes.create_string_buffer(b"GPL")
    count = len(program) // 8
    attribute = _Load(_TYPE_CGROUP_DEVICE, count, ctypes.addressof(code), ctypes.addressof(license_))
    return s.bpf(_PROG_LOAD, attribute)


def attach(folder: str, rules: Sequence[DeviceRule]) -> None:
    """Put the rules in force on a group, in place of earlier ones. Raises CgroupError."""
    group = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    program = -1
    try:
        old = _attached(group)
        program = load(assemble(*reduce(rules)))
        s.bpf(_PROG_ATTACH, _Attach(group, program, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI))
        for number in old:
            previous = s.bpf(_GET_FD_BY_ID, _ById(number))
            s.bpf(_PROG_DETACH, _Attach(group, previous, _ATTACH_CGROUP_DEVICE))
            os.close(previous)
    except OSError as error:
        why = (error.strerror or "").lower()
        raise CgroupError(
            f"failed to call BPF_PROG_ATTACH (BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI): {why}"
        ) from None
    finally:
        os.close(group)
        if program >= 0:
            os.close(program)


def _attached(group: int) -> list[int]:
    ids = (ctypes.c_uint32 * 64)()
    query = _Query(group, _ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), 64)
    s.bpf(_PROG_QUERY, query)
    return list(ids[: query.prog_cnt])
