"""Work on images that is killed (SIGKILL) right before its n-th change of the disk or the state."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from compatd.engine.images import Images
from compatd.fsck.command import check
from compatd.store import Store
from runtime import syscalls
from tests.integration.registrykit import FakeRegistry, fake_registry
from tests.unit.images.imagekit import make_images

Work = Callable[[Images], Awaitable[Any]]

_CHANGES = ("rename", "link", "symlink", "unlink", "mkdir", "rmdir", "replace")
_STATEMENTS = ("INSERT", "DELETE", "COMMIT")


def on_images(data_root: Path, work: Work) -> Any:
    """Start as the daemon does, do the work, end. Gives the work's result."""

    async def main() -> Any:
        store = Store(data_root / "compatd")
        try:
            images = make_images(data_root / "compatd", store)
            await images.open()
            images.storage.settle()
            result = await work(images)
            images.storage.settle()
            return result
        finally:
            store.close()

    return asyncio.run(main())


def killed_at(data_root: Path, step: int, work: Work) -> bool:
    """Do the work in a process that kills itself before change number `step`; False when it ended before."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            _arm(step)
            on_images(data_root, work)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    result = os.waitstatus_to_exitcode(status)
    assert result in (0, -signal.SIGKILL), f"the work failed with {result}"
    return result != 0


@contextlib.contextmanager
def registry_process(fill: Callable[[FakeRegistry], Any], netns: str = "") -> Iterator[str]:
    """A registry in a process of its own (who forks must have one thread), in a named network namespace if
    wanted; its address.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if netns:
                syscalls.setns(os.open(f"/run/netns/{netns}", os.O_RDONLY), syscalls.CLONE_NEWNET)
            with fake_registry() as made:
                fill(made)
                os.write(write, made.host.encode())
                signal.pause()
        finally:
            os._exit(0)
    os.close(write)
    try:
        yield os.read(read, 100).decode()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read)


def _arm(step: int) -> None:
    left = step
    owner = os.getpid()

    def count() -> None:
        nonlocal left
        left -= 1
        if left <= 0 and os.getpid() == owner:
            os.kill(owner, signal.SIGKILL)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            count()
            return function(*args, **options)

        return call

    for name in _CHANGES:
        setattr(os, name, counted(getattr(os, name)))
    execute = Store.execute

    def watched(store: Store, statement: str, values: tuple[Any, ...]) -> Any:
        if statement.startswith(_STATEMENTS):
            count()
        return execute(store, statement, values)

    setattr(Store, "execute", watched)  # noqa: B010 - mypy lets no method be assigned


def assert_whole(data_root: Path) -> None:
    """After a start nothing is orphaned, missing or damaged."""

    async def nothing(images: Images) -> None:
        pass

    on_images(data_root, nothing)
    report = check(data_root, "overlay2", deep=True, repair=False)
    assert [problem.line() for problem in report.problems] == []
