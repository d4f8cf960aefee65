"""Keep the interpreter out of the container's reach (CVE-2019-5736).

Until execve, the container's first process *is* this interpreter: an image whose entry point is
`/proc/self/exe`, or whose script says `#!/proc/self/exe`, runs the host's Python with the image's own
libraries, and can keep `/proc/self/exe` open and write to it when no process runs it any more. Then every
later start is theirs.

So a process that starts containers runs from a read-only bind mount of the interpreter which is in nobody's
mount namespace: `/proc/self/exe` leads to that mount, every write is EROFS, and no one can remount what they
cannot name. It costs two syscalls once for the zygote, no memory (as a sealed copy would), and nothing per
container.
"""

from __future__ import annotations

import os
import sys

from runtime import syscalls as s

_MARK = "COMPAT_RUNTIME_SELF"


def readonly_fd(path: str = "") -> int:
    """Fd of a detached read-only mount of `path` (the interpreter). `/proc/self/fd/<fd>` can be executed.

    Raises OSError (it needs CAP_SYS_ADMIN).
    """
    fd = s.open_tree(s.AT_FDCWD, os.path.realpath(path or sys.executable))
    try:
        s.mount_setattr(fd, set=s.MOUNT_ATTR_RDONLY)
    except OSError:
        os.close(fd)
        raise
    return fd


def protected() -> bool:
    """Whether this process's executable can be written through /proc/self/exe by nobody."""
    return bool(os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY)


def ensure() -> None:
    """Execute this program anew from a read-only mount, unless it is already. For programs of one call.

    Raises OSError when it cannot be done; the caller must not start a container then.
    """
    if protected():
        return
    if os.environ.get(_MARK):
        raise OSError(1, "the interpreter is still writable", sys.executable)
    fd = readonly_fd()  # close-on-exec: the file is open before it is closed
    os.execve(f"/proc/self/fd/{fd}", sys.orig_argv, {**os.environ, _MARK: "1"})  # noqa: S606
