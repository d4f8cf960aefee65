"""Looking a server's name up in a process of its own: the shim never waits for a name server."""

from __future__ import annotations

import json
import os
import sys

from runtime.logs import dial
from runtime.logs.base import LogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.logs.dial import Place
    from runtime.shim.loop import Loop

_READ = 1  # EPOLLIN


def look_up(loop: Loop, network: str, address: str, told: Callable[[list[Place]], None]) -> None:
    """Call `told` later with the places of an address; with none when it has none. Raises OSError."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.write(theirs, json.dumps(dial.resolve(network, address)).encode())
        except LogError:
            pass
        except BaseException as error:
            print(f"shim: looking {address} up: {error}", file=sys.stderr)
        finally:
            os._exit(0)
    os.close(theirs)
    text = bytearray()

    def ready(events: int) -> None:
        data = os.read(ours, 65536)
        if data:
            text.extend(data)
            return
        loop.forget(ours)
        os.close(ours)
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # the shim has reaped it
        told([(family, tuple(place)) for family, place in json.loads(text or b"[]")])

    loop.watch(ours, _READ, ready)
