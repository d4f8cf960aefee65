"""TLS for the API's TCP sockets: versions, ciphers and errors of dockerd."""

from __future__ import annotations

import errno
import json
import os
import ssl
from pathlib import Path

CIPHERS = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""For TLS 1.2; those of TLS 1.3 are OpenSSL's own."""


class TLSError(Exception):
    """Certificates that cannot be used; the text is dockerd's."""


def make_context(cert: str, key: str, ca: str, *, verify: bool) -> ssl.SSLContext:
    """The server's side of TLS: `cert` and `key` are files, `verify` asks clients for a certificate of `ca`.

    An empty `ca` stands for the system's authorities. Raises TLSError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, cert, key)
    if verify:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authorities(context, ca)
    return context


def _load_pair(context: ssl.SSLContext, cert: str, key: str) -> None:
    where = f"(cert: {json.dumps(cert)}, key: {json.dumps(key)})"
    for path in (cert, key):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            text = f"open {path}: {os.strerror(error.errno or errno.EIO).lower()}"
            if isinstance(error, FileNotFoundError):
                raise TLSError(f"could not load X509 key pair {where}: {text}") from None
            raise TLSError(f"{_UNREADABLE} {where}: {text}") from None
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (ssl.SSLError, _EncryptedError, ValueError) as error:
        raise TLSError(f"{_UNREADABLE} {where}: {_reason(error)}") from None


_UNREADABLE = "error reading X509 key pair - make sure the key is not encrypted"


class _EncryptedError(Exception):
    pass


def _no_password() -> str:
    """Instead of asking on the terminal."""
    raise _EncryptedError("tls: failed to parse private key")


def _load_authorities(context: ssl.SSLContext, ca: str) -> None:
    if not ca:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    try:
        data = Path(ca).read_bytes()
    except OSError as error:
        text = f"open {ca}: {os.strerror(error.errno or errno.EIO).lower()}"
        raise TLSError(f"could not read CA certificate {json.dumps(ca)}: {text}") from None
    try:
        context.load_verify_locations(cadata=data.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise TLSError(f"failed to append certificates from PEM file: {json.dumps(ca)}") from None


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return f"tls: {str(reason).replace('_', ' ').lower()}" if reason else str(error)
