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
    """A base URL.

    `mirror`: any failure leads on to the next; `insecure`: its certificate is not checked; `anonymous`: it
    gets no credentials, for they are another registry's.
    """

    url: str
    mirror: bool = False
    insecure: bool = False
    anonymous: bool = False

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
        try:
            _load(context, sorted(folder.iterdir()) if folder.is_dir() else [])
        except OSError as error:  # ssl.SSLError is one
            raise EngineError(f"certificates in {folder}: {error}") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _load(context: ssl.SSLContext, paths: list[Path]) -> None:
    names = {path.name for path in paths}
    for path in paths:
        if path.suffix == ".crt":
            context.load_verify_locations(path)
        elif path.suffix == ".cert":
            key = path.with_suffix(".key")
            if key.name not in names:
                raise EngineError(
                    f"missing key {key.name} for client certificate {path.name}. "
                    "CA certificates must use the extension .crt"
                )
            context.load_cert_chain(path, key)
        elif path.suffix == ".key" and path.with_suffix(".cert").name not in names:
            raise EngineError(
                f"missing client certificate {path.with_suffix('.cert').name} for key {path.name}"
            )


class Trusting:
    """The daemon's configuration with one more insecure registry: for a caller who says so."""

    def __init__(self, config: Any, domain: str) -> None:
        self._config = config
        self.insecure_registries = [*config.insecure_registries, domain]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


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
    insecure = [text.partition("://")[2] or text for text in insecure]
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


async def endpoints(domain: str, config: Any, *, mirrors: bool = True) -> list[Endpoint]:
    """Endpoints to try, in order: with `mirrors`, those first. `config` is the daemon's."""
    insecure = config.insecure_registries
    found = []
    if mirrors:
        named = config.registries.get(domain, {}).get("mirrors") or []
        # Whose credentials are for the Hub has given them for its mirrors too, as in Docker
        urls = [(url, True) for url in named]
        urls += [(url, False) for url in config.registry_mirrors if domain == DEFAULT_DOMAIN]
        for text, anonymous in urls:
            url = text if text.startswith(("http://", "https://")) else f"https://{text}"
            host = Endpoint(url).host
            found.append(Endpoint(url.rstrip("/"), True, await is_insecure(host, insecure), anonymous))
    if domain == DEFAULT_DOMAIN:
        return [*found, Endpoint(HUB)]
    risky = await is_insecure(domain, insecure)
    found.append(Endpoint(f"https://{domain}", insecure=risky))
    if risky:
        found.append(Endpoint(f"http://{domain}", insecure=True))
    return found
