"""Which proxy a request goes through, by the environment that HTTP clients written in Go look at.

`HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, or the same in lower case. An entry of NO_PROXY is a host name
(with all below it; with a leading dot or `*.` only those below), an address, a network, each with a port or
without, or `*`. What is on this machine is never asked for through a proxy.
"""

import ipaddress
import os
from urllib.parse import urlsplit


def _setting(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.lower()) or ""


def proxy_for(url: str) -> str | None:
    """The proxy's URL for a request of `url`, or None."""
    parts = urlsplit(url)
    proxy = _setting("HTTPS_PROXY" if parts.scheme == "https" else "HTTP_PROXY")
    host = (parts.hostname or "").lower().rstrip(".")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if not proxy or not host or _spared(host, port):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _spared(host: str, port: int) -> bool:
    address = _address(host)
    if host == "localhost" or (address and address.is_loopback):
        return True
    return any(
        _matches(entry.strip().lower(), host, port, address) for entry in _setting("NO_PROXY").split(",")
    )


def _matches(
    entry: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
) -> bool:
    if not entry:
        return False
    if entry == "*":
        return True
    if "/" in entry:
        try:
            network = ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
        return address is not None and address.version == network.version and address in network
    wanted = _address(entry)
    if wanted is None:
        name, colon, number = entry.rpartition(":")
        if colon and number.isdigit():
            if int(number) != port:
                return False
            entry, wanted = name, _address(name)
    if wanted is not None or address is not None:
        return wanted == address
    if entry.startswith("*."):
        entry = entry[1:]
    if entry.startswith("."):
        return host.endswith(entry)
    return host == entry or host.endswith("." + entry)
