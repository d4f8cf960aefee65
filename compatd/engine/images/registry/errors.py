"""What goes wrong with a registry, in the words that Docker Engine has for it."""

import json
from typing import Any

from compatd.engine.errors import EngineError, NotFound, Unauthorized
from compatd.engine.images.reference import Reference


class RegistryError(EngineError):
    """An error document of the registry. `code` is its first error's (`MANIFEST_UNKNOWN`)."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class UnexpectedResponse(EngineError):
    """An answer that is no registry's."""


class Unreachable(EngineError):
    """No connection, or none that speaks HTTP: another endpoint may be tried."""


def from_response(status: int, body: bytes) -> EngineError:
    """The error that an HTTP answer of 400 and above stands for."""
    text = body.decode("utf-8", "replace")
    try:
        document = json.loads(body)
    except ValueError as error:
        if status == 401:
            return RegistryError("UNAUTHORIZED", f"unauthorized: {text.strip() or 'authentication required'}")
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
