"""daemon.json: bytes to checked values, refused in dockerd's words."""

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apispec.gojson import JSONError, loads_slowly
from compatd.config.gotypes import Mismatch, kind_of
from compatd.config.options import BY_FLAG, BY_KEY
from compatd.config.values import VALUES

_FLAT = ("default-network-opts", "log-opts", "runtimes", "default-ulimits", "features", "builder", "nri-opts")
"""Objects that are values; any other one only groups keys (`proxies`)."""

_OURS = ("registries", "access")
_NO_OPTIONS = ("config-file", "validate", "version", "help")
_PROXIES = ("http-proxy", "https-proxy", "no-proxy")


class ConfigError(Exception):
    """The options cannot be used; the text is dockerd's."""


def read(path: str, *, missing_ok: bool) -> dict[str, Any] | None:
    """The file's JSON object, {} of an empty file, None when there is none. Raises ConfigError."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        if missing_ok and isinstance(error, FileNotFoundError):
            return None
        raise ConfigError(f"open {path}: {(error.strerror or '').lower()}") from None
    text = decode(data).strip()
    if not text:
        return {}
    try:
        document = loads_slowly(text.encode())
    except JSONError as error:
        raise ConfigError(f"invalid JSON: {_end(error, text)}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(
            f"invalid JSON: json: cannot unmarshal {kind_of(document)} "
            "into Go value of type map[string]interface {}"
        )
    return document


def _end(error: JSONError, text: str) -> str:
    """Go's decoder of whole texts has other words for two cases than its stream decoder."""
    if error.trailing:
        _, end = json.JSONDecoder().raw_decode(text)
        return f"invalid character {text[end:].lstrip()[:1]!r} after top-level value"
    if error.message in ("EOF", "unexpected EOF"):
        return "unexpected end of JSON input"
    return error.message


def decode(data: bytes) -> str:
    """Text with or without a byte order mark, UTF-8 or UTF-16. Raises ConfigError."""
    encoding = "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"failed to decode configuration JSON at offset {error.start}: encoding: invalid UTF-8"
        ) from None


def parse(document: dict[str, Any], notes: list[str]) -> tuple[Callable[[], dict[str, Any]], dict[str, Any]]:
    """A function that checks the values, and they by key as they stand in the file.

    What is in the wrong place and has no effect goes into `notes`.

    Keys in groups come out of them. Raises ConfigError for keys that are not known.
    """
    raw: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict) and key not in _FLAT and key not in _OURS:
            raw.update(value)
        else:
            raw[key] = value
    unknown = [key for key in raw if key not in BY_KEY and key not in BY_FLAG and key not in _NO_OPTIONS]
    if unknown:
        raise ConfigError(
            f"the following directives don't match any configuration option: {', '.join(unknown)}"
        )
    return lambda: _checked(document, notes), raw


def _checked(document: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for key, value in document.items():
        if key == "proxies" and isinstance(value, dict):
            checked.update({name: _check(name, value[name]) for name in _PROXIES if value.get(name)})
        elif key in _PROXIES:
            notes.append(f'option {key} has no effect outside "proxies" in the configuration file')
        elif key in BY_KEY and value is not None:
            decoded = _check(key, value)
            if decoded or isinstance(decoded, bool) or key == "default-stop-timeout":
                checked[key] = decoded  # an empty value is none, as for dockerd
        elif key not in BY_KEY and key in BY_FLAG:
            right = BY_FLAG[key].key
            notes.append(f"option {key} has no effect in the configuration file: its name there is {right}")
    return checked


def _check(key: str, value: Any) -> Any:
    try:
        return VALUES[BY_KEY[key].kind].check(value)
    except Mismatch as error:
        raise ConfigError(f"invalid JSON: {error.text(key)}") from None
    except ValueError as error:
        raise ConfigError(str(error) if key in _OURS else f"invalid JSON: {error}") from None
