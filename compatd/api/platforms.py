"""Platforms as parameters: JSON texts of the OCI image spec's `platform`, as newer operations take them."""

import json
from typing import Any

from compatd.engine.errors import InvalidParameter
from compatd.engine.images.platform import Platform, normalise
from compatd.http import Call

_SEVERAL_SINCE = "1.52"


def decode(text: str) -> Platform:
    """One platform. Raises InvalidParameter with Docker's texts."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"failed to parse platform: {error}") from None
    if not isinstance(value, dict):
        raise InvalidParameter(
            "failed to parse platform: json: cannot unmarshal into Go value of type v1.Platform"
        )
    fields = {str(name).lower(): field for name, field in value.items() if field is not None}
    os_name, architecture = _text(fields, "os"), _text(fields, "architecture")
    variant = _text(fields, "variant")
    further = variant or fields.get("os.version") or fields.get("os.features")
    if further and not os_name and not architecture:
        raise InvalidParameter("optional platform fields provided, but OS and Architecture are missing")
    if not os_name or not architecture:
        raise InvalidParameter("both OS and Architecture must be provided")
    return normalise(os_name, architecture, variant)


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise InvalidParameter(
            "failed to parse platform: json: cannot unmarshal into Go struct field "
            f"Platform.{name} of type string"
        )
    return value


def optional(text: str | None) -> Platform | None:
    """The platform of a parameter that may be left out. Raises InvalidParameter."""
    return decode(text) if text else None


def one_of_archive(call: Call) -> Platform | None:
    """The `platform` of save and load: a list in the API, of which this kind of image store takes one.

    Raises InvalidParameter.
    """
    texts = call.query.get("platform") or []
    if len(texts) > 1 and call.version < _SEVERAL_SINCE:
        raise InvalidParameter(
            "multiple platform parameters are not supported in this API version; "
            f"use API version {_SEVERAL_SINCE} or later"
        )
    found = [decode(text) for text in texts]
    if len(found) > 1:
        raise InvalidParameter(
            "multiple platforms not supported for this image store; "
            "use a multi-platform image store such as containerd-snapshotter"
        )
    return found[0] if found else None


def one_to_delete(call: Call) -> Platform | None:
    """The `platforms` of a removal. Raises InvalidParameter."""
    found = [decode(text) for text in call.query.get("platforms") or []]
    if len(found) > 1:
        raise InvalidParameter("multiple platforms are not supported")
    return found[0] if found else None
