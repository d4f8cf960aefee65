"""Which of the client's secrets open a git repository or a URL.

Source: moby/buildkit source/git, source/http.
"""

import base64
from typing import Any
from urllib.parse import urlsplit

from compatd.engine.errors import NotFound


async def _first(secrets: Any, names: list[tuple[str, str]]) -> str:
    """The first secret of these, behind the scheme that belongs to its name ("": it has one itself)."""
    for name, scheme in names:
        try:
            found = (await secrets.get(name)).decode().strip()
        except (NotFound, UnicodeDecodeError):
            continue
        if "\n" in found or "\r" in found:
            continue  # it would be more than one header
        if scheme == "basic":
            found = base64.b64encode(f"x-access-token:{found}".encode()).decode()
        return f"{scheme} {found}".strip()
    return ""


async def for_git(secrets: Any, remote: str) -> str:
    """The Authorization header for a repository, or "". `secrets` (`request.Secrets`) may be None."""
    if secrets is None or not remote.startswith(("http://", "https://")):
        return ""
    host = urlsplit(remote).netloc
    header, token = "GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"
    names = [(f"{header}.{host}", ""), (f"{token}.{host}", "basic"), (header, ""), (token, "basic")]
    return await _first(secrets, names)


async def for_url(secrets: Any, url: str) -> dict[str, str]:
    """The headers for a URL."""
    if secrets is None:
        return {}
    host = urlsplit(url).hostname or ""
    found = await _first(secrets, [(f"HTTP_AUTH_HEADER_{host}", ""), (f"HTTP_AUTH_TOKEN_{host}", "Bearer")])
    return {"Authorization": found} if found else {}
