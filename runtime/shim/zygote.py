"""The zygote: a small process with everything loaded, from which shims and workers are forked.

Run as `python -I -S zygote.py SOCKET PATH… [PADDING]`: SOCKET is the number of an inherited SOCK_SEQPACKET
descriptor, each PATH is appended to `sys.path`. A packet `shim`, `worker` or `resolver` brings one
descriptor, the control socket of the new process; everything else is between that process and the daemon,
so that no request can harm the zygote. It ends when the daemon's end of SOCKET is closed.
"""

from __future__ import annotations

import gc
import os
import socket
import sys

#: The shim's own modules first: what a shim touches lies close together then, on few pages of memory.
MODULES = (
    "runtime.shim.server",
    "runtime.shim.worker",
    "runtime.cgroups.v1",
    "runtime.cgroups.v2",
    "runtime.init",
    "runtime.net.plan",
    "runtime.external",
    "runtime.storage.archive",
    "runtime.storage.changes",
    "runtime.storage.copyup",
    "runtime.storage.initlayer",
    "runtime.storage.spool",
    "runtime.storage.untar",
    "runtime.storage.buildkey",
    "runtime.storage.buildcopy",
)


def preload() -> None:
    """Import what shims and workers use. A module that cannot be imported is reported and left out."""
    import importlib

    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:
            if not isinstance(error, ImportError) or error.name != name:
                print(f"zygote: {name}: {type(error).__name__}: {error}", file=sys.stderr)
    for heavy in ("asyncio", "dataclasses", "inspect", "logging"):
        if heavy in sys.modules:
            print(f"zygote: {heavy} is loaded, which every shim pays for", file=sys.stderr)


def _resolver(control: int) -> None:
    from runtime.resolver import process  # here, for one process only needs it

    process.main(control)


def serve(daemon: socket.socket) -> None:
    """Fork for every packet until the daemon is gone."""
    from runtime.shim import server, signals, wire, worker

    mains = {b"shim": server.main, b"worker": worker.main, b"resolver": _resolver}
    while True:
        kind, fds = wire.receive_packet(daemon)
        if not kind:
            return
        try:
            if kind in mains and len(fds) == 1 and os.fork() == 0:
                status = 1
                try:
                    daemon.close()
                    signals.handle(signals.SIGCHLD, signals.SIG_DFL)
                    mains[kind](fds[0])
                    status = 0
                except BaseException:
                    sys.excepthook(*sys.exc_info())
                finally:
                    os._exit(status)
        except OSError as error:
            # The daemon sees the control socket close.
            print(f"zygote: fork: {error}", file=sys.stderr)
        finally:
            wire.close_all(fds)


def main() -> None:
    """Entry point; see the module."""
    folders = [path for path in sys.argv[2:] if os.path.isabs(path)]
    sys.path += folders
    daemon = socket.socket(fileno=int(sys.argv[1]))
    daemon.set_inheritable(False)
    for number in filter(str.isdigit, sys.argv[2:]):
        os.close(int(number))  # the interpreter's read-only mount, which this process was executed from
    from runtime.shim import signals
    from runtime.shim.title import set_title

    set_title("compatd-zygote", "compatd-zygote")
    # The kernel reaps; children set it back.
    signals.handle(signals.SIGCHLD, signals.SIG_IGN)
    signals.handle(signals.SIGINT, signals.SIG_IGN)
    # `threading` and `random` want to mend themselves after every fork, which costs each shim 0.4 MB and
    # a process with one thread nothing if left undone.
    register, os.register_at_fork = os.register_at_fork, lambda **_: None
    preload()
    os.register_at_fork = register
    gc.collect()
    gc.freeze()
    serve(daemon)


if __name__ == "__main__":
    main()
