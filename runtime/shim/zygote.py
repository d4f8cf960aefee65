"""The zygote: a small process with everything loaded, from which shims and workers are forked.

Run as `python -I -S zygote.py SOCKET PATH… [PADDING]`: SOCKET is the number of an inherited SOCK_SEQPACKET
descriptor, each PATH is appended to `sys.path`. A packet `shim` or `worker` brings one descriptor, the
control socket of the new process; everything else is between that process and the daemon, so that no
request can harm the zygote. It ends when the daemon's end of SOCKET is closed.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys


def preload(folder: str) -> None:
    """Import what shims and workers use. A module that cannot be imported is reported and left out."""
    import importlib

    names = ["json", "runtime.external", "runtime.shim.server", "runtime.shim.worker"]
    for package in ("init", "cgroups", "net", "logs", "storage"):
        try:
            files = os.listdir(os.path.join(folder, "runtime", package))
        except OSError:
            continue
        modules = sorted(file[:-3] for file in files if file.endswith(".py"))
        names += [f"runtime.{package}" + ("" if name == "__init__" else f".{name}") for name in modules]
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            if error.name != name:
                print(f"zygote: {name}: {error}", file=sys.stderr)
        except Exception as error:
            print(f"zygote: {name}: {type(error).__name__}: {error}", file=sys.stderr)
    for heavy in ("asyncio", "dataclasses", "inspect"):
        if heavy in sys.modules:
            print(f"zygote: {heavy} is loaded, which every shim pays for", file=sys.stderr)


def child(kind: bytes, control: int) -> None:
    """Be the new process; never returns to the zygote's loop."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if kind == b"shim":
        from runtime.shim import server

        server.main(control)
    else:
        from runtime.shim import worker

        worker.main(control)


def serve(daemon: socket.socket) -> None:
    """Fork for every packet until the daemon is gone."""
    from runtime.shim import wire

    while True:
        kind, fds = wire.receive_packet(daemon)
        if not kind:
            return
        try:
            if kind in (b"shim", b"worker") and len(fds) == 1 and os.fork() == 0:
                status = 1
                try:
                    daemon.close()
                    child(kind, fds[0])
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
    from runtime.shim.title import set_title

    set_title("compatd-zygote", "compatd-zygote")
    # The kernel reaps; children set it back.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    preload(folders[0])
    gc.collect()
    gc.freeze()
    serve(daemon)


if __name__ == "__main__":
    main()
