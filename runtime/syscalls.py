"""System calls that Python 3.11's `os` lacks: one thin wrapper each, no policy.

Every wrapper raises `OSError(errno, "<call>: <reason>", path)` on failure, so `str(error)` names both. Flags
and structure layouts are those of the kernel's UAPI headers; each constant's header is named beside it.
`setns`, `unshare` and `fork` must not be called in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import sys

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_MACHINE = os.uname().machine

# linux/sched.h
CLONE_VM, CLONE_PARENT = 0x100, 0x8000
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWTIME = 0x10000000, 0x20000000, 0x40000000, 0x80
CLONE_INTO_CGROUP = 0x200000000
# linux/mount.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_SYNCHRONOUS, MS_REMOUNT = 1, 2, 4, 8, 16, 32
MS_MANDLOCK, MS_DIRSYNC, MS_NOSYMFOLLOW, MS_NOATIME, MS_NODIRATIME = 64, 128, 256, 1024, 2048
MS_BIND, MS_MOVE, MS_REC, MS_SILENT = 4096, 8192, 16384, 32768
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_STRICTATIME, MS_LAZYTIME = 1 << 21, 1 << 24, 1 << 25
MNT_FORCE, MNT_DETACH, UMOUNT_NOFOLLOW = 1, 2, 8
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH = 0x4, 0x40
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_SET_FD, FSCONFIG_CMD_CREATE = 0, 1, 5, 6
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_ATIME_MASK, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME = 0x70, 0x10, 0x20
MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_IDMAP, MOUNT_ATTR_NOSYMFOLLOW = 0x80, 0x100000, 0x200000
# fcntl.h, linux/openat2.h
AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, AT_RECURSIVE = -100, 0x1000, 0x100, 0x8000
O_PATH = 0o10000000
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 1, 2, 4, 8, 16
# linux/prctl.h
PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_NAME = 1, 3, 4, 8, 15
PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER = 23, 24, 36
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 38, 47
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_LOWER, PR_CAP_AMBIENT_CLEAR_ALL = 2, 3, 4
# linux/magic.h
PROC_SUPER_MAGIC, SYSFS_MAGIC, TMPFS_MAGIC = 0x9FA0, 0x62656572, 0x01021994
CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC = 0x27E0EB, 0x63677270
# linux/seccomp.h
SECCOMP_SET_MODE_FILTER = 1

# Numbers from 424 on are the same on every architecture (asm-generic/unistd.h).
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_PIDFD_SEND_SIGNAL, _PIDFD_OPEN, _CLONE3, _CLOSE_RANGE, _OPENAT2 = 424, 434, 435, 436, 437
_PIDFD_GETFD, _MOUNT_SETATTR, _QUOTACTL_FD = 438, 442, 443
# linux/stat.h; the time of birth is at offset 80 of struct statx
STATX_BTIME, _BIRTH = 0x800, 80
# Older ones differ: asm/unistd_64.h, and asm-generic/unistd.h for the others.
_X86 = _MACHINE == "x86_64"
_PIVOT_ROOT = 155 if _X86 else 41
_SECCOMP = 317 if _X86 else 277
_KEYCTL = 250 if _X86 else 219
_BPF = 321 if _X86 else 280
_STATX = 332 if _X86 else 291
_CAPGET, _CAPSET = (125, 126) if _X86 else (90, 91)


def _fail(call: str, path: str | bytes | int | None = None) -> OSError:
    code = ctypes.get_errno()
    where = os.fsdecode(path) if isinstance(path, (str, bytes)) else None if path is None else f"fd {path}"
    # The call is part of the text: "mount: Operation not permitted: '/proc'".
    return OSError(code, f"{call}: {os.strerror(code).lower()}", where)


def _path(path: str | bytes | None) -> bytes | None:
    return path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path


def _call(name: str, path: str | bytes | int | None, number: int, *arguments: object) -> int:
    value: int = _syscall(ctypes.c_long(number), *arguments)
    if value < 0:
        raise _fail(name, path)
    return value


# Processes and namespaces --------------------------------------------------------------------------


class _CloneArgs(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in "flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid "
        "set_tid_size cgroup".split()
    ]


def fork(flags: int = 0, cgroup: int = -1) -> int:
    """clone3(2) with `flags` and SIGCHLD, behaving as `os.fork`: 0 in the child, the pid in the parent.

    `cgroup` is the fd of a v2 cgroup folder that the child is born in (CLONE_INTO_CGROUP), or -1.
    With CLONE_PARENT the kernel wants no exit signal: the caller's own is inherited.
    """
    arguments = _CloneArgs(flags=flags, exit_signal=0 if flags & CLONE_PARENT else 17)
    if cgroup >= 0:
        arguments.flags |= CLONE_INTO_CGROUP
        arguments.cgroup = cgroup
    api = ctypes.pythonapi
    api.PyOS_BeforeFork()
    # PyDLL: the GIL stays with us across the call, as os.fork keeps it.
    pid: int = _syscall_gil(ctypes.c_long(_CLONE3), ctypes.byref(arguments), ctypes.c_size_t(88))
    code = ctypes.get_errno()
    if pid == 0:
        api.PyOS_AfterFork_Child()
        return 0
    api.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(code, f"clone3: {os.strerror(code).lower()}")
    return pid


_syscall_gil = ctypes.PyDLL(None, use_errno=True).syscall
_syscall_gil.restype = ctypes.c_long


def unshare(flags: int) -> None:
    if _libc.unshare(ctypes.c_int(flags)) < 0:
        raise _fail("unshare")


def setns(fd: int, flags: int = 0) -> None:
    """Join a namespace by its fd, or all of `flags` by a pidfd (Linux 5.8)."""
    if _libc.setns(fd, ctypes.c_int(flags)) < 0:
        raise _fail("setns", fd)


def pidfd_open(pid: int) -> int:
    return _call("pidfd_open", None, _PIDFD_OPEN, ctypes.c_int(pid), ctypes.c_uint(0))


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    _call("pidfd_send_signal", None, _PIDFD_SEND_SIGNAL, pidfd, signal, None, ctypes.c_uint(0))


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    """Close (or with flags 4 mark close-on-exec) all fds from `first` to `last`."""
    _call("close_range", None, _CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(last), ctypes.c_uint(flags))


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    value: int = _libc.prctl(
        option, ctypes.c_ulong(arg2), ctypes.c_ulong(arg3), ctypes.c_ulong(arg4), ctypes.c_ulong(arg5)
    )
    if value < 0:
        raise _fail(f"prctl {option}")
    return value


def sethostname(name: bytes) -> None:
    if _libc.sethostname(name, ctypes.c_size_t(len(name))) < 0:
        raise _fail("sethostname")


def setdomainname(name: bytes) -> None:
    if _libc.setdomainname(name, ctypes.c_size_t(len(name))) < 0:
        raise _fail("setdomainname")


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the caller's capability sets (64-bit masks; _LINUX_CAPABILITY_VERSION_3 of linux/capability.h)."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    for half in (0, 1):
        for slot, mask in enumerate((effective, permitted, inheritable)):
            data[half * 3 + slot] = (mask >> (32 * half)) & 0xFFFFFFFF
    _call("capset", None, _CAPSET, header, data)


def capget() -> tuple[int, int, int]:
    """The caller's effective, permitted and inheritable capabilities as masks."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    _call("capget", None, _CAPGET, header, data)
    return data[0] | data[3] << 32, data[1] | data[4] << 32, data[2] | data[5] << 32


def seccomp_filter(program: bytes, flags: int = 0) -> None:
    """Load a classic BPF program (array of struct sock_filter) by seccomp(2)."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = _SockFprog(len(program) // 8, ctypes.addressof(buffer))
    _call("seccomp", None, _SECCOMP, SECCOMP_SET_MODE_FILTER, ctypes.c_uint(flags), ctypes.byref(header))


class _SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def new_session_keyring() -> int:
    """keyctl(KEYCTL_JOIN_SESSION_KEYRING) without a name: a fresh keyring, neither the host's nor
    another's."""
    return _call("keyctl", None, _KEYCTL, 1, None)


def bpf(command: int, attribute: ctypes.Structure) -> int:
    return _call("bpf", None, _BPF, command, ctypes.byref(attribute), ctypes.c_uint(ctypes.sizeof(attribute)))


def quotactl_fd(fd: int, command: int, number: int, buffer: bytearray) -> None:
    """quotactl(2) on the file system that `fd` lies on (Linux 5.14); `buffer` is read or written."""
    array = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    _call("quotactl", fd, _QUOTACTL_FD, fd, ctypes.c_uint(command), ctypes.c_int(number), array)


# Files and mounts ----------------------------------------------------------------------------------


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def openat2(root: int, path: str | bytes, flags: int, resolve: int, mode: int = 0) -> int:
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(
        32
    ):  # EAGAIN: a rename raced with a ".." (openat2(2)); trying again is the documented answer
        fd: int = _syscall(
            ctypes.c_long(_OPENAT2), root, _path(path), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))
        )
        if fd >= 0:
            return fd
        if ctypes.get_errno() != 11:
            break
    raise _fail("openat2", path)


def mount(
    source: str | bytes | None,
    target: str | bytes,
    kind: str | bytes | None = None,
    flags: int = 0,
    data: str | bytes | None = None,
) -> None:
    """mount(2). `data` over one page is cut by the kernel (overlay then fails with a misleading ENOENT)."""
    if _libc.mount(_path(source), _path(target), _path(kind), ctypes.c_ulong(flags), _path(data)) < 0:
        raise _fail("mount", target)


def umount(target: str | bytes, flags: int = 0) -> None:
    if _libc.umount2(_path(target), flags) < 0:
        raise _fail("umount", target)


def pivot_root(new: str | bytes, old: str | bytes) -> None:
    _call("pivot_root", new, _PIVOT_ROOT, _path(new), _path(old))


def open_tree(fd: int, path: str | bytes, flags: int = OPEN_TREE_CLONE) -> int:
    """open_tree(2), close-on-exec. With OPEN_TREE_CLONE the result is a detached copy of the mount."""
    if not path:
        flags |= AT_EMPTY_PATH
    return _call(
        "open_tree", path or fd, _OPEN_TREE, fd, _path(path), ctypes.c_uint(flags | OPEN_TREE_CLOEXEC)
    )


def move_mount(mount_fd: int, target_fd: int) -> None:
    """Attach the detached mount `mount_fd` on top of what `target_fd` (O_PATH) is."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    _call("move_mount", target_fd, _MOVE_MOUNT, mount_fd, b"", target_fd, b"", ctypes.c_uint(flags))


def fsopen(kind: str) -> int:
    return _call("fsopen", kind, _FSOPEN, _path(kind), ctypes.c_uint(1))


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None, aux: int = 0) -> None:
    _call("fsconfig", key, _FSCONFIG, fd, ctypes.c_uint(command), _path(key), _path(value), aux)


def fsmount(fd: int, attributes: int = 0) -> int:
    return _call("fsmount", None, _FSMOUNT, fd, ctypes.c_uint(1), ctypes.c_uint(attributes))


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def mount_setattr(
    fd: int, *, set: int = 0, clear: int = 0, propagation: int = 0, userns: int = 0, recursive: bool = False
) -> None:
    """mount_setattr(2) on the mount that `fd` is (Linux 5.12)."""
    attributes = _MountAttr(set, clear, propagation, userns)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    _call("mount_setattr", fd, _MOUNT_SETATTR, fd, b"", ctypes.c_uint(flags), ctypes.byref(attributes), size)


def filesystem_type(fd: int) -> int:
    """f_type of fstatfs(2): a *_MAGIC of linux/magic.h."""
    buffer = (ctypes.c_long * 32)()
    if _libc.fstatfs(fd, buffer) < 0:
        raise _fail("fstatfs", fd)
    return int(buffer[0])


def birth(fd: int) -> int:
    """When what `fd` is was made, in ns (statx(2)); 0 where the file system does not know."""
    buffer = ctypes.create_string_buffer(256)
    _call("statx", fd, _STATX, fd, b"", AT_EMPTY_PATH, ctypes.c_uint(STATX_BTIME), buffer)
    if not int.from_bytes(buffer.raw[:4], sys.byteorder) & STATX_BTIME:
        return 0
    seconds = int.from_bytes(buffer.raw[_BIRTH : _BIRTH + 8], sys.byteorder, signed=True)
    return seconds * 1_000_000_000 + int.from_bytes(buffer.raw[_BIRTH + 8 : _BIRTH + 12], sys.byteorder)
