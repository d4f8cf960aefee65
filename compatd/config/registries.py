"""Options about registries: mirrors, and those that may be asked without TLS."""

import ipaddress
from typing import Any
from urllib.parse import urlsplit


def check_mirror(url: str) -> str:
    """A mirror's URL as dockerd takes it. Raises ValueError with its text."""
    scheme, colon, _ = url.partition("://")
    if not colon or not scheme:
        raise ValueError(
            f"invalid mirror: no scheme specified for \"{url}\": must use either 'https://' or 'http://'"
        )
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:
            raise ValueError
    except ValueError:
        raise ValueError(f'invalid mirror: "{url}" is not a valid URI') from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(
            f'invalid mirror: unsupported scheme "{parts.scheme}" in "{url}": '
            "must use either 'https://' or 'http://'"
        )
    if parts.query or parts.fragment:
        raise ValueError(f'invalid mirror: query or fragment at end of the URI "{url}"')
    if parts.username or parts.password:
        raise ValueError("invalid mirror: username/password not allowed in URI")
    return url


def check_index(name: str) -> str:
    """A registry's name, or a network of registries. Raises ValueError with dockerd's text."""
    if name in ("index.docker.io", "registry-1.docker.io"):
        return "docker.io"
    if name.startswith("-") or name.endswith("-"):
        raise ValueError(f"invalid index name ({name}). Cannot begin or end with a hyphen")
    return name


def check_insecure(name: str) -> None:
    """What is checked of an insecure registry only when all is put together. Raises ValueError."""
    rest = name.removeprefix("http://").removeprefix("https://")
    if "://" in rest:
        raise ValueError(f"insecure registry {name} should not contain '://'")
    try:
        ipaddress.ip_network(rest, strict=False)
        return
    except ValueError:
        pass
    host, colon, port = rest.rpartition(":")
    if colon and not rest.endswith("]"):
        if not host:
            raise ValueError(f'insecure registry {name} is not valid: invalid host "{host}"')
        if not port.isdigit() or int(port) > 65535:
            raise ValueError(f'insecure registry {name} is not valid: invalid port "{port}"')


def parse_registry(text: str, before: dict[str, Any] | None) -> dict[str, Any]:
    """`--registry HOST=URL,…`: our own flag for mirrors of any registry."""
    host, equals, urls = text.partition("=")
    if not host or not equals or not urls:
        raise ValueError(f"invalid registry, must be host=mirror,…: {text}")
    return {**(before or {}), host: {"mirrors": [check_mirror(url) for url in urls.split(",")]}}


def check_registries(value: Any) -> dict[str, Any]:
    """The daemon.json form of the same. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("registries: an object of registries' host names is needed")
    for host, settings in value.items():
        unknown = set(settings) - {"mirrors"} if isinstance(settings, dict) else {"?"}
        if unknown:
            raise ValueError(f'registries: {host}: an object with "mirrors" is needed')
        mirrors = settings.get("mirrors", [])
        if not isinstance(mirrors, list) or not all(isinstance(url, str) for url in mirrors):
            raise ValueError(f'registries: {host}: "mirrors" is a list of addresses')
        try:
            for url in mirrors:
                check_mirror(url)
        except ValueError as error:
            raise ValueError(f"registries: {error}") from None
    return value
