"""The ports that EXPOSE means. Texts of errors: moby/buildkit dockerfile2llb."""

import ipaddress
import re

from compatd.engine.builder.dockerfile import lint
from compatd.engine.builder.dockerfile.errors import DockerfileError, Lines
from compatd.engine.builder.dockerfile.text import quote

MAX_PORTS = 3 * 65536  # all there are


def exposed(words: list[str], linter: lint.Linter, lines: Lines) -> list[str]:
    """`80`, `8000-8002/udp`, `ip:host:80` → `80/tcp`, `8000/udp` … Raises DockerfileError."""
    found: list[str] = []
    for word in words:
        found += _ports(word, linter, lines)
        if len(found) > MAX_PORTS:
            raise DockerfileError(f"EXPOSE of more than {MAX_PORTS} ports")
    return found


def _ports(word: str, linter: lint.Linter, lines: Lines) -> list[str]:
    *address, container = word.split(":")
    host = address.pop() if address else ""
    ip = ":".join(address)
    ports, _, protocol = container.partition("/")
    if not ports:
        raise DockerfileError(f"invalid port: {quote(word)}: no port specified")
    if protocol.lower() not in ("", "tcp", "udp", "sctp"):
        raise DockerfileError(f"invalid port: {quote(word)}: invalid proto: {protocol}")
    if protocol != protocol.lower():
        linter.warn("ExposeProtoCasing", lines, word)
    if ip or host:
        linter.warn("ExposeInvalidFormat", lines, word)
    if ip:
        _check_address(ip)
    found = _range(ports)
    if not found:
        raise DockerfileError(f"invalid containerPort: {ports}")
    if host:
        hosts = _range(host)
        if not hosts:
            raise DockerfileError(f"invalid hostPort: {host}")
        if len(hosts) != len(found) > 1:
            raise DockerfileError(
                f"invalid ranges specified for container and host Ports: {ports} and {host}"
            )
    return [f"{port}/{protocol.lower() or 'tcp'}" for port in found]


def _check_address(text: str) -> None:
    plain = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        ipaddress.ip_address(plain)
    except ValueError:
        raise DockerfileError(f"invalid IP address: {plain}") from None


def _range(text: str) -> range:
    """Empty for what is no port or range of ports."""
    first, dash, last = text.partition("-")
    if not re.fullmatch(r"[0-9]{1,9}", first) or (dash and not re.fullmatch(r"[0-9]{1,9}", last)):
        return range(0)
    begin, end = int(first), int(last or first)
    return range(begin, end + 1) if begin <= end <= 65535 else range(0)
