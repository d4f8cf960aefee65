"""Starts a container or an exec in a process between the shim and the container, which ends right after.

Reading the spec, making the network and planning the mounts touches much memory that a fork shares until
then; in a process of its own the shim stays small, and a start that hangs does not hang the shim. Being
the subreaper, the shim becomes the parent of what was started.

The starter tells how it went by one message over a socket: `{"pid", "network", "tty", "fds": [name…]}`
with descriptors by the names `netns`, `oom`, `stdin`, `stdout`, `stderr`, `master`; or `{"error", "kind"}`
with everything undone.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import socket
import sys

from runtime import syscalls
from runtime.shim import files, outside, signals, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runtime.external import External
    from runtime.shim.container import Container

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
#: PIDs to wait for before the shim ends.
running: list[int] = []
_PIPE_SIZE = 1024 * 1024


def fork(work: Callable[[], tuple[wire.Message, dict[str, int]]]) -> tuple[int, socket.socket]:
    """Run `work` in a child: the message and the named descriptors that it returns are sent.

    The child's PID and the socket to receive from (`end of file`: it was killed). Raises OSError.
    """
    ours, theirs = socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    shim = os.getpid()
    try:
        pid = os.fork()
        if pid == 0:
            try:
                _child(theirs, shim, work)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(0)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return pid, ours


def _child(link: socket.socket, shim: int, work: Callable[[], tuple[wire.Message, dict[str, int]]]) -> None:
    # Nobody may bring up a container that has no shim: what waits for `go` ends with this process.
    syscalls.prctl(_PR_SET_PDEATHSIG, signals.SIGKILL)
    if os.getppid() != shim:
        return
    # The shim's own: its wake-up pipe, and clients that must see it close if the shim ends.
    signals.set_wakeup_fd(-1)
    signals.handle(signals.SIGCHLD, signals.SIG_DFL)
    number = link.fileno()
    syscalls.close_range(3, number - 1) if number > 3 else None
    syscalls.close_range(number + 1)
    fds: dict[str, int] = {}
    try:
        message, fds = work()
    except Exception as error:
        kind = type(error).__name__
        if kind not in ("InitError", "CgroupError", "StartError") and not isinstance(error, OSError):
            sys.excepthook(*sys.exc_info())
        message = {"error": str(error) or kind, "kind": kind}
    message["fds"] = list(fds)
    try:
        wire.send(link, message, list(fds.values()))
    except OSError:
        pass  # the shim is gone, and the daemon will see to what is left


class StartError(Exception):
    """The text is for the client."""


def start_container(
    bundle: str, config: dict[str, Any], seccomp_cache: str
) -> tuple[wire.Message, dict[str, int]]:
    """Bring the container of a bundle up to a running first process. Raises what `fork` reports, undone."""
    from runtime import cgroups, init

    spec = files.read_json(os.path.join(bundle, "config.json"))
    tty = bool(spec["process"].get("terminal"))
    plan = config.get("network")
    cgroup = cgroups.open_cgroup(cgroup_path(spec, config["id"]))
    external = outside.open_external(bundle, config)
    hooks = None
    if external is None and spec.get("hooks"):
        from runtime.shim import hooking

        hooks = hooking.of(spec, config["id"], bundle)
    fds: dict[str, int] = {}
    child: Any = None
    started = False
    try:
        netns = _open_netns(plan)
        if netns >= 0:
            fds["netns"] = netns
        # A terminal is made in the container's own devpts: its name must be right inside.
        theirs = (0, 1, 2) if tty else make_pipes(bool(config.get("stdin")), fds)
        console = init.NEW_CONSOLE if tty else None
        space = netns if netns >= 0 else None
        root = config.get("root") or {}
        if external is not None:
            if not os.access(external.path, os.X_OK):
                raise StartError(f"fork/exec {external.path}: no such file or directory")
            child = external.spawn(spec, root, stdio=theirs, console=console, netns=space)  # type: ignore[arg-type]
        else:
            child = init.spawn(
                spec,
                root,  # type: ignore[arg-type]
                stdio=theirs,
                console=console,
                netns=space,
                cgroup=cgroup,
                seccomp_cache=seccomp_cache,
                stages=hooks.stages() if hooks else None,
            )
        network = _connect(plan, netns)
        _open_names(plan, netns, child.pid)
        child.wait_ready()
        if tty:
            fds["master"] = child.console_master
            _set_size(child.console_master, config.get("console"))
        oom = cgroup.oom_fd()
        if oom >= 0:
            fds["oom"] = oom
        _write_state(bundle, child.pid, getattr(child, "made", []))
        child.go()
        if hooks:
            hooks.started(child.pid)
        started = True
    finally:
        if not started:
            _undo(bundle, child.pid if child else 0, external, cgroup)
            if hooks:
                hooks.stopped()
    told = {"pid": child.pid, "network": network, "tty": tty, "cgroup": cgroup.name, "hooks": bool(hooks)}
    return told, fds


def start_exec(
    container: Container, exec_id: str, process: dict[str, Any], stdin: bool, seccomp_cache: str
) -> tuple[wire.Message, dict[str, int]]:
    """Start a further process in the container."""
    from runtime import init

    tty = bool(process.get("terminal"))
    fds: dict[str, int] = {}
    stdio = (0, 1, 2) if tty else make_pipes(stdin, fds)
    console = init.NEW_CONSOLE if tty else None
    child: Any
    if container.external is not None:
        child = container.external.enter(process, stdio=stdio, console=console, name=exec_id)  # type: ignore[arg-type]
    else:
        child = init.enter(
            container.pid,
            files.read_json(os.path.join(container.bundle, "config.json")),
            process,  # type: ignore[arg-type]
            stdio=stdio,
            console=console,
            cgroup=container.cgroup,
            seccomp_cache=seccomp_cache,
        )
    child.wait_ready()
    if tty:
        fds["master"] = child.console_master
        size = process.get("consoleSize")
        _set_size(child.console_master, [size["width"], size["height"]] if size else None)
    child.go()
    return {"pid": child.pid, "tty": tty}, fds


def cgroup_path(spec: dict[str, Any], container_id: str) -> str:
    """Where the container's cgroup is."""
    return spec.get("linux", {}).get("cgroupsPath") or f"/docker/{container_id}"


def make_pipes(stdin: bool, ours: dict[str, int]) -> tuple[int, int, int]:
    """The process's three descriptors; the other ends come into `ours`. Without `stdin`: /dev/null."""
    if stdin:
        reader, ours["stdin"] = os.pipe2(os.O_CLOEXEC)
    else:
        reader = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    ours["stdout"], out = os.pipe2(os.O_CLOEXEC)
    ours["stderr"], err = os.pipe2(os.O_CLOEXEC)
    for fd in (out, err):
        try:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        except OSError:
            pass  # over the user's limit: slower, no worse
    return reader, out, err


def _set_size(master: int, size: list[int] | None) -> None:
    from runtime.shim.streams import set_size

    if size:
        set_size(master, *size)


def _open_netns(plan: dict[str, Any] | None) -> int:
    """A descriptor of the namespace that the plan asks for, -1 when the spec alone decides."""
    mode = plan.get("mode") if plan else None
    if plan and mode == "container":
        return os.open(f"/proc/{int(plan['pid'])}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if mode != "new":
        return -1
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(_CLONE_NEWNET)
        try:
            return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            syscalls.setns(own, _CLONE_NEWNET)
    finally:
        os.close(own)


def _connect(plan: dict[str, Any] | None, netns: int) -> list[dict[str, Any]]:
    if not plan or netns < 0 or plan.get("mode") != "new":
        return []
    from runtime.net import plan as plans

    try:
        return plans.apply(plan, netns)
    except OSError as error:
        raise StartError(f"failed to set up container networking: {error}") from error


def _open_names(plan: dict[str, Any] | None, netns: int, pid: int) -> None:
    """Give the container its resolver, where the plan has one. Raises StartError."""
    if not plan or netns < 0 or not plan.get("dns"):
        return
    from runtime.net import dns

    try:
        dns.open_sandbox(plan["dns"], netns, pid)
    except OSError as error:
        raise StartError(f"failed to set up container networking: {error}") from error


def _write_state(bundle: str, pid: int, made: list[str]) -> None:
    shim = os.getppid()
    state: dict[str, Any] = {
        "pid": pid,
        "start_time": files.start_time(pid),
        "shim": shim,
        "shim_start_time": files.start_time(shim),
    }
    if made:
        state["made"] = made
    files.write_json(os.path.join(bundle, "state.json"), state)


def end_external(external: External, bundle: str) -> None:
    """Let the other runtime kill and forget the container, and remove our folder for it."""
    try:
        external.delete()
    except Exception as error:
        print(f"shim: {external.path} delete: {error}", file=sys.stderr)
    try:
        outside.remove_folder(bundle)
    except OSError as error:
        print(f"shim: {error}", file=sys.stderr)


def _undo(bundle: str, pid: int, external: External | None, cgroup: Any) -> None:
    if external is not None:
        pid = 0  # the shim's child, and ended by its runtime
        end_external(external, bundle)
    try:
        # If it has been reaped already, the PID may be another's.
        if pid and os.waitpid(pid, os.WNOHANG)[0] == 0:
            os.kill(pid, signals.SIGKILL)
            os.waitpid(pid, 0)
    except (ChildProcessError, ProcessLookupError):
        pass
    try:
        cgroup.delete()
    except Exception as error:
        print(f"shim: deleting the cgroup: {error}", file=sys.stderr)
    try:
        os.unlink(os.path.join(bundle, "state.json"))
    except FileNotFoundError:
        pass
