"""Enough of Redis's protocol to ask one question."""

import socket


def ask(address: str, port: int, *words: str) -> str:
    """The first line of the answer: `+PONG`, `:1` … Raises OSError when nobody answers."""
    with socket.create_connection((address, port), 20) as sock:
        sock.sendall(
            f"*{len(words)}\r\n".encode() + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words)
        )
        with sock.makefile("rb") as answer:
            return answer.readline().decode().strip()
