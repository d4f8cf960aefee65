"""Addresses that the daemon listens on, as `-H` takes them."""

import re

DEFAULT_UNIX = "unix:///var/run/docker.sock"
DEFAULT_TLS = "tcp://localhost:2376"
_DEFAULT_PORT = "2375"


def check_host(text: str) -> str:
    """The address as it was given, when it can be read. Raises ValueError with dockerd's text."""
    if text.strip():
        normal_host(text)
    return text


def normal_host(text: str) -> str:
    """The address with all that may be left out: `tcp://` is port 2375 of localhost. Raises ValueError."""
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    if not separator and scheme:
        scheme, rest = "tcp", text
    match scheme:
        case "tcp":
            return _tcp(text, rest)
        case "unix":
            if "://" in rest:
                raise ValueError(f"invalid bind address ({text}): invalid unix address: {rest}")
            return f"unix://{rest}" if rest else DEFAULT_UNIX
        case "fd":
            return text
        case "npipe":
            raise ValueError(f"invalid bind address ({text}): npipe is for Windows")
    raise ValueError(f"invalid bind address ({text}): unsupported proto '{scheme}'")


def _tcp(text: str, rest: str) -> str:
    def wrong(why: str) -> ValueError:
        return ValueError(f"invalid bind address ({text}): {why}")

    authority, slash, _ = rest.partition("/")
    if authority.startswith("[") and "]" not in authority:
        raise wrong(f"parse \"tcp://{rest}\": missing ']' in host")
    host, port = _split(authority)
    if port and not port.isdigit():
        raise wrong(f'parse "tcp://{rest}": invalid port ":{port}" after host')
    if slash:
        raise wrong("should not contain a path element")
    if port and int(port) == 0:
        raise wrong(f"invalid port: {port}")
    host = host or "localhost"
    return (
        f"tcp://[{host}]:{port or _DEFAULT_PORT}" if ":" in host else f"tcp://{host}:{port or _DEFAULT_PORT}"
    )


def _split(authority: str) -> tuple[str, str]:
    if found := re.fullmatch(r"\[([^\]]*)\](?::(.*))?", authority):
        return found[1], found[2] or ""
    host, _, port = authority.partition(":")
    return host, port


def normal_hosts(hosts: list[str], *, tls: bool) -> list[str]:
    """All addresses, in order and once each; without any the default one. Raises ValueError."""
    given = [text for text in hosts if text.strip()] or [DEFAULT_TLS if tls else DEFAULT_UNIX]
    return sorted({normal_host(text) for text in given})


def is_loopback(host: str) -> bool:
    """Whether a normal `tcp://` address is reached from this machine only."""
    import ipaddress
    import socket

    name = _split(host.partition("://")[2])[0]
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found)
