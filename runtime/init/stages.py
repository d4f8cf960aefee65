"""What comes between a container's steps: OCI's create and start, which are two programs, and its hooks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Stages:
    """go_fd: a FIFO from which the child reads one byte instead of waiting for `Child.go`; -1: it waits.
    told_fd: where it writes what went wrong after that; its end of file says that execve has happened.

    before_pivot: called with the pid by the parent, in `wait_ready`, when the mounts are made but the host's
    tree is still there. in_container: the same in the child, after it. before_program: in the child, after
    the byte and before execve, with the process's own identity and restrictions. Both are called where
    nothing can be imported; what they raise (StepError) ends the child.
    """

    __slots__ = ("before_pivot", "before_program", "go_fd", "in_container", "told_fd")

    def __init__(self, go_fd: int = -1, told_fd: int = -1) -> None:
        self.go_fd = go_fd
        self.told_fd = told_fd
        self.before_pivot: Callable[[int], None] | None = None
        self.in_container: Callable[[], None] | None = None
        self.before_program: Callable[[], None] | None = None

    @property
    def before_root(self) -> bool:
        """Whether anything is to be done before the pivot."""
        return bool(self.before_pivot or self.in_container)
