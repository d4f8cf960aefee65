"""Containers by another OCI runtime (runc, crun, …), with the calls that `runtime.init` has.

The caller is a shim: it must be a child subreaper, for the container's process is left to it when the
runtime's `create` ends. The root is mounted in the caller's own mount namespace, which it enters here.
"""

from __future__ import annotations

import _socket
import json
import os
import sys

from runtime import syscalls as s
from runtime.init import users
from runtime.init.child import NEW_CONSOLE
from runtime.init.errors import PREFIX, InitError, StepError, UserError, reason
from runtime.init.mounts import tree_within
from runtime.init.options import PROPAGATION, WITHIN
from runtime.init.road import Road
from runtime.init.rootfs import OverlayRoot, RootPropagation, parent_private
from runtime.init.sources import layers_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runtime.spec import Mount, Process, RootPlan, Spec

_PREFIXES = ("runc create failed: ", "runc run failed: ", "runc start failed: ", "runc exec failed: ")


class External:
    """One container of the runtime at `path`.

    args: its options before the command; folder: ours, for the bundle that it sees, its state, log and
    sockets.
    """

    def __init__(self, path: str, args: Sequence[str], container_id: str, folder: str) -> None:
        self.path = path
        self.args = list(args)
        self.id = container_id
        self.folder = folder
        self._place = -1  # the folder while a console is awaited there
        os.makedirs(folder, mode=0o700, exist_ok=True)

    def call(
        self, *command: str, stdio: tuple[int, int, int] | None = None, pass_fds: Sequence[int] = ()
    ) -> None:
        """Run one command of the runtime. Raises InitError with the runtime's own text."""
        log = os.path.join(self.folder, "log.json")
        try:
            os.unlink(log)
        except FileNotFoundError:
            pass
        state = os.path.join(self.folder, "state")
        line = [self.path, "--root", state, "--log", log, "--log-format", "json", *self.args, *command]
        errors = os.open(
            os.path.join(self.folder, "stderr"), os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
        )
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        # Create's and exec's stdio are the process's; of the others only stderr says something.
        places = stdio or (null, null, errors)
        try:
            status = self._wait(line, places, pass_fds)
            if status:
                os.lseek(errors, 0, os.SEEK_SET)
                raise InitError(
                    error_text(_read(log), os.read(errors, 1 << 16).decode("utf-8", "replace"), status)
                )
        finally:
            os.close(errors)
            os.close(null)

    @staticmethod
    def _wait(line: list[str], stdio: tuple[int, int, int], pass_fds: Sequence[int]) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                copies = [os.dup(fd) for fd in stdio]
                for place, fd in enumerate(copies):
                    os.dup2(fd, place, inheritable=True)
                for fd in pass_fds:
                    os.set_inheritable(fd, True)
                environment = {"PATH": os.environ.get("PATH") or os.defpath}
                os.execve(line[0], line, environment)  # noqa: S606
            except OSError as error:
                os.write(2, f"fork/exec {line[0]}: {(error.strerror or '').lower()}".encode())
            finally:
                os._exit(127)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def spawn(
        self,
        spec: Spec,
        root: RootPlan,
        *,
        stdio: tuple[int, int, int],
        console: int | None = None,
        netns: int | None = None,
    ) -> ExternalChild:
        """Create the container; it is ready when this returns. Raises InitError."""
        bundle = os.path.join(self.folder, "bundle")
        os.makedirs(bundle, mode=0o700, exist_ok=True)
        rootfs = os.path.realpath(spec.get("root", {}).get("path", ""))
        overlay = root.get("overlay")
        mounts = spec.get("mounts", [])
        if overlay:
            s.unshare(s.CLONE_NEWNS)
            road = Road(rootfs, None, None)
            propagation = PROPAGATION.get(spec.get("linux", {}).get("rootfsPropagation", ""), 0)
            RootPropagation(propagation).run(road)
            here = os.getcwd()
            try:
                shared = {}
                if propagation & s.MS_SHARED:
                    shared = _shared_trees(mounts)
                    parent_private(rootfs)
                mounts = self._prepared(mounts, rootfs, shared)
                OverlayRoot(overlay).run(road)
                os.close(road.root)
            except StepError as error:
                raise InitError(f"{PREFIX}{error}") from None
            finally:
                os.chdir(here)
        with open(os.path.join(bundle, "config.json"), "w", encoding="utf-8") as file:
            json.dump(adapted({**spec, "mounts": mounts}, rootfs, netns), file)
        pid_file = os.path.join(self.folder, "pid")
        command = ["create", "--bundle", bundle, "--pid-file", pid_file]
        listener = self._listener() if console is not None else None
        try:
            if listener:
                command += ["--console-socket", listener.getsockname()]
            self.call(*command, self.id, stdio=None if console is not None else stdio)
            child = ExternalChild(self, int(_read(pid_file)), start=True)
            if listener:
                child.console_master = _receive(listener)
            return child
        finally:
            self._close(listener)

    def _prepared(self, mounts: list[Mount], rootfs: str, shared: dict[int, int]) -> list[Mount]:
        """The mounts with those that only we understand made ready in our folder, as plain binds.

        Who may write to a volume can change a path in it after it was looked at, and another runtime goes by
        paths: so it gets the path of a mount of what was opened. Raises OSError, StepError.
        """
        result = []
        for number, mount in enumerate(mounts):
            options = mount.get("options", [])
            within = next((word[len(WITHIN) :] for word in options if word.startswith(WITHIN)), "")
            if number in shared:
                tree = shared[number]
            elif mount.get("type") == "image" and "lower" in mount:
                tree = layers_tree(mount["lower"], mount.get("subpath", ""), rootfs)
            elif within:
                try:
                    tree = tree_within(within, mount["source"])
                except OSError as error:
                    text = f"stat {mount['source']}: {reason(error)}"
                    raise StepError(
                        f'error mounting "{mount["source"]}" to rootfs at "{mount["destination"]}": {text}'
                    ) from None
            else:
                result.append(mount)
                continue
            place = os.path.join(self.folder, f"mount-{number}")
            if os.fstat(tree).st_mode & 0o170000 == 0o040000:
                os.makedirs(place, exist_ok=True)
            else:
                os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            target = os.open(place, s.O_PATH | os.O_CLOEXEC)
            s.move_mount(tree, target)
            os.close(target)
            os.close(tree)
            words = [word for word in options if not word.startswith(WITHIN)]
            result.append(
                {"destination": mount["destination"], "type": "bind", "source": place, "options": words}
            )
        return result

    def enter(
        self, process: Process, *, stdio: tuple[int, int, int], console: int | None = None, name: str = "exec"
    ) -> ExternalChild:
        """Run a further process; it runs when this returns. name: distinguishes its files. Raises
        InitError."""
        path = os.path.join(self.folder, f"{name}.json")
        pid_file = os.path.join(self.folder, f"{name}.pid")
        with open(path, "w", encoding="utf-8") as file:
            inside = f"/proc/{int(_read(os.path.join(self.folder, 'pid')))}/root"
            json.dump({**_resolved(process, inside), "terminal": console == NEW_CONSOLE}, file)
        command = ["exec", "--detach", "--process", path, "--pid-file", pid_file]
        listener = self._listener() if console is not None else None
        try:
            if listener:
                command += ["--console-socket", listener.getsockname()]
            self.call(*command, self.id, stdio=None if console is not None else stdio)
            child = ExternalChild(self, int(_read(pid_file)), start=False)
            if listener:
                child.console_master = _receive(listener)
            return child
        finally:
            self._close(listener)
            for used in (path, pid_file):
                try:
                    os.unlink(used)
                except FileNotFoundError:
                    pass

    def kill(self, signal: int, *, everything: bool = False) -> None:
        self.call("kill", *(["--all"] if everything else []), self.id, str(signal))

    def pause(self) -> None:
        self.call("pause", self.id)

    def resume(self) -> None:
        self.call("resume", self.id)

    def delete(self) -> None:
        """Remove the runtime's state and cgroup; what runs is killed. Missing is fine."""
        self.call("delete", "--force", self.id)

    @property
    def _console(self) -> str:
        return os.path.join(self.folder, "console.sock")

    def _listener(self) -> _socket.socket:
        self._close(None)
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        # By a short name, for us and for the runtime: a socket's path is limited to 107 bytes.
        self._place = os.open(self.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        listener.bind(f"/proc/{os.getpid()}/fd/{self._place}/console.sock")
        listener.listen(1)
        return listener

    def _close(self, listener: _socket.socket | None) -> None:
        if listener is not None:
            listener.close()
        if self._place >= 0:
            os.close(self._place)
            self._place = -1
        try:
            os.unlink(self._console)
        except FileNotFoundError:
            pass


class ExternalChild:
    """As `runtime.init.Child`."""

    def __init__(self, runtime: External, pid: int, *, start: bool) -> None:
        self.pid = pid
        self.console_master = -1
        self.warnings: list[str] = []
        self._runtime = runtime
        self._start = start

    def wait_ready(self) -> None:
        """Nothing to wait for: `create` has."""

    def go(self) -> None:
        """Start the process. Raises InitError."""
        if self._start:
            self._runtime.call("start", self._runtime.id)

    def abort(self) -> None:
        self._runtime.delete()


def _shared_trees(mounts: list[Mount]) -> dict[int, int]:
    """Copies of the sources that share with the host, by number: the mount they are in becomes private."""
    trees = {}
    for number, mount in enumerate(mounts):
        words = mount.get("options", [])
        if {"shared", "rshared"} & set(words) and not any(word.startswith(WITHIN) for word in words):
            recursive = s.AT_RECURSIVE if "rbind" in words else 0
            try:
                trees[number] = s.open_tree(s.AT_FDCWD, mount["source"], s.OPEN_TREE_CLONE | recursive)
            except OSError:
                pass  # the runtime tells
    return trees


def adapted(spec: Spec, rootfs: str, netns: int | None) -> dict[str, Any]:
    """The spec as another runtime can take it: absolute root, the network namespace by a path of ours, our
    own keys left out."""
    result: dict[str, Any] = {**spec, "root": {**spec.get("root", {}), "path": rootfs}}
    if "process" in spec:
        result["process"] = _resolved(spec["process"], rootfs)
    linux = result["linux"] = {**spec.get("linux", {})}
    spaces = linux.get("namespaces", [])
    if netns is not None:
        spaces = [space for space in spaces if space["type"] != "network"]
        spaces = [*spaces, {"type": "network", "path": f"/proc/{os.getpid()}/fd/{netns}"}]
    elif not any(space["type"] == "network" for space in spaces):
        # The host's, by its path, as dockerd names it: some runtimes set its sysctls then, or refuse to.
        spaces = [*spaces, {"type": "network", "path": f"/proc/{os.getpid()}/ns/net"}]
    linux["namespaces"] = spaces
    return result


def _resolved(process: Mapping[str, Any], rootfs: str) -> dict[str, Any]:
    """The process with numbers for the user and groups that we name, from the container's own files.

    As Docker does, the group is among the supplementary ones too (CVE-2022-36109). Raises InitError.
    """
    user = process.get("user", {})
    if "username" in user or "additionalGroups" in user:
        root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = users.resolve(root, user.get("username", ""), user.get("additionalGroups", ()))
        except UserError as error:
            raise InitError(str(error)) from None
        finally:
            os.close(root)
        groups = list(dict.fromkeys([found.gid, *found.groups]))
        user = {"uid": found.uid, "gid": found.gid, "additionalGids": groups}
    return {**process, "user": user}


def error_text(log: str, stderr: str, status: int) -> str:
    """The last error in a runtime's JSON log, without the runtime's own name in front."""
    text = ""
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal") and entry.get("msg"):
            text = str(entry["msg"])
    text = text or stderr.strip() or f"{PREFIX}runtime exited with status {status}"
    for prefix in _PREFIXES:
        text = text.removeprefix(prefix)
    return text


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _receive(listener: _socket.socket) -> int:
    listener.settimeout(10)
    fd, _ = listener._accept()  # type: ignore[attr-defined]
    link = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
    try:
        _, ancillary, _, _ = link.recvmsg(4096, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
    finally:
        link.close()
    for level, kind, content in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            return int.from_bytes(content[:4], sys.byteorder)
    raise InitError(f"{PREFIX}the runtime sent no console")
