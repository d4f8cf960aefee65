"""Credentials for a registry: Basic, and Bearer tokens from the token server that it names.

Sources: RFC 7235 (challenges), distribution's "Token Authentication Specification" and its OAuth2 form.
"""

import base64
import json
import re
from typing import Any

from compatd.engine.errors import EngineError
from compatd.engine.images.registry.errors import from_response

Credentials = dict[str, str]

_CHALLENGE = re.compile(
    r'\s*([A-Za-z][A-Za-z0-9_-]*)\s+((?:[A-Za-z_]+=(?:"(?:[^"\\]|\\.)*"|[^\s,]+)\s*,?\s*)*)'
)
_PARAMETER = re.compile(r'([A-Za-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
CLIENT_ID = "docker"


def challenges(header: str) -> dict[str, dict[str, str]]:
    """`Bearer realm="…",service="…"` → {"bearer": {"realm": …, "service": …}}."""
    found: dict[str, dict[str, str]] = {}
    for match in _CHALLENGE.finditer(header):
        parameters = {
            name.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain
            for name, quoted, plain in _PARAMETER.findall(match[2])
        }
        found[match[1].lower()] = parameters
    return found


class Authenticator:
    """Makes the Authorization header that a registry asks for; without a repository for no scope."""

    def __init__(self, credentials: Credentials, repository: str) -> None:
        self._credentials = credentials
        self._scope = f"repository:{repository}:pull" if repository else ""
        self.header = f"Bearer {credentials['registrytoken']}" if credentials.get("registrytoken") else ""

    async def answer(self, session: Any, challenge: str, request: str) -> None:
        """Set `header` by the challenge; `request` is the request's name for error texts.

        Raises EngineError when there are no credentials to answer with, or they are refused.
        """
        wanted = challenges(challenge)
        if "bearer" in wanted:
            self.header = "Bearer " + await self._token(session, wanted["bearer"])
        elif "basic" in wanted:
            if not self._credentials.get("username"):
                raise EngineError(f"{request}: no basic auth credentials")
            self.header = self._basic()

    def _basic(self) -> str:
        pair = f"{self._credentials.get('username', '')}:{self._credentials.get('password', '')}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    async def _token(self, session: Any, parameters: dict[str, str]) -> str:
        realm, service = parameters.get("realm", ""), parameters.get("service", "")
        if not realm.startswith(("http://", "https://")):
            raise EngineError("no token in response")
        scope = {"scope": self._scope} if self._scope else {}
        refresh = self._credentials.get("identitytoken")
        if refresh:
            form = {
                "grant_type": "refresh_token", "refresh_token": refresh, "service": service,
                "client_id": CLIENT_ID, **scope,
            }  # fmt: skip
            response = await session.post(realm, data=form)
        else:
            headers = {}
            query = {"service": service, **scope}
            if self._credentials.get("username"):
                headers["Authorization"] = self._basic()
                query |= {"account": self._credentials["username"], "client_id": CLIENT_ID}
            response = await session.get(realm, params=query, headers=headers)
        async with response:
            body = await response.content.read(1 << 20)
            if response.status >= 400:
                raise from_response(response.status, body)
        try:
            document = json.loads(body)
            token = document.get("token") or document.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str) or not token.isprintable():
            raise EngineError("authorization server did not include a token in the response")
        return token
