"""A worker: one function of `runtime.storage` or `runtime.net.live` run in a process of its own.

It is forked from the zygote.
"""

from __future__ import annotations

import json
import os
import socket
import sys

from runtime import syscalls
from runtime.shim import signals, wire
from runtime.shim.title import set_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Only functions of these modules may be asked for.
ALLOWED = ("runtime.storage.", "runtime.net.live", "runtime.net.dns")


class Refused(Exception):
    """The function is not one that may run in a worker."""


def find(name: str) -> Callable[..., Any]:
    """The function `module:function`. Raises Refused, ImportError, AttributeError."""
    module_name, _, function_name = name.partition(":")
    if not module_name.startswith(ALLOWED) or not function_name.isidentifier():
        raise Refused(f"{name} may not run in a worker")
    if function_name.startswith("_"):
        raise Refused(f"{name} is private")
    module = sys.modules.get(module_name)
    if module is None:
        import importlib

        module = importlib.import_module(module_name)
    function = getattr(module, function_name)
    if not callable(function):
        raise Refused(f"{name} is not a function")
    return function  # type: ignore[no-any-return]


def main(control: int) -> None:
    """Read `{"function", "arguments"}` and descriptors, say which process this is, run it, send the result.

    The function is called as `function(arguments, fds)` and owns the descriptors.
    The answer is `{"result": …}` or `{"error": text, "kind": class name, "errno": number if there is one}`.
    """
    random = sys.modules.get("random")
    if random is not None:
        random.seed()  # or all workers have the zygote's numbers
    sock = socket.socket(fileno=control)
    # Half work is cleared away when a daemon starts: nobody may still be at it then
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signals.SIGKILL)
    signals.handle(signals.SIGINT, signals.SIG_DFL)
    request, fds = wire.receive(sock)
    pidfd = os.pidfd_open(os.getpid())
    wire.send(sock, {"started": os.getpid()}, [pidfd])
    os.close(pidfd)
    answer: dict[str, Any]
    try:
        function = find(request["function"])
        set_title("compatd-worker", "compatd-worker " + request["function"])
        answer = {"result": function(request["arguments"], fds)}
        json.dumps(answer)
    except BaseException as error:
        answer = {"error": str(error), "kind": type(error).__name__}
        if isinstance(error, OSError) and error.errno is not None:
            answer["errno"] = error.errno
    try:
        wire.send(sock, answer)
    except BrokenPipeError:
        pass  # cancelled
