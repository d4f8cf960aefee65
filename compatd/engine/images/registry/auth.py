"""Credentials for a registry: Basic, and Bearer tokens from the token server that it names.

Sources: RFC 7235 (challenges), RFC 6750 (`error` in a challenge), distribution's "Token Authentication
Specification" and its OAuth2 form.
"""

import asyncio
import base64
import json
import time
from collections.abc import Sequence
from typing import Any

from compatd.engine.errors import EngineError
from compatd.engine.images.registry.challenges import challenges
from compatd.engine.images.registry.errors import RegistryError, Unavailable, from_response, pause_of

Credentials = dict[str, str]
"""`username`, `password`, `identitytoken` (a refresh token), `registrytoken` (a bearer one), all optional."""

_SHORTEST = 60
"""Seconds that a token lives at least, and when the server does not say."""
_MARGIN = 5
_MAX_ANSWER = 1 << 20
CLIENT_ID = "docker"


class Authenticator:
    """Makes the Authorization header that a registry asks for.

    `scopes` is what is asked of the token server for every request. `offline` asks for a refresh token too:
    it is in `identity` afterwards ("" when there is none).
    """

    def __init__(self, credentials: Credentials, scopes: Sequence[str], *, offline: bool = False) -> None:
        self._credentials = credentials
        self._scopes = tuple(scopes)
        self._offline = offline
        self._wanted: dict[str, dict[str, str]] = {}
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}
        self._lock = asyncio.Lock()
        self.identity = ""

    def challenge(self, header: str) -> None:
        """Note what the registry asks for: a WWW-Authenticate header of a 401."""
        self._wanted = challenges(header) or self._wanted

    def refused(self, authorization: str) -> None:
        """Forget a token that the registry did not take."""
        for scopes, (token, _) in list(self._tokens.items()):
            if authorization == f"Bearer {token}":
                del self._tokens[scopes]

    async def header(self, http: Any, request: str, extra: Sequence[str] = ()) -> str:
        """The header for a request ("" when nothing was asked for); `request` names it in error texts.

        `extra` scopes are asked for besides. Raises EngineError when there are no credentials to answer
        with, or they are refused.
        """
        if "bearer" in self._wanted:
            given = self._credentials.get("registrytoken")
            if given and not (given.isascii() and given.isprintable()):
                raise EngineError(f'{request}: net/http: invalid header field value for "Authorization"')
            return f"Bearer {given or await self._token(http, request, extra)}"
        if "basic" in self._wanted:
            if not self._credentials.get("username") or not self._credentials.get("password"):
                raise RegistryError("NO_CREDENTIALS", "no basic auth credentials", request)
            return self._basic()
        return ""

    def _basic(self) -> str:
        pair = f"{self._credentials.get('username', '')}:{self._credentials.get('password', '')}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    async def _token(self, http: Any, request: str, extra: Sequence[str]) -> str:
        scopes = tuple(dict.fromkeys((*self._scopes, *extra)))
        async with self._lock:
            token, until = self._tokens.get(scopes, ("", 0.0))
            if time.monotonic() < until:
                return token
            parameters = self._wanted["bearer"]
            realm = parameters.get("realm", "")
            if not realm.startswith(("http://", "https://")):
                raise EngineError(f"{request}: no realm specified for token auth challenge")
            document = await self._ask(http, request, realm, parameters.get("service", ""), scopes)
            found = document.get("access_token") or document.get("token")
            if not isinstance(found, str) or not found or not (found.isascii() and found.isprintable()):
                raise EngineError(f"{request}: authorization server did not include a token in the response")
            refresh = document.get("refresh_token")
            if isinstance(refresh, str) and refresh:
                self.identity = refresh
            lasts = document.get("expires_in")
            seconds = lasts if isinstance(lasts, int) and lasts > _SHORTEST else _SHORTEST
            self._tokens[scopes] = (found, time.monotonic() + seconds - _MARGIN)
            return found

    async def _ask(
        self, http: Any, request: str, realm: str, service: str, scopes: tuple[str, ...]
    ) -> dict[str, Any]:
        """The token server's answer: by its OAuth2 form with a refresh token, else by its older one."""
        refresh = self._credentials.get("identitytoken")
        if refresh:
            self.identity = refresh
            grant = {"grant_type": "refresh_token", "refresh_token": refresh}
            return await self._post(http, request, realm, service, scopes, grant)
        has_pair = self._credentials.get("username") and self._credentials.get("password")
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        headers = {}
        if self._offline:
            query += [("offline_token", "true"), ("client_id", CLIENT_ID)]
        if has_pair:
            query.append(("account", self._credentials["username"]))
            headers["Authorization"] = self._basic()
        async with http.token_request("GET", realm, headers=headers, query=query) as response:
            if response.status not in (404, 405) or not has_pair:
                return await _document(response, request)
        grant = {
            "grant_type": "password", "username": self._credentials["username"],
            "password": self._credentials["password"],
        }  # fmt: skip
        if self._offline:
            grant["access_type"] = "offline"
        return await self._post(http, request, realm, service, scopes, grant)

    async def _post(
        self,
        http: Any,
        request: str,
        realm: str,
        service: str,
        scopes: tuple[str, ...],
        grant: dict[str, str],
    ) -> dict[str, Any]:
        form = {**grant, "service": service, "client_id": CLIENT_ID, "scope": " ".join(scopes)}
        async with http.token_request("POST", realm, form=form) as response:
            return await _document(response, request)


async def _document(response: Any, request: str) -> dict[str, Any]:
    body = await response.content.read(_MAX_ANSWER)
    while len(body) < _MAX_ANSWER and (more := await response.content.read(_MAX_ANSWER - len(body))):
        body += more
    if response.status >= 400:
        retry_after = response.headers.get("Retry-After", "")
        error = from_response(response.status, body, reason=response.reason, retry_after=retry_after)
        if isinstance(error, RegistryError):
            named: EngineError = RegistryError(error.code, error.text, request)
        else:
            named = type(error)(f"{request}: {error.message}")
        if isinstance(named, RegistryError | Unavailable):
            named.wait = pause_of(error)
        raise named
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise EngineError(f"{request}: unable to decode token response")
    return document
