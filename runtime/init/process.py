"""The user's process: limits, user, capabilities, seccomp, program. Prepared before the fork, run in the
child."""

from __future__ import annotations

import os
import resource

from runtime import syscalls as s
from runtime.init import lookup, seccomp, users
from runtime.init.capabilities import CapabilitySets, available, last_cap
from runtime.init.errors import InitError, StepError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.init.road import Road
    from runtime.spec import Process, Seccomp

# setrlimit(2), asm-generic/resource.h
_RLIMITS = {
    name: number
    for number, name in enumerate(
        "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO "
        "RTTIME".split()
    )
}
_INFINITY = 2**64 - 1
_EPERM, _EACCES, _ENOENT, _EINVAL, _ESRCH = 1, 13, 2, 22, 3
_OUTSIDE = (
    "current working directory is outside of container mount namespace root "
    "-- possible container breakout detected"
)


class ProcessPlan:
    """All that can be known of a process before its child exists.

    Raises InitError for what runc refuses while it reads the spec.
    """

    __slots__ = (
        "args",
        "caps",
        "cwd",
        "env",
        "filter",
        "filter_flags",
        "last_cap",
        "oom_score",
        "process",
        "rlimits",
        "umask",
        "warnings",
    )

    def __init__(self, process: Process, profile: Seccomp | None, cache: str) -> None:
        self.process = process
        self.args = process.get("args") or []
        self.env = process.get("env") or []
        self.cwd = process.get("cwd") or "/"
        self.oom_score = process.get("oomScoreAdj")
        self.umask = process.get("user", {}).get("umask", 0o022)
        self.warnings: list[str] = []
        self.rlimits: list[tuple[int, int, int]] = []
        for limit in process.get("rlimits") or []:
            number = _RLIMITS.get(limit["type"].removeprefix("RLIMIT_"))
            if number is None:
                raise InitError(f"wrong rlimit value: {limit['type']}")
            self.rlimits.append((number, limit["soft"], limit["hard"]))
        self.caps: CapabilitySets | None = None
        self.last_cap = last_cap()
        wanted = process.get("capabilities")
        if wanted is not None:
            self.caps = CapabilitySets(wanted, available())
            if self.caps.ignored:
                self.warnings.append(self.caps.warning())
        self.filter, self.filter_flags = seccomp.program(profile, cache) if profile else (b"", 0)

    def set_oom_score(self, pid: int = 0) -> None:
        """Of a process that is not ready yet, 0 for this one. To be called where /proc is the host's."""
        if self.oom_score is None:
            return
        try:
            fd = os.open(f"/proc/{pid or 'self'}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # it has ended, and says itself why
        try:
            os.write(fd, b"%d" % self.oom_score)
        except OSError as error:
            # Lowering needs CAP_SYS_RESOURCE, which a daemon in a container lacks: not the user's fault.
            if error.errno == _ESRCH:
                return
            if error.errno not in (_EACCES, _EPERM):
                raise StepError(f"failed to update /proc/self/oom_score_adj: {error.strerror}") from None
            self.warnings.append(f"oom_score_adj {self.oom_score} not set: {reason(error)}")
        finally:
            os.close(fd)

    def set_rlimits(self) -> None:
        for number, soft, hard in self.rlimits:
            try:
                resource.setrlimit(number, (_signed(soft), _signed(hard)))
            except (OSError, ValueError) as error:
                # resource.setrlimit turns EINVAL and EPERM into ValueError.
                text = reason(error) if isinstance(error, OSError) else _limit_reason(number, soft, hard)
                raise StepError(
                    f"error setting rlimits for ready process: error setting rlimit type {number}: {text}"
                ) from None

    def finish(self, road: Road) -> str:
        """Become the user's process up to execve. Returns the program's path."""
        process = self.process
        _label(road, "apparmor/exec", process.get("apparmorProfile", ""), "exec {}")
        _label(road, "exec", process.get("selinuxLabel", ""), "{}")
        if process.get("noNewPrivileges"):
            s.prctl(s.PR_SET_NO_NEW_PRIVS, 1)
        elif self.filter:
            # Without no_new_privs loading wants CAP_SYS_ADMIN, which goes away below.
            self._load_filter()
        uid, gid, groups, home = self._identity(road)
        if not any(entry.startswith("HOME=") for entry in self.env):
            self.env = [*self.env, f"HOME={home or users.home_of(road.root, uid)}"]
        again = self._chdir()
        if self.caps:
            try:
                self.caps.drop_bounding(self.last_cap)
            except OSError as error:
                raise StepError(f"unable to apply bounding set: {reason(error)}") from None
            s.prctl(s.PR_SET_KEEPCAPS, 1)
        _own_stdio(uid)
        _become(uid, gid, groups)
        if again:
            self._chdir(last=True)
        _verify_cwd()
        if self.caps:
            s.prctl(s.PR_SET_KEEPCAPS, 0)
            try:
                self.caps.apply()
            except OSError as error:
                raise StepError(f"unable to apply caps: {reason(error)}") from None
        os.umask(self.umask)
        if not self.args:
            raise StepError('exec: "": executable file not found in $PATH')
        program = lookup.find(self.args[0], lookup.search_path(self.env))
        if process.get("noNewPrivileges") and self.filter:
            self._load_filter()
        return program

    def _load_filter(self) -> None:
        try:
            s.seccomp_filter(self.filter, self.filter_flags)
        except OSError as error:
            raise StepError(
                f"unable to init seccomp: error loading seccomp filter: {reason(error)}"
            ) from None

    def _identity(self, road: Road) -> tuple[int, int, list[int], str]:
        user = self.process.get("user") or {}
        if "username" in user:
            found = users.resolve(road.root, user["username"], user.get("additionalGroups") or [])
            # Its own group too: giving that up must not get round a file's group bits (CVE-2022-36109).
            groups = list(dict.fromkeys([found.gid, *found.groups, *(user.get("additionalGids") or [])]))
            return found.uid, found.gid, groups, found.home
        uid, gid, groups = user.get("uid", 0), user.get("gid", 0), user.get("additionalGids") or []
        if not all(0 <= number <= users.MAX_ID for number in (uid, gid, *groups)):
            raise StepError(f"unable to setup user: uids and gids must be in range 0-{users.MAX_ID}")
        return uid, gid, groups, ""

    def _chdir(self, *, last: bool = False) -> bool:
        """True: not permitted yet, the user may be allowed to."""
        try:
            os.chdir(self.cwd)
        except OSError as error:
            if error.errno in (_EPERM, _EACCES) and not last:
                return True
            raise StepError(
                f'chdir to cwd ("{self.cwd}") set in config.json failed: {reason(error)}'
            ) from None
        return False


def _become(uid: int, gid: int, groups: list[int]) -> None:
    try:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        if error.errno == _EINVAL:
            text = f"cannot set uid/gid to unmapped user {uid}:{gid} in user namespace"
            raise StepError(f"unable to setup user: {text}") from None
        raise StepError(f"unable to setup user: {reason(error)}") from None


def _label(road: Road, name: str, label: str, form: str) -> None:
    """What the security module is to make of the process at execve; on the real procfs (CVE-2019-16884)."""
    if not label:
        return
    path = f"/proc/{os.getpid()}/attr/{name}"
    try:
        fd = road.open(path, os.O_WRONLY, follow=False)
        try:
            if s.filesystem_type(fd) != s.PROC_SUPER_MAGIC:
                raise StepError(f"{path} is not on procfs")
            os.write(fd, form.format(label).encode())
        finally:
            os.close(fd)
    except OSError as error:
        if label == "unconfined" and error.errno in (_ENOENT, _EINVAL):
            return  # nothing could confine it here
        module = "apparmor profile" if "apparmor" in name else "process label"
        raise StepError(f"unable to apply {module}: {reason(error)}") from None


def _own_stdio(uid: int) -> None:
    """The user must be able to reopen /dev/stdout; /dev/null is everybody's."""
    for fd in (0, 1, 2):
        status = os.fstat(fd)
        if status.st_uid == uid or status.st_rdev == os.makedev(1, 3):
            continue
        try:
            os.fchown(fd, uid, -1)
        except OSError as error:
            if error.errno not in (_EPERM, _EINVAL, 30):
                raise


def _verify_cwd() -> None:
    """The kernel marks a folder outside the root `(unreachable)` (CVE-2024-21626)."""
    try:
        inside = os.getcwd().startswith("/")
    except FileNotFoundError:
        inside = False
    if not inside:
        raise StepError(_OUTSIDE)


def _signed(value: int) -> int:
    return -1 if value in (-1, _INFINITY) else value


def _limit_reason(number: int, soft: int, hard: int) -> str:
    now = resource.getrlimit(number)[1]
    raises = now != -1 and (_signed(hard) == -1 or hard > now)
    return "operation not permitted" if raises and 0 <= soft <= hard else "invalid argument"
