"""`docker search`: the Hub's index, or the one of a registry that still speaks version 1 of the protocol.

Source: Docker Registry v1 API, "Search".
"""

import json
from typing import Any
from urllib.parse import quote_plus

from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.images.reference import DEFAULT_DOMAIN, LEGACY_DOMAIN, OFFICIAL
from compatd.engine.images.registry.auth import Authenticator, Credentials
from compatd.engine.images.registry.endpoints import Endpoint, is_insecure
from compatd.engine.images.registry.errors import RegistryError
from compatd.engine.images.registry.http import Http

Json = dict[str, Any]

INDEX = "https://index.docker.io"
_LIMIT, _MOST = 25, 100
_MAX_ANSWER = 4 << 20
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


async def search(
    term: str, limit: int, filters: dict[str, list[str]], config: Any, auth: Credentials
) -> list[Json]:
    """registry.SearchResult objects. Raises InvalidParameter, EngineError."""
    official = _flag(filters, "is-official")
    if _flag(filters, "is-automated"):
        return []  # no image is marked so any more
    stars = _stars(filters.get("stars", []))
    if limit < 0 or limit > _MOST:
        raise InvalidParameter(f"limit {limit} is outside the range of [1, {_MOST}]")
    if "://" in term:
        raise InvalidParameter(f"invalid repository name: repository name ({term}) should not have a scheme")
    domain, name = _split(term)
    query = f"/v1/search?q={quote_plus(name)}&n={limit or _LIMIT}"
    document = await _ask(domain, query, config, auth)
    found = document.get("results") if isinstance(document, dict) else None
    shown = [_shown(item) for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    return [item for item in shown if item["star_count"] >= stars and official in (None, item["is_official"])]


def _split(term: str) -> tuple[str, str]:
    first, slash, rest = term.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        if first not in (DEFAULT_DOMAIN, LEGACY_DOMAIN):
            return first, rest
        term = rest
    return DEFAULT_DOMAIN, term.removeprefix(OFFICIAL)


def _flag(filters: dict[str, list[str]], name: str) -> bool | None:
    values = filters.get(name)
    if not values:
        return None
    if len(values) > 1 or values[0] not in (*_TRUE, *_FALSE):
        raise InvalidParameter(f"invalid filter '{name}=[{' '.join(values)}]'")
    return values[0] in _TRUE


def _stars(values: list[str]) -> int:
    most = 0
    for value in values:
        try:
            most = max(most, int(value))
        except ValueError:
            raise InvalidParameter(f"invalid filter 'stars={value}'") from None
    return most


async def _ask(domain: str, query: str, config: Any, auth: Credentials) -> Any:
    if domain == DEFAULT_DOMAIN:
        return await _search(Endpoint(INDEX), query, auth)
    insecure = await is_insecure(domain, config.insecure_registries)
    endpoint = Endpoint(f"https://{domain}", insecure=insecure)
    try:
        await _ping(endpoint)
    except EngineError as error:
        if not insecure:
            raise InvalidParameter(
                f"invalid registry endpoint {endpoint.url}/v1/: {error.message}. If this private registry "
                f"supports only HTTP or HTTPS with an unknown CA certificate, add `--insecure-registry "
                f"{domain}` to the daemon's arguments. In the case of HTTPS, if you have access to the "
                "registry's CA certificate, no need for the flag; place the CA certificate at "
                f"/etc/docker/certs.d/{domain}/ca.crt"
            ) from error
        endpoint = Endpoint(f"http://{domain}", insecure=True)
        try:
            await _ping(endpoint)
        except EngineError as plain:
            raise InvalidParameter(
                f'invalid registry endpoint "{endpoint.url}/v1/". HTTPS attempt: {error.message}. '
                f"HTTP attempt: {plain.message}"
            ) from plain
    return await _search(endpoint, query, auth)


async def _ping(endpoint: Endpoint) -> None:
    """Whether somebody speaks HTTP there, whatever is answered. Raises EngineError."""
    async with (
        Http(endpoint, Authenticator({}, ())) as http,
        http.request("GET", f"{endpoint.url}/v1/_ping", answers=True),
    ):
        return


async def _search(endpoint: Endpoint, query: str, auth: Credentials) -> Any:
    authenticator = Authenticator(auth, ["registry:catalog:search"])
    if auth.get("username") and auth.get("password") and endpoint.secure_transport:
        authenticator.challenge('Basic realm="v1"')
    async with Http(endpoint, authenticator) as http:
        try:
            async with http.request("GET", endpoint.url + query, answers=True) as response:
                if response.status != 200:
                    raise EngineError(f"unexpected status code {response.status}")
                body = b""
                while len(body) < _MAX_ANSWER and (more := await response.content.read(1 << 16)):
                    body += more
        except RegistryError as error:
            raise EngineError(error.message) from error
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise EngineError(f"error decoding registry search results: {error}") from None


def _shown(item: Json) -> Json:
    stars = item.get("star_count")
    return {
        "star_count": stars if isinstance(stars, int) else 0,
        "is_official": item.get("is_official") is True,
        "name": str(item.get("name") or ""),
        "is_automated": False,
        "description": str(item.get("description") or ""),
    }
