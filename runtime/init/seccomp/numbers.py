"""Numbers of syscalls that a libseccomp may be too old to know; from 424 on all architectures share them.

From asm-generic/unistd.h and arch/x86/entry/syscalls of Linux 6.18.
"""

from __future__ import annotations

_FIRST = 424
_SHARED = (
    "pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig "
    "fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise "
    "epoll_pwait2 "
    "mount_setattr quotactl_fd landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret "
    "process_mrelease futex_waitv set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake "
    "futex_wait futex_requeue statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal "
    "setxattrat getxattrat listxattrat removexattrat open_tree_attr file_getattr file_setattr listns"
).split()
SHARED = {name: number for number, name in enumerate(_SHARED, _FIRST)}
# Only on x86_64: the uprobes' return trampolines.
X86_64 = {"uretprobe": 335, "uprobe": 336}


def lookup(name: str, arch: str) -> int | None:
    """Number of `name` on `arch` (OCI name, `SCMP_ARCH_X86_64`), or None."""
    if name in SHARED:
        return SHARED[name]
    return X86_64.get(name) if arch == "SCMP_ARCH_X86_64" else None
