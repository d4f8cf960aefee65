"""A container of another runtime, from its shim's side."""

import os
import time
from typing import Any

import pytest

from runtime.init.errors import InitError
from runtime.shim.container import Container


class _Refusing:
    """A runtime that finds nothing to kill."""

    def kill(self, number: int, *, everything: bool = False) -> None:
        raise InitError("kill container: No such process")


def container(pid: int) -> Container:
    made: Any = object.__new__(Container)
    made.external, made.pid = _Refusing(), pid
    return made  # type: ignore[no-any-return]


def test_a_signal_for_one_that_has_just_ended() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        deadline = time.monotonic() + 60
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            assert time.monotonic() < deadline
        container(pid).kill(9, everything=False)
    finally:
        os.waitpid(pid, 0)
    container(pid).kill(9, everything=False)


def test_a_signal_for_one_that_runs() -> None:
    with pytest.raises(InitError, match="No such process"):
        container(os.getpid()).kill(9, everything=False)
