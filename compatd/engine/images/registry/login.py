"""`POST /auth`: whether a registry takes a user's credentials."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from compatd.engine.errors import EngineError, InvalidParameter, Unauthorized
from compatd.engine.images.reference import DEFAULT_DOMAIN
from compatd.engine.images.registry.client import Repository
from compatd.engine.images.registry.endpoints import endpoints
from compatd.engine.images.registry.errors import RegistryError

_HUB_HOSTS = ("", "docker.io", "index.docker.io")


async def login(config: Any, credentials: dict[str, str]) -> None:
    """Try a registry with `credentials` (API: AuthConfig). Mirrors are not told a registry's passwords.

    Raises Unauthorized when they are refused, InvalidParameter for a bad address, and EngineError when the
    registry cannot be asked.
    """
    address = credentials.get("serveraddress") or ""
    if address and not address.startswith(("https://", "http://")):
        address = f"https://{address}"
    try:
        host = urlsplit(address).netloc
    except ValueError as error:
        raise InvalidParameter(f"unable to parse server address: {error}") from None
    last = EngineError(f"no endpoints found for {host}")
    domain = DEFAULT_DOMAIN if host in _HUB_HOSTS else host
    for endpoint in await endpoints(domain, config.insecure_registries, ()):
        try:
            async with Repository(endpoint, "", credentials) as registry:
                await registry.ping()
                status = await registry.status()
        except RegistryError as error:
            if error.code in ("UNAUTHORIZED", "DENIED"):
                raise Unauthorized(error.message) from error
            last = error
        except EngineError as error:
            last = error
        else:
            if status == HTTPStatus.OK:
                return
            reason = f"{status} {HTTPStatus(status).phrase}"
            last = EngineError(f"login attempt to {endpoint.url}/v2/ failed with status: {reason}")
    raise last
