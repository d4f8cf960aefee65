"""Start a container's first process.

The parent plans everything that can be planned (`plan.build`, `ProcessPlan`), makes the cgroup and clones a
child into the new namespaces. The child's road:

1. become unreadable for the container (dumpable off), own session and session keyring, default signals
2. join the cgroup (v1: `0` into every `tasks`), then unshare the cgroup namespace; join namespaces given by
fd
3. the plan: root, mounts, devices, console, pivot, read-only and masked paths, sysctls
4. stdio, limits, user, capabilities, seccomp, look the program up; say ready
5. wait for `go`, close every fd but 0-2 (and those to be kept), execve

No host file may be opened by name after the pivot, so nothing is imported there: every module that the child
needs is loaded with this one. The child's `/proc/self/exe` is the interpreter; see `runtime.init.selfexe`
for why the container cannot write to it (CVE-2019-5736).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C module: `signal` wraps every call in an enum
import fcntl
import os

from runtime import syscalls as s
from runtime.cgroups.base import CgroupError, attach_fds
from runtime.init import child as link_
from runtime.init import plan as plans
from runtime.init import sysctls
from runtime.init.devices import TIOCSCTTY
from runtime.init.errors import DURING_INIT, PREFIX, InitError, StepError, UserError, reason
from runtime.init.process import ProcessPlan
from runtime.init.road import Operation, Road
from runtime.init.rootfs import Pivot

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from runtime.cgroups import Cgroup
    from runtime.init.stages import Stages
    from runtime.spec import RootPlan, Spec

# What a FIFO takes without anybody reading is at least a page (pipe(7)).
_TOLD = 4096
# Flags that clone3 takes for a namespace of the child's own. The cgroup namespace comes later: it must be
# rooted in the container's group, which the child joins first.
_AT_CLONE = ("mount", "uts", "ipc", "network", "pid", "time")


def spawn(
    spec: Spec,
    root: RootPlan,
    *,
    stdio: tuple[int, int, int],
    console: int | None = None,
    netns: int | None = None,
    cgroup: Cgroup | None = None,
    seccomp_cache: str,
    keep_fds: int = 0,
    stages: Stages | None = None,
) -> link_.Child:
    """Begin a container; returns at once, see `Child`.

    stdio: fds for 0, 1, 2 (without a console). console: a pty slave, NEW_CONSOLE or None. netns: fd of the
    network namespace to join; without it the spec's own way. cgroup: made here with the spec's resources if
    it is not yet. seccomp_cache: folder of compiled filters. keep_fds: how many fds from 3 on the process
    inherits (LISTEN_FDS). stages: what OCI's create and start want between the steps. Raises InitError.
    """
    process_spec = spec.get("process", {})
    process = ProcessPlan(process_spec, spec.get("linux", {}).get("seccomp"), seccomp_cache)
    operations = plans.build(
        spec, root, console=console is not None, new_console=console == link_.NEW_CONSOLE
    )
    spaces = plans.namespaces(spec)
    if "mount" not in spaces or spaces["mount"]:
        raise InitError(f"{PREFIX}a container without a mount namespace of its own is not supported")
    if "user" in spaces:
        raise InitError(f"{PREFIX}user namespaces are not supported yet")
    sysctls.check(spec.get("linux", {}).get("sysctl", {}), spaces, netns)
    joins = _open_joins(spaces, netns)
    flags = 0
    for kind in _AT_CLONE:
        if spaces.get(kind) == "" and not (kind == "network" and netns is not None):
            flags |= plans.NAMESPACES[kind]
    resources = spec.get("linux", {}).get("resources", {})
    cgroup_fds: list[int] = []
    born_in = -1
    rootfs = os.path.realpath(spec.get("root", {}).get("path", ""))
    road = Road(rootfs, cgroup, console if console != link_.NEW_CONSOLE else None)
    road.warnings = process.warnings
    ours, theirs = link_.pair()
    pid_ns = next((fd for kind, fd in joins if kind == "pid"), -1)
    back = -1
    try:
        if cgroup is not None:
            try:
                cgroup.create(resources)
                born_in = cgroup.birth_fd()
                cgroup_fds = [] if born_in >= 0 else cgroup.open_fds()
            except (CgroupError, OSError) as error:
                raise InitError(f"{PREFIX}{error}") from None
        if pid_ns >= 0:
            back = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
            s.setns(pid_ns, s.CLONE_NEWPID)
        try:
            pid = s.fork(flags, born_in)
        except OSError as error:
            raise InitError(f"{PREFIX}{error.strerror}") from None
        if pid == 0:
            ours.close()
            # Never returns.
            if stages and stages.before_root:
                operations = _with_hooks(operations, theirs, stages)
            _child(theirs, road, process, operations, spaces, joins, cgroup_fds, stdio, keep_fds, stages)
        if cgroup is not None:
            _settle(cgroup, pid)
    except BaseException:
        ours.close()
        raise
    finally:
        if back >= 0:
            s.setns(back, s.CLONE_NEWPID)
            os.close(back)
        theirs.close()
        for fd in [*(fd for _, fd in joins), *cgroup_fds, *([born_in] if born_in >= 0 else [])]:
            if fd != netns:
                os.close(fd)
    return link_.Child(pid, ours, before_pivot=stages.before_pivot if stages else None, cgroup=cgroup)


def _settle(cgroup: Cgroup, pid: int) -> None:
    try:
        cgroup.born()
    except (CgroupError, OSError) as error:
        os.kill(pid, _signal.SIGKILL)
        os.waitpid(pid, 0)
        raise InitError(f"{PREFIX}{error}") from None


class _Hooks(Operation):
    """Let the parent run its hooks, and wait for it; then run the container's own."""

    __slots__ = ("link", "stages")

    def __init__(self, link: _socket.socket, stages: Stages) -> None:
        self.link = link
        self.stages = stages

    def describe(self) -> str:
        return "hooks"

    def run(self, road: Road) -> None:
        if self.stages.before_pivot:
            self.link.send(b"H")
            if self.link.recv(1) != b"H":
                os._exit(1)
        if self.stages.in_container:
            self.stages.in_container()


def _with_hooks(operations: list[Operation], link: _socket.socket, stages: Stages) -> list[Operation]:
    place = next(index for index, operation in enumerate(operations) if isinstance(operation, Pivot))
    return [*operations[:place], _Hooks(link, stages), *operations[place:]]


def _open_joins(spaces: dict[str, str], netns: int | None) -> list[tuple[str, int]]:
    joins: list[tuple[str, int]] = [] if netns is None else [("network", netns)]
    for kind, path in spaces.items():
        if path and not (kind == "network" and netns is not None):
            try:
                joins.append((kind, os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
            except OSError as error:
                for _, fd in joins[netns is not None :]:
                    os.close(fd)
                raise InitError(f"namespace path: lstat {path}: {reason(error)}") from None
    return joins


def _child(
    link: _socket.socket,
    road: Road,
    process: ProcessPlan,
    operations: list[Operation],
    spaces: dict[str, str],
    joins: list[tuple[str, int]],
    cgroup_fds: list[int],
    stdio: tuple[int, int, int],
    keep_fds: int,
    stages: Stages | None,
) -> None:
    prefix = PREFIX + DURING_INIT
    try:
        keep = {link.fileno(), road.console or 0, *stdio, *cgroup_fds, *(fd for _, fd in joins)}
        by_fifo = stages is not None and stages.go_fd >= 0
        if stages and by_fifo:
            keep |= {stages.go_fd, stages.told_fd}
        isolate(process, keep, keep_fds)
        process.set_oom_score()
        attach_fds(cgroup_fds)
        if spaces.get("cgroup") == "":
            s.unshare(s.CLONE_NEWCGROUP)
        for kind, fd in joins:
            if kind != "pid":
                s.setns(fd, plans.NAMESPACES[kind])
        os.umask(0)
        for operation in operations:
            operation.run(road)
        prefix = PREFIX
        program = prepare(road, process, stdio, DURING_INIT)
        made = [path[len(road.rootfs) :] for path in road.made]
        link_.send_ready(link, road.warnings, road.console_master, made)
        if not by_fifo:
            if not link.recv(1):
                os._exit(1)  # the parent is gone: nobody would look after the container
            if stages and stages.before_program:
                stages.before_program()
    except BaseException as error:
        link_.send_error(link, error_text(error, prefix), user=isinstance(error, UserError))
        os._exit(1)
    if stages and by_fifo:
        link.close()
        _await_start(stages)
    execute(program, process, stages.told_fd if stages and by_fifo else link.fileno(), keep_fds)


def _await_start(stages: Stages) -> None:
    """Wait for OCI's start and do what comes between it and the program; an error ends this process."""
    try:
        if not os.read(stages.go_fd, 1):
            os._exit(1)
        if stages.before_program:
            stages.before_program()
    except BaseException as error:
        os.write(stages.told_fd, error_text(error, PREFIX).encode("utf-8", "surrogateescape")[:_TOLD])
        os._exit(1)


def close_others(keep: set[int], keep_fds: int) -> None:
    """Hide this process from the container, and close what it has of the host but `keep`."""
    # Other processes of the container may not read /proc/<pid>/exe, fd or mem of this one until execve.
    s.prctl(s.PR_SET_DUMPABLE, 0)
    first = 3 + keep_fds
    for fd in sorted(fd for fd in keep if fd >= first):
        if fd > first:
            s.close_range(first, fd - 1)
        first = fd + 1
    s.close_range(first)


def isolate(process: ProcessPlan, keep: set[int], keep_fds: int) -> None:
    """The first steps of any child: nothing of the host is to be had from it. keep: the fds it still
    needs."""
    close_others(keep, keep_fds)
    for number in range(1, 65):
        # execve resets handlers but keeps what is ignored: Python ignores SIGPIPE and SIGXFSZ, a supervisor
        # may have left SIGCHLD so. Only those cost a system call here.
        if _signal.getsignal(number) == _signal.SIG_IGN:
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    os.setsid()
    try:
        s.new_session_keyring()
    except OSError as error:
        if error.errno not in (1, 38, 13, 122):  # no keyrings here, or not for us: best effort, as runc
            raise


def prepare(road: Road, process: ProcessPlan, stdio: tuple[int, int, int], during: str) -> str:
    """Stdio, limits and identity; returns the program's path. Raises StepError, OSError."""
    if road.console is not None:
        stdio = (road.console, road.console, road.console)
    _place_stdio(stdio)
    if road.console is not None:
        fcntl.ioctl(0, TIOCSCTTY, 0)
    try:
        process.set_rlimits()
    except StepError as error:
        raise StepError(f"{during}{error}") from None
    return process.finish(road)


def _place_stdio(stdio: tuple[int, int, int]) -> None:
    # Through copies above 2: one of the three may be in another's place.
    copies = [os.dup(fd) if fd <= 2 and fd != place else fd for place, fd in enumerate(stdio)]
    for place, fd in enumerate(copies):
        os.dup2(fd, place, inheritable=True)
        if fd == place:
            os.set_inheritable(fd, True)


def error_text(error: BaseException, prefix: str) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, (StepError, CgroupError)):
        return f"{prefix}{error}"
    if isinstance(error, OSError) and error.strerror:
        where = f" {error.filename}" if error.filename else ""
        return f"{prefix}{error.strerror.lower()}{where}"
    return f"{prefix}{type(error).__name__}: {error}"


def environment(entries: list[str]) -> dict[str, str]:
    """`NAME=value` strings; the last of a name counts, what has no name is left out."""
    pairs = (entry.partition("=") for entry in entries)
    return {name: value for name, equals, value in pairs if name and equals}


def execute(program: str, process: ProcessPlan, link: int, keep_fds: int) -> None:
    """execve; on failure the text goes to the container's stderr, exit code 255."""
    first = 3 + keep_fds
    try:
        # Closed before execve and not by it: a program path of /proc/self/fd/N would otherwise still reach a
        # host's fd (CVE-2024-21626). The link stays, close-on-exec: its end tells the parent.
        if link < first:
            s.close_range(first)
        else:
            if link > first:
                s.close_range(first, link - 1)
            s.close_range(link + 1)
        os.execve(program, process.args, environment(process.env))  # noqa: S606
    except OSError as error:
        text = f"exec {program}: {reason(error)}\n"
    except ValueError as error:
        text = f"exec {program}: {error}\n"
    try:
        os.write(2, text.encode("utf-8", "surrogateescape"))
    except OSError:
        pass
    os._exit(255)
