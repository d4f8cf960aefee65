"""Docker's default seccomp profile, as data: what a container may call, and under which condition.

Everything else fails with EPERM. Facts as of the profile that current engines ship: sockets of the families
AF_ALG and AF_VSOCK are refused, clone may not make namespaces without CAP_SYS_ADMIN, clone3 (whose flags a
filter cannot see) does not exist then.
"""

from typing import NamedTuple

ALWAYS = """
_llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown
chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3
epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate
fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr
flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat get_robust_list
get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32
getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid
getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday
getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get
ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32
lgetxattr link linkat listen listmount listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat
lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat
mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd
msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat openat2 pause
pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl
pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read
readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages
removexattr removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity
sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget
semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list
set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups
setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32
setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt
shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat
stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill
time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times
tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat
utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
"""


class Rule(NamedTuple):
    """names: syscalls. comparison: (argument, operator, value, second value). caps: all of them must be in
    the bounding set; without: none may be. arches, not_arches: in Go's spelling. errno: refuse with it
    instead of allowing."""

    names: str
    comparison: tuple[int, str, int, int] | None = None
    caps: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    arches: tuple[str, ...] = ()
    not_arches: tuple[str, ...] = ()
    errno: int = 0


AF_ALG, AF_VSOCK = 38, 40
ENOSYS = 38
# The flags of clone(2) that make namespaces, without CLONE_NEWTIME, which only clone3 takes.
NEW_NAMESPACES = 0x7E020000
_S390 = ("s390", "s390x")
_ADMIN = ("CAP_SYS_ADMIN",)

RULES = (
    # 4.8 is the first kernel where ptrace cannot undo a filter's verdict; ours need newer ones anyway.
    Rule("process_vm_readv process_vm_writev ptrace"),
    Rule("socket", (0, "LT", AF_ALG, 0)),
    Rule("socket", (0, "EQ", 39, 0)),
    Rule("socket", (0, "GT", AF_VSOCK, 0)),
    *(Rule("personality", (0, "EQ", kind, 0)) for kind in (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)),
    Rule("sync_file_range2 swapcontext", arches=("ppc64le",)),
    Rule(
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
        arches=("arm", "arm64"),
    ),
    Rule("arch_prctl", arches=("amd64", "x32")),
    Rule("modify_ldt", arches=("amd64", "x32", "x86")),
    Rule("s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr", arches=_S390),
    Rule("riscv_flush_icache", arches=("riscv64",)),
    Rule("open_by_handle_at", caps=("CAP_DAC_READ_SEARCH",)),
    Rule(
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie "
        "lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount "
        "open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog "
        "umount umount2 unshare",
        caps=_ADMIN,
    ),
    Rule("clone", (0, "MASKED_EQ", NEW_NAMESPACES, 0), without=_ADMIN, not_arches=_S390),
    Rule("clone", (1, "MASKED_EQ", NEW_NAMESPACES, 0), without=_ADMIN, arches=_S390),
    Rule("clone3", without=_ADMIN, errno=ENOSYS),
    Rule("reboot", caps=("CAP_SYS_BOOT",)),
    Rule("chroot", caps=("CAP_SYS_CHROOT",)),
    Rule("delete_module init_module finit_module", caps=("CAP_SYS_MODULE",)),
    Rule("acct", caps=("CAP_SYS_PACCT",)),
    Rule(
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
        caps=("CAP_SYS_PTRACE",),
    ),
    Rule("iopl ioperm", caps=("CAP_SYS_RAWIO",)),
    Rule("settimeofday stime clock_settime clock_settime64", caps=("CAP_SYS_TIME",)),
    Rule("vhangup", caps=("CAP_SYS_TTY_CONFIG",)),
    Rule("get_mempolicy mbind set_mempolicy set_mempolicy_home_node", caps=("CAP_SYS_NICE",)),
    Rule("syslog", caps=("CAP_SYSLOG",)),
    Rule("bpf", caps=("CAP_BPF",)),
    Rule("perf_event_open", caps=("CAP_PERFMON",)),
)

# The machine's architecture (uname): Go's name, OCI's names of what its kernel also runs.
ARCHITECTURES = {
    "x86_64": ("amd64", ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")),
    "aarch64": ("arm64", ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM")),
    "riscv64": ("riscv64", ("SCMP_ARCH_RISCV64",)),
    "loongarch64": ("loongarch64", ("SCMP_ARCH_LOONGARCH64",)),
    "s390x": ("s390x", ("SCMP_ARCH_S390X", "SCMP_ARCH_S390")),
    "ppc64le": ("ppc64le", ("SCMP_ARCH_PPC64LE",)),
}
