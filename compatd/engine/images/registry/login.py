"""`POST /auth`: whether a registry takes a user's credentials."""

from typing import Any
from urllib.parse import urlsplit

from compatd.engine.errors import EngineError, InvalidParameter, Unauthorized
from compatd.engine.images.reference import DEFAULT_DOMAIN
from compatd.engine.images.registry.auth import Authenticator
from compatd.engine.images.registry.endpoints import endpoints
from compatd.engine.images.registry.errors import RegistryError
from compatd.engine.images.registry.http import Http

_HUB_HOSTS = ("", "docker.io", "index.docker.io")


async def login(config: Any, credentials: dict[str, str]) -> str:
    """Try a registry with `credentials` (API: AuthConfig); the identity token that it gives, or "".

    Mirrors are not told a registry's passwords. Raises Unauthorized when they are refused, InvalidParameter
    for a bad address, and EngineError when the registry cannot be asked.
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
    for endpoint in await endpoints(domain, config, mirrors=False):
        url = f"{endpoint.url}/v2/"
        auth, given = Authenticator(credentials, (), offline=True), ""
        try:
            async with Http(endpoint, auth) as http:
                await http.ping()
                given = await auth.header(http, f'Get "{url}"')  # a token server refuses here
                async with http.request("GET", url):
                    return auth.identity
        except RegistryError as error:
            if error.code not in ("UNAUTHORIZED", "DENIED"):
                last = error
            elif given.startswith("Basic "):
                raise Unauthorized(f"login attempt to {url} failed with status: 401 Unauthorized") from error
            else:
                raise Unauthorized(error.message) from error
        except EngineError as error:
            last = error
    raise last
