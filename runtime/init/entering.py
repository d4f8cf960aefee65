"""Start a further process in a running container (exec).

As `spawn`, but the namespaces are joined instead of made, by setns(2) on the container's pidfd. The pid
namespace holds for children only, so a process in the middle joins it, clones the child as its sibling
(CLONE_PARENT) and ends. It joins the mount namespace and closes the host's descriptors as well: a container
that may trace processes (CAP_SYS_PTRACE) sees the child from its first moment on, and would find the host's
tree at `/proc/<pid>/root` (CVE-2016-9962). The cgroup is joined through descriptors.
"""

from __future__ import annotations

import os

from runtime import syscalls as s
from runtime.cgroups.base import CgroupError, attach_fds
from runtime.init import child as link_
from runtime.init import plan as plans
from runtime.init.devices import Console
from runtime.init.errors import PREFIX, InitError, StepError, UserError, reason
from runtime.init.process import ProcessPlan
from runtime.init.road import Road
from runtime.init.spawning import close_others, error_text, execute, isolate, prepare

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from runtime.cgroups import Cgroup
    from runtime.spec import Process, Spec

_EXEC = "exec failed: "
_ESRCH = 3
_AROUND = s.CLONE_NEWPID | s.CLONE_NEWNS


def enter(
    pid: int,
    spec: Spec,
    process: Process,
    *,
    stdio: tuple[int, int, int],
    console: int | None = None,
    cgroup: Cgroup | None = None,
    seccomp_cache: str,
    keep_fds: int = 0,
) -> link_.Child:
    """Run `process` beside the container's first process `pid` (host's number); arguments as for `spawn`.

    Capabilities, limits and no_new_privs are those of `process` alone; the seccomp profile is the spec's.
    Raises InitError, with `exec failed: ` in front as runc's exec does.
    """
    try:
        plan = ProcessPlan(process, spec.get("linux", {}).get("seccomp"), seccomp_cache)
    except InitError as error:
        raise InitError(f"{_EXEC}{error}") from None
    flags = 0
    for kind in plans.namespaces(spec):
        flags |= plans.NAMESPACES[kind]
    road = Road("", cgroup, console if console != link_.NEW_CONSOLE else None)
    road.warnings = plan.warnings
    new = Console(True, _size(process), mount=False) if console == link_.NEW_CONSOLE else None
    opened: list[int] = []
    ours, theirs = link_.pair()
    try:
        try:
            target = s.pidfd_open(pid)
            opened.append(target)
            fds = [] if cgroup is None else cgroup.open_fds()
            opened += fds
            told, tell = os.pipe2(os.O_CLOEXEC)
            opened += [told, tell]
            middle = s.fork()
        except OSError as error:
            if error.errno == _ESRCH:
                raise InitError("cannot exec in a stopped container") from None
            raise InitError(f"{_EXEC}{PREFIX}{error.strerror}") from None
        if middle == 0:
            ours.close()
            os.close(told)
            _middle(theirs, tell, road, plan, target, flags, fds, new, stdio, keep_fds)
        opened.remove(tell)
        os.close(tell)
        child = int.from_bytes(os.read(told, 4), "little")
        if child:
            try:
                os.waitpid(middle, 0)
            except ChildProcessError:
                pass
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        for fd in opened:
            os.close(fd)
    result = link_.Child(child or middle, ours, _EXEC)
    if not child:
        return result  # its error is in the link
    try:
        plan.set_oom_score(child)  # by us: the child's /proc is the container's (CVE-2025-52881)
    except StepError as error:
        result.abort()
        raise InitError(f"{_EXEC}{PREFIX}{error}") from None
    return result


def _size(process: Process) -> tuple[int, int] | None:
    size = process.get("consoleSize")
    return (size["width"], size["height"]) if size else None


def _middle(
    link: _socket.socket,
    tell: int,
    road: Road,
    process: ProcessPlan,
    target: int,
    flags: int,
    cgroup_fds: list[int],
    new_console: Console | None,
    stdio: tuple[int, int, int],
    keep_fds: int,
) -> None:
    try:
        keep = {link.fileno(), tell, target, road.console or 0, *stdio, *cgroup_fds}
        close_others(keep, keep_fds)
        if flags & _AROUND:
            join(target, flags & _AROUND)
        child = s.fork(s.CLONE_PARENT)
        if child:
            os.write(tell, child.to_bytes(4, "little"))
            os._exit(0)
        os.close(tell)
    except BaseException as error:
        link_.send_error(link, error_text(error, PREFIX))
        os._exit(1)
    _child(link, road, process, target, flags & ~_AROUND, cgroup_fds, new_console, stdio, keep_fds)


def join(target: int, flags: int) -> None:
    """setns(2). Raises StepError when the process of the pidfd has ended, OSError."""
    try:
        s.setns(target, flags)
    except OSError as error:
        if error.errno == _ESRCH:
            raise StepError("container init process is gone") from None
        raise


def _child(
    link: _socket.socket,
    road: Road,
    process: ProcessPlan,
    target: int,
    flags: int,
    cgroup_fds: list[int],
    new_console: Console | None,
    stdio: tuple[int, int, int],
    keep_fds: int,
) -> None:
    try:
        keep = {link.fileno(), target, road.console or 0, *stdio, *cgroup_fds}
        isolate(process, keep, keep_fds)
        try:
            attach_fds(cgroup_fds)
        except OSError as error:
            raise CgroupError(f"error adding pid to cgroups: {reason(error)}") from None
        if flags:
            join(target, flags)
        # setns on a mount namespace also sets root and cwd to its root.
        road.root = os.open("/", s.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if new_console is not None:
            new_console.run(road)
        program = prepare(road, process, stdio, "")
        link_.send_ready(link, road.warnings, road.console_master)
        if not link.recv(1):
            os._exit(1)
    except BaseException as error:
        link_.send_error(link, error_text(error, PREFIX), user=isinstance(error, UserError))
        os._exit(1)
    execute(program, process, link.fileno(), keep_fds)
