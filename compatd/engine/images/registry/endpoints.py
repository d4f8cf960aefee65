"""Where a registry's requests go: mirrors, TLS, and plain HTTP for those registries that may."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compatd.engine.errors import EngineError
from compatd.engine.images.reference import DEFAULT_DOMAIN

HUB = "https://registry-1.docker.io"
CERTIFICATES = Path("/etc/docker/certs.d")
_LOOPBACK = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A base URL. `mirror`: any failure leads on to the next; `insecure`: its certificate is not checked."""

    url: str
    mirror: bool = False
    insecure: bool = False

    @property
    def host(self) -> str:
        """Host and port as written."""
        return self.url.split("://", 1)[1].split("/", 1)[0]

    @property
    def secure_transport(self) -> bool:
        """Whether it is https."""
        return self.url.startswith("https://")

    def tls(self) -> Any:
        """What aiohttp takes as `ssl`; certificates of the registry as in /etc/docker/certs.d/<host>."""
        if not self.secure_transport:
            return True
        context = ssl.create_default_context()
        folder = CERTIFICATES / self.host
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if path.suffix == ".crt":
                    context.load_verify_locations(path)
                elif path.suffix == ".cert":
                    key = path.with_suffix(".key")
                    if not key.exists():
                        raise EngineError(
                            f"missing key {key.name} for client certificate {path.name}. "
                            "CA certificates must use the extension .crt"
                        )
                    context.load_cert_chain(path, key)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


async def _addresses(host: str) -> list[str]:
    try:
        return [str(ipaddress.ip_address(host.strip("[]")))]
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(item[4][0]) for item in found]


async def is_insecure(domain: str, insecure: Sequence[str]) -> bool:
    """Whether the registry is one of the insecure ones: named so, or with an address in such a network."""
    if domain in insecure:
        return True
    networks = [ipaddress.ip_network(text) for text in _LOOPBACK]
    for text in insecure:
        try:
            networks.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            continue
    host = domain if domain.endswith("]") else domain.rpartition(":")[0] or domain
    for text in await _addresses(host):
        address = ipaddress.ip_address(text.partition("%")[0])
        if any(address.version == network.version and address in network for network in networks):
            return True
    return False


async def endpoints(domain: str, insecure: Sequence[str], mirrors: Sequence[str]) -> list[Endpoint]:
    """Endpoints to try, in order."""
    if domain == DEFAULT_DOMAIN:
        found = []
        for mirror in mirrors:
            url = mirror if mirror.startswith(("http://", "https://")) else f"https://{mirror}"
            found.append(Endpoint(url.rstrip("/"), True, await is_insecure(Endpoint(url).host, insecure)))
        return [*found, Endpoint(HUB)]
    if await is_insecure(domain, insecure):
        return [Endpoint(f"https://{domain}", insecure=True), Endpoint(f"http://{domain}", insecure=True)]
    return [Endpoint(f"https://{domain}")]
