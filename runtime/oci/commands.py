"""The commands of the OCI command line; each takes parsed options and raises OciError or InitError."""

from __future__ import annotations

import json
import os
import signal
import socket as sockets
import sys

from runtime import cgroups, init
from runtime.init import selfexe
from runtime.init.stages import Stages
from runtime.oci import hooks
from runtime.oci.config import read_spec
from runtime.oci.state import OciError, Stored, now, process_state, stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runtime.init import Child
    from runtime.oci.options import Options
    from runtime.spec import Process, Spec

_TERMINAL_WITHOUT_SOCKET = "cannot allocate tty if runc will detach without setting console socket"
_SOCKET_WITHOUT_TERMINAL = "cannot use console socket if runc will not detach or allocate tty"


class Context:
    """The global options: `root` keeps the containers' state, `cache` the compiled seccomp filters; `warn`
    tells what went wrong and stops nothing."""

    def __init__(self, root: str, warn: Callable[[str], None], *, systemd: bool) -> None:
        self.root = root
        self.cache = os.path.join(root, ".seccomp")
        self.warn = warn
        self.systemd = systemd


def create(context: Context, options: Options) -> Stored:
    selfexe.ensure()
    container_id = _id(options)
    bundle = os.path.realpath(options.value("bundle", "."))
    spec = read_spec(bundle)
    terminal = bool(spec.get("process", {}).get("terminal"))
    socket = options.value("console-socket")
    if terminal and not socket:
        raise OciError(_TERMINAL_WITHOUT_SOCKET)
    if socket and not terminal:
        raise OciError(_SOCKET_WITHOUT_TERMINAL)
    container = Stored(context.root, container_id)
    container.make()
    path = spec.get("linux", {}).get("cgroupsPath") or f"/{container_id}"
    cgroup = None
    child: Child | None = None
    try:
        cgroup = cgroups.open_cgroup(path, systemd=context.systemd)
        # Opened for both ends: opening never blocks, reading does until `start` writes.
        stages = Stages(*(os.open(path, os.O_RDWR | os.O_CLOEXEC) for path in container.fifos))
        state: dict[str, Any] = {
            "bundle": bundle,
            "cgroup": path,
            "created": now(),
            "spec": spec,
            "startTime": 0,
            "systemd": context.systemd,
        }

        def hook(name: str, status: str, pid: int = 0) -> None:
            container.data = {**state, "pid": pid or os.getpid()}
            hooks.run(spec, name, container.describe(status))

        def before_pivot(pid: int) -> None:
            for name in hooks.BEFORE_PIVOT:
                hook(name, "creating", pid)

        if hooks.wanted(spec, *hooks.BEFORE_PIVOT):
            stages.before_pivot = before_pivot
        if hooks.wanted(spec, "createContainer"):
            stages.in_container = lambda: hook("createContainer", "creating")
        if hooks.wanted(spec, "startContainer"):
            stages.before_program = lambda: hook("startContainer", "created")
        child = init.spawn(
            spec,
            {},
            stdio=(0, 1, 2),
            console=init.NEW_CONSOLE if terminal else None,
            cgroup=cgroup,
            seccomp_cache=context.cache,
            keep_fds=int(options.value("preserve-fds", "0")),
            stages=stages,
        )
        os.close(stages.go_fd)
        os.close(stages.told_fd)
        child.wait_ready()
        started = process_state(child.pid)[1]
        container.save({**state, "pid": child.pid, "startTime": started})
        if terminal:
            send_console(socket, child.console_master)
        write_pid(options.value("pid-file"), child.pid)
    except BaseException:
        if child is not None:
            child.abort()
        if cgroup is not None:
            cgroup.delete()
        container.remove()
        if child is not None:
            container.data = {**state, "pid": child.pid}
            hooks.run_last(spec, container.describe("stopped"), context.warn)
        raise
    return container


def start(context: Context, options: Options) -> None:
    container = Stored(context.root, _id(options)).load()
    status = container.status()
    if status == "stopped":
        raise OciError("cannot start a container that has stopped")
    if status != "created":
        raise OciError("cannot start an already running container")
    told = os.open(container.told, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    fd = os.open(container.fifo, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.unlink(container.fifo)
    except FileNotFoundError:
        raise OciError("cannot start an already running container") from None
    os.write(fd, b"0")
    os.close(fd)
    os.set_blocking(told, True)
    with os.fdopen(told, "rb") as file:
        failure = file.read().decode("utf-8", "replace")  # its end is the program's execve
    try:
        if failure:
            raise OciError(failure)
        hooks.run(container.spec(), "poststart", container.describe())
    except (OciError, hooks.HookError):
        _destroy(context, container)
        raise


def run(context: Context, options: Options) -> int:
    """create and start; without --detach the exit code is the container's."""
    container = create(context, options)
    detach = options.flag("detach")
    start(context, options)
    if detach:
        return 0
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    ):
        signal.signal(number, lambda sent, _frame: _signal(container.pid, sent))
    status = os.waitpid(container.pid, 0)[1]
    if not options.flag("keep"):
        _destroy(context, container)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def state(context: Context, options: Options) -> None:
    container = Stored(context.root, _id(options)).load()
    print(json.dumps(container.describe(), indent=2))


def kill(context: Context, options: Options) -> None:
    container = Stored(context.root, _id(options)).load()
    number = parse_signal(options.rest[1] if len(options.rest) > 1 else "SIGTERM")
    if options.flag("all"):
        container.cgroup().kill(number)
    elif container.status() == "stopped":
        raise OciError("container not running")
    else:
        _signal(container.pid, number)


def delete(context: Context, options: Options) -> None:
    container = Stored(context.root, _id(options))
    force = options.flag("force")
    try:
        container.load()
    except OciError:
        if not force:
            raise
        container.remove()
        return
    status = container.status()
    if status not in ("stopped", "created") and not force:
        raise OciError(f"cannot delete container {container.id} that is not stopped: {status}")
    _destroy(context, container)


def execute(context: Context, options: Options) -> int:
    selfexe.ensure()
    container = Stored(context.root, _id(options)).load()
    if container.status() in ("stopped", "created"):
        raise OciError("cannot exec in a stopped container")
    process = _process(container.spec(), options)
    terminal, detach = bool(process.get("terminal")), options.flag("detach")
    socket = options.value("console-socket")
    if terminal and not socket:
        raise OciError(_TERMINAL_WITHOUT_SOCKET)
    child = init.enter(
        container.pid,
        container.spec(),
        process,
        stdio=(0, 1, 2),
        console=init.NEW_CONSOLE if terminal else None,
        cgroup=container.cgroup(),
        seccomp_cache=context.cache,
        keep_fds=int(options.value("preserve-fds", "0")),
    )
    child.wait_ready()
    if terminal:
        send_console(socket, child.console_master)
    write_pid(options.value("pid-file"), child.pid)
    child.go()
    if detach:
        return 0
    code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    return code if code >= 0 else 128 - code


def pause(context: Context, options: Options) -> None:
    Stored(context.root, _id(options)).load().cgroup().freeze()


def resume(context: Context, options: Options) -> None:
    Stored(context.root, _id(options)).load().cgroup().thaw()


def update(context: Context, options: Options) -> None:
    container = Stored(context.root, _id(options)).load()
    source = options.value("resources", "-")
    if source == "-":
        resources = json.load(sys.stdin)
    else:
        with open(source, encoding="utf-8") as file:
            resources = json.load(file)
    container.cgroup().apply(resources)


def ps(context: Context, options: Options) -> None:
    print(json.dumps(Stored(context.root, _id(options)).load().cgroup().pids()))


def list_(context: Context, options: Options) -> None:
    containers = [container.describe() for container in stored(context.root)]
    if options.value("format") == "json":
        print(json.dumps(containers))
        return
    if options.flag("quiet"):
        for one in containers:
            print(one["id"])
        return
    rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
    rows += [tuple(str(one[key.lower()]) for key in rows[0]) for one in containers]  # type: ignore[misc]
    widths = [max(len(row[column]) for row in rows) + 2 for column in range(len(rows[0]))]
    for row in rows:
        print("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def send_console(path: str, master: int) -> None:
    """The terminal's master over the caller's socket, as SCM_RIGHTS with its name for a message."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as link:
        link.connect(path)
        rights = (sockets.SOL_SOCKET, sockets.SCM_RIGHTS, master.to_bytes(4, sys.byteorder))
        link.sendmsg([b"/dev/ptmx"], [rights])
    os.close(master)


def write_pid(path: str, pid: int) -> None:
    if not path:
        return
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    with open(temporary, "w", encoding="ascii") as file:
        file.write(str(pid))
    os.rename(temporary, path)


def parse_signal(text: str) -> int:
    """`9`, `KILL` or `SIGKILL`."""
    if text.isdigit():
        return int(text)
    name = text.upper()
    found = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", None)
    if not isinstance(found, signal.Signals):
        raise OciError(f'unknown signal "{text}"')
    return int(found)


def _id(options: Options) -> str:
    if not options.rest:
        raise OciError("container id cannot be empty")
    return options.rest[0]


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        raise OciError("container not running") from None


def _destroy(context: Context, container: Stored) -> None:
    cgroup = container.cgroup()
    if container.status() != "stopped":
        cgroup.kill(signal.SIGKILL)
    cgroup.delete()
    container.remove()
    hooks.run_last(container.spec(), container.describe("stopped"), context.warn)


def _process(spec: Spec, options: Options) -> Process:
    if path := options.value("process"):
        with open(path, encoding="utf-8") as file:
            process: Process = json.load(file)
        return process
    if len(options.rest) < 2:
        raise OciError("process args cannot be empty")
    process = {**spec.get("process", {}), "args": options.rest[1:], "terminal": options.flag("tty")}
    process["env"] = [*process.get("env", []), *options.values("env")]
    if cwd := options.value("cwd"):
        process["cwd"] = cwd
    if user := options.value("user"):
        uid, _, gid = user.partition(":")
        process["user"] = {"uid": int(uid), "gid": int(gid or 0)}
    return process
