"""What a volume of the local driver may be called, and which options it may have."""

import re
from urllib.parse import urlsplit

from compatd.config.values import parse_bytes
from compatd.engine.errors import InvalidParameter

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
_OPTIONS = frozenset({"type", "o", "device", "size"})
_NEEDED = {"device": ("type",), "type": ("device",), "o": ("device", "type")}


def check_name(name: str) -> None:
    """Raise InvalidParameter for a name that could not be a folder's, or is too short."""
    if len(name) == 1:
        raise InvalidParameter(
            "volume name is too short, names should be at least two alphanumeric characters"
        )
    if not _NAME.match(name):
        raise InvalidParameter(
            f'"{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, '
            "use absolute path"
        )


def check_options(options: dict[str, str], *, quotas: bool) -> int:
    """How many bytes the volume may take, 0: any number, by its options (`type`, `device`, `o`, `size`).

    quotas: whether the file system has project quotas. Raises InvalidParameter for what cannot be right.
    """
    size = 0
    for option in options:
        if option not in _OPTIONS:
            raise InvalidParameter(f'invalid option: "{option}"')
    if options.get("type") == "cifs" and options.get("device"):
        _check_cifs(options["device"])
    if "size" in options:
        try:
            size = parse_bytes(options["size"])
        except ValueError as error:
            raise InvalidParameter(str(error)) from None
        if size > 0 and not quotas:
            raise InvalidParameter("quota size requested but no quota support")
    for option, others in _NEEDED.items():
        for other in others:
            if option in options and other not in options:
                raise InvalidParameter(f'missing required option: "{other}"')
    return size


def _check_cifs(device: str) -> None:
    """The port is an option of the mount; in the device's address the kernel would not understand it."""
    try:
        port = urlsplit(device).port
    except ValueError:
        raise InvalidParameter(f"error parsing mount device url: {device}") from None
    if port is not None:
        raise InvalidParameter("port not allowed in CIFS device URL, include 'port' in 'o='")
