"""TLS to log servers. Imported only where one is used: the ssl module is the largest part of a shim then."""

from __future__ import annotations

import select
import socket
import ssl

from runtime.logs import dial
from runtime.logs.base import LogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def context(options: dict[str, Any]) -> ssl.SSLContext:
    """`options`: ca, cert, key (paths or ""), verify (bool). Raises LogError."""
    made = ssl.create_default_context()
    if not options.get("verify", True):
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif options.get("ca"):
        try:
            made.load_verify_locations(options["ca"])
        except OSError as error:
            path = options["ca"]
            if isinstance(error, ssl.SSLError):
                raise LogError(f"failed to append certificates from PEM file: {path}") from None
            raise LogError(
                f'could not read CA certificate "{path}": open {path}: {dial.reason(error)}'
            ) from None
    if options.get("cert") or options.get("key"):
        try:
            made.load_cert_chain(options.get("cert") or "", options.get("key") or None)
        except OSError as error:
            raise LogError(f"Could not load X509 key pair: {dial.reason(error)}") from None
    return made


def wrap(sock: socket.socket, options: dict[str, Any], address: str) -> ssl.SSLSocket:
    """The socket with TLS on it, hands not yet shaken. Raises LogError, OSError."""
    host, _ = dial.split(address)
    return context(options).wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)


def connect(sock: socket.socket, options: dict[str, Any], address: str) -> ssl.SSLSocket:
    """Shake hands and wait for it; gives a non-blocking socket. Raises LogError."""
    try:
        sock.setblocking(True)
        wrapped = wrap(sock, options, address)
        wrapped.do_handshake()
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise LogError(f"tls: failed to verify certificate: x509: {error.verify_message}") from None
    except OSError as error:
        sock.close()
        raise LogError(
            f"tls: {error.reason or error}" if isinstance(error, ssl.SSLError) else str(error)
        ) from None
    wrapped.setblocking(False)
    return wrapped


def shake_hands(sock: ssl.SSLSocket) -> int:
    """Go on shaking hands: the epoll events to wait for, 0 when done. Raises OSError."""
    try:
        sock.do_handshake()
    except ssl.SSLWantReadError:
        return select.EPOLLIN
    except ssl.SSLWantWriteError:
        return select.EPOLLOUT
    return 0
