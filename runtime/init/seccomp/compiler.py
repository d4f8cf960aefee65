"""Compile an OCI seccomp profile by libseccomp (2.5 or newer), called through ctypes.

Runs in a short-lived child. Raises CompileError with runc's text.
"""

from __future__ import annotations

import ctypes
import os
import tempfile

from runtime.init.seccomp import bpf, numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.spec import Seccomp, SeccompArg

_ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_OPERATORS = {
    f"SCMP_CMP_{name}": number
    for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), 1)
}
_EPERM = 1
_ATTRIBUTE_OPTIMIZE, _BINARY_TREE = 8, 2
_ERROR = -1  # __NR_SCMP_ERROR
_X32_TOKEN = 0x4000003E


class CompileError(Exception):
    pass


class _Comparison(ctypes.Structure):
    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise CompileError(f"seccomp: config provided but seccomp not supported: {error}") from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    ]
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_native.restype = ctypes.c_uint32
    library.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    return library


def action(name: str, errno_ret: int | None) -> int:
    """SECCOMP_RET_* of an OCI action; ERRNO and TRACE without a number mean EPERM."""
    if name not in _ACTIONS:
        raise CompileError(f'string "{name}" is not a valid action for seccomp')
    value = _ACTIONS[name]
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        value |= _EPERM if errno_ret is None else errno_ret & 0xFFFF
    return value


def compile_profile(profile: Seccomp) -> bytes:
    """The filter as an array of struct sock_filter."""
    library = _library()
    default = action(profile.get("defaultAction", ""), profile.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        raise CompileError("error creating filter")
    try:
        native = library.seccomp_arch_native()
        arches: dict[str, int] = {}
        for name in profile.get("architectures") or []:
            token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
            if not token:
                raise CompileError(f'string "{name}" is not a valid arch for seccomp')
            arches[name] = token
            if token != native and library.seccomp_arch_add(context, token) not in (0, -17):
                raise CompileError(f"error adding architecture {name} to seccomp filter")
        if not arches:
            arches = {_native_name(): native}
        library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, _BINARY_TREE)
        unknown: dict[str, int] = {}
        names: list[str] = []
        for rule in profile.get("syscalls") or []:
            value = action(rule["action"], rule.get("errnoRet"))
            names += rule["names"]
            if value == default:
                continue
            for name in rule["names"]:
                number = library.seccomp_syscall_resolve_name(name.encode())
                if number == _ERROR:
                    if not rule.get("args"):
                        unknown[name] = value
                    continue
                _add(library, context, value, name, number, rule.get("args") or [])
        front = bpf.front(_front_rules(library, arches, unknown, names, default))
        return bpf.encode(front) + _export(library, context)
    finally:
        library.seccomp_release(context)


def _add(
    library: ctypes.CDLL, context: int, value: int, name: str, number: int, args: list[SeccompArg]
) -> None:
    comparisons = []
    for arg in args:
        operator = _OPERATORS.get(arg["op"])
        if operator is None:
            raise CompileError(f'string "{arg["op"]}" is not a valid operator for seccomp')
        a, b = arg.get("value", 0), arg.get("valueTwo", 0)
        comparisons.append(_Comparison(arg["index"], operator, a & 2**64 - 1, b & 2**64 - 1))
    indexes = [comparison.arg for comparison in comparisons]
    # libseccomp takes one comparison per argument; several are alternatives (runc's reading).
    groups = [[c] for c in comparisons] if len(set(indexes)) < len(indexes) else [comparisons]
    for group in groups:
        array = (_Comparison * len(group))(*group)
        code = library.seccomp_rule_add_array(context, value, number, len(group), array)
        if code not in (
            0,
            -22,
            -33,
            -17,
        ):  # EINVAL, EDOM: not on one of the architectures; EEXIST: said already
            raise CompileError(f"error adding seccomp rule for syscall {name}: {os.strerror(-code).lower()}")


def _front_rules(
    library: ctypes.CDLL, arches: dict[str, int], unknown: dict[str, int], names: list[str], default: int
) -> list[bpf.ArchRules]:
    rules = []
    # ENOSYS for newer syscalls only where the default would be EPERM and so break a libc's fallback.
    stub = default == 0x00050000 | _EPERM
    for arch, token in arches.items():
        known = {name: library.seccomp_syscall_resolve_name_arch(token, name.encode()) for name in names}
        x32 = token == _X32_TOKEN
        returns = {}
        newest = 0
        for name, number in known.items():
            if number < 0:
                ours = numbers.lookup(name, arch)
                if number != _ERROR or ours is None:
                    continue
                number = ours
                if name in unknown:
                    returns[number] = unknown[name]
            newest = max(newest, number & ~bpf.X32_BIT)
        audit = bpf.AUDIT_X86_64 if x32 else token
        rules.append(bpf.ArchRules(audit, returns, newest if stub and newest else None, x32=x32))
    return rules


def _export(library: ctypes.CDLL, context: int) -> bytes:
    with tempfile.TemporaryFile() as file:
        code = library.seccomp_export_bpf(context, file.fileno())
        if code:
            raise CompileError(f"error exporting seccomp filter: {os.strerror(-code).lower()}")
        file.seek(0)
        return file.read()


def _native_name() -> str:
    return {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}.get(os.uname().machine, "")
