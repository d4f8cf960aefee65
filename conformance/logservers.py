"""What log drivers send to: sockets in the engine's network namespace, and containers that write a little."""

import socket
import threading
from typing import Any

from conformance.engine import Ended, Engine

SCRIPT = "echo out; sleep 0.3; echo err >&2"


def config(driver: str, **options: str) -> dict[str, Any]:
    """A HostConfig with a log driver; `_` stands for `-` in names of options."""
    return {"LogConfig": {"Type": driver, "Config": {n.replace("_", "-"): v for n, v in options.items()}}}


class Server:
    """Keeps what is sent to it, in datagrams or from each connection, until it is closed."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.got: list[bytes] = []
        self.peers: list[socket.socket] = []
        self._closed = False
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return int(self.sock.getsockname()[1])

    @property
    def text(self) -> bytes:
        return b"".join(self.got)

    def _serve(self) -> None:
        self.sock.settimeout(0.1)
        while not self._closed:
            try:
                if self.sock.type == socket.SOCK_STREAM:
                    peer, _ = self.sock.accept()
                    peer.settimeout(None)
                    self.peers.append(peer)
                    threading.Thread(target=self._read, args=(peer,), daemon=True).start()
                else:
                    self.got.append(self.sock.recv(1 << 17))
            except TimeoutError:
                continue
            except OSError:
                return

    def _read(self, peer: socket.socket) -> None:
        try:
            while data := peer.recv(1 << 16):
                self.got.append(data)
        except OSError:
            pass

    def close(self) -> None:
        self._closed = True
        self.thread.join()
        self.sock.close()
        for peer in self.peers:
            try:
                peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            peer.close()


def run(engine: Engine, host: dict[str, Any], script: str = SCRIPT, **more: Any) -> Ended:
    container = engine.run("sh", "-c", script, host=host, **more)
    code = engine.wait(container)
    return Ended(container, code, *engine.logs(container))
