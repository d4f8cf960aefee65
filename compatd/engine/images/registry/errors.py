"""What goes wrong with a registry, in the words that Docker Engine has for it."""

import json
from typing import Any

from compatd.engine.errors import EngineError, NotFound, Unauthorized
from compatd.engine.images.reference import Reference
from compatd.engine.images.registry import backoff
from compatd.engine.images.registry.challenges import challenges


class RegistryError(EngineError):
    """An error document of the registry. `code` is its first error's (`MANIFEST_UNKNOWN`).

    `text` is the message without the request that it may name; `wait` is how many seconds the registry wants
    to be left alone, when it says so.
    """

    wait: float | None = None

    def __init__(self, code: str, text: str, request: str = "") -> None:
        super().__init__(f"{request}: {text}" if request else text)
        self.code = code
        self.text = text


_FINAL = ("UNAUTHORIZED", "UNSUPPORTED", "DENIED", "NAME_UNKNOWN", "BLOB_UNKNOWN", "NO_CREDENTIALS")
_BUSY = "TOOMANYREQUESTS"


def is_final(error: EngineError) -> bool:
    """Whether trying a transfer again is of no use."""
    if isinstance(error, RegistryError) and error.code != _BUSY:
        return error.code in _FINAL
    return not is_busy(error)


def is_busy(error: EngineError) -> bool:
    """Whether the registry cannot answer now (429, 5xx), but may after a pause that can be waited for."""
    if (isinstance(error, RegistryError) and error.code == _BUSY) or isinstance(error, Unavailable):
        return error.wait is None or error.wait <= backoff.LONGEST
    return False


def pause_of(error: EngineError) -> float | None:
    """The pause that the registry wants (seconds); None when it does not say."""
    return error.wait if isinstance(error, RegistryError | Unavailable) else None


class UnexpectedResponse(EngineError):
    """An answer that is no registry's."""


class Unavailable(EngineError):
    """The registry cannot answer now (5xx): it may later. `wait` as of a RegistryError."""

    wait: float | None = None


class Unreachable(EngineError):
    """No connection, or none that speaks HTTP: another endpoint may be tried."""


def from_response(status: int, body: bytes, *, reason: str | None = "", retry_after: str = "") -> EngineError:
    """The error that an HTTP answer of 400 and above stands for."""
    error = _from_body(status, body, reason or "")
    if isinstance(error, RegistryError | Unavailable):
        error.wait = backoff.wanted(retry_after)
    return error


def _from_body(status: int, body: bytes, reason: str) -> EngineError:
    if status >= 500:
        return Unavailable(f"received unexpected HTTP status: {status} {reason}".rstrip())
    text = body.decode("utf-8", "replace")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        if status == 401:
            return RegistryError("UNAUTHORIZED", f"unauthorized: {text.strip() or 'authentication required'}")
        if status == 429:
            return RegistryError(_BUSY, f"toomanyrequests: {text.strip()[:1000] or 'too many requests'}")
        if not text:
            return UnexpectedResponse(
                f'error parsing HTTP {status} response body: unexpected end of JSON input: ""'
            )
        first = text.lstrip()[:1]
        why = (
            f"invalid character '{first}' looking for beginning of value"
            if first not in '{["'
            else str(error)
        )
        return UnexpectedResponse(
            f"error parsing HTTP {status} response body: {why}: {json.dumps(text[:1000])}"
        )
    errors: Any = document.get("errors") if isinstance(document, dict) else None
    found = [item for item in errors if isinstance(item, dict)] if isinstance(errors, list) else []
    if not found:
        details = document.get("details") if isinstance(document, dict) else None
        if details and status == 401:
            return RegistryError("UNAUTHORIZED", f"unauthorized: {details}")
        return UnexpectedResponse(
            f"error parsing HTTP {status} response body: no error details found in HTTP response body: "
            f"{json.dumps(text[:1000])}"
        )
    texts = []
    for item in found:
        code = str(item.get("code") or "UNKNOWN")
        message = item.get("message") or code.lower().replace("_", " ")
        texts.append(f"{code.lower().replace('_', ' ')}: {message}")
    text = texts[0] if len(texts) == 1 else "errors:\n" + "\n".join(texts) + "\n"
    return RegistryError(str(found[0].get("code") or "UNKNOWN"), text)


def from_scope(challenge: str, error: EngineError) -> EngineError:
    """`error`, unless the answer's WWW-Authenticate says more precisely what is wrong (RFC 6750, 3.1)."""
    wanted = challenges(challenge).get("bearer", {})
    known = {
        "invalid_token": ("UNAUTHORIZED", "unauthorized: ", "authentication required"),
        "insufficient_scope": ("DENIED", "denied: ", "requested access to the resource is denied"),
    }.get(wanted.get("error", ""))
    if known is None:
        return error
    code, kind, text = known
    return RegistryError(code, kind + (wanted.get("error_description") or text))


def translated(error: EngineError, wanted: Reference) -> EngineError:
    """The error of a whole pull out of one of a request."""
    if not isinstance(error, RegistryError):
        return error
    text = error.message
    if error.code == "DENIED":
        return NotFound(
            f"pull access denied for {wanted.familiar_name}, repository does not exist or may require "
            f"'docker login': {text}"
        )
    if error.code == "MANIFEST_UNKNOWN":
        return NotFound(f"manifest for {wanted.familiar} not found: {text}")
    if error.code == "NAME_UNKNOWN":
        return NotFound(f"repository {wanted.familiar_name} not found: {text}")
    if error.code == "UNAUTHORIZED":
        return Unauthorized(text)
    return error
