"""Addresses of log servers: `proto://host:port`, or a socket's path."""

import re
from dataclasses import dataclass
from pathlib import Path

from compatd.engine.logdrivers.values import LogOptionError

_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://([^/?#]*)([^?#]*)")
_HOST = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?P<colon>:(?P<port>.*))?")


@dataclass(frozen=True)
class Address:
    """`scheme` in small letters; `host` with the brackets of IPv6; `port` "" when there is none."""

    scheme: str
    host: str
    port: str
    path: str

    @property
    def joined(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"


def parse(text: str) -> Address:
    """Raises LogOptionError as Go's url.Parse words it."""
    match = _URL.fullmatch(text)
    if not match:
        scheme, colon, _ = text.partition(":")
        if colon and not scheme:
            raise LogOptionError(f'parse "{text}": missing protocol scheme')
        return Address(scheme.lower() if colon else "", "", "", text if not colon else "")
    where = match[2].rpartition("@")[2]
    found = _HOST.fullmatch(where)
    if not found or (found["port"] and not found["port"].isdecimal()):
        port = where.rpartition(":")[2]
        raise LogOptionError(f'parse "{text}": invalid port ":{port}" after host')
    return Address(match[1].lower(), found["host"], found["port"] or "", match[3])


def syslog(text: str) -> tuple[str, str]:
    """Network and address of `syslog-address`; ("", "") for this machine's own. Raises LogOptionError."""
    if not text:
        return "", ""
    address = parse(text)
    if address.scheme in ("unix", "unixgram"):
        try:
            Path(address.path).stat()
        except OSError as error:
            raise LogOptionError(f"stat {address.path}: {(error.strerror or '').lower()}") from None
        return address.scheme, address.path
    if address.scheme not in ("udp", "tcp", "tcp+tls"):
        raise LogOptionError(f"unsupported scheme: '{address.scheme}'")
    return address.scheme, f"{address.host}:{address.port or 514}"


def gelf(text: str) -> tuple[str, str]:
    """Network and address of `gelf-address`. Raises LogOptionError."""
    if not text:
        raise LogOptionError("gelf-address is a required parameter")
    address = parse(text)
    if address.scheme not in ("udp", "tcp"):
        raise LogOptionError("gelf: endpoint needs to be TCP or UDP")
    if not address.port:
        raise LogOptionError("gelf: please provide gelf-address as proto://host:port")
    return address.scheme, address.joined


def fluentd(text: str) -> tuple[str, str]:
    """Network and address of `fluentd-address`. Raises LogOptionError."""
    if not text:
        return "tcp", "127.0.0.1:24224"
    try:
        address = parse(text if "://" in text else f"tcp://{text}")
        if address.scheme == "unix":
            if not address.path.strip("/"):
                raise LogOptionError("path is empty")
            return "unix", address.path
        if address.scheme not in ("tcp", "tls"):
            raise LogOptionError(f"unsupported scheme: '{address.scheme}'")
        if address.path:
            raise LogOptionError("should not contain a path element")
        if address.port and int(address.port) > 65535:
            text_ = f'strconv.ParseUint: parsing "{address.port}": value out of range'
            raise LogOptionError(f"invalid port: {text_}")
    except LogOptionError as error:
        raise LogOptionError(f"invalid fluentd-address ({text}): {error}") from None
    network = "tcp+tls" if address.scheme == "tls" else "tcp"
    return network, f"{address.host or '127.0.0.1'}:{address.port or 24224}"
