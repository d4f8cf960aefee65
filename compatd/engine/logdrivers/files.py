"""The drivers that write files: `json-file` and `local`."""

from pathlib import Path
from typing import Any

from compatd.engine.logdrivers.info import COMMON, Info
from compatd.engine.logdrivers.values import LogOptionError, parse_bool, parse_int, parse_size

Json = dict[str, Any]

FILE_OPTIONS = frozenset({"max-size", "max-file", "compress"})
_MEBI = 20 * 1024 * 1024


def check_json_file(options: dict[str, str]) -> None:
    """Names only: values are looked at when a container starts. Raises LogOptionError."""
    for name in sorted(options):
        if name not in COMMON | FILE_OPTIONS:
            raise LogOptionError(f"unknown log opt '{name}' for json-file log driver")


def prepare_json_file(info: Info, path: Path) -> Json:
    """shim.json's "log". Raises LogOptionError."""
    options = info.options
    max_size, max_file, compress = -1, 1, False
    if "max-size" in options:
        max_size = parse_size(options["max-size"])
        if max_size <= 0:
            raise LogOptionError("max-size must be a positive number")
    if "max-file" in options:
        max_file = parse_int(options["max-file"])
        if max_file < 1:
            raise LogOptionError("max-file cannot be less than 1")
    if "compress" in options:
        compress = parse_bool(options["compress"])
        if compress and (max_file == 1 or max_size == -1):
            raise LogOptionError(
                "compress cannot be true when max-file is less than 2 or max-size is not set"
            )
    return {
        "driver": "json-file",
        "path": str(path),
        "max_size": max_size,
        "max_file": max_file,
        "compress": compress,
        "attrs": info.attributes_with_tag(),
    }


def check_local(options: dict[str, str]) -> None:
    """Raises LogOptionError."""
    for name in sorted(options):
        if name not in COMMON | FILE_OPTIONS:
            raise LogOptionError(f"unknown log opt '{name}' for log driver local")


def prepare_local(info: Info, path: Path, prefix: str = "") -> Json:
    """shim.json's "log", or its "cache" from the options with a prefix. Raises LogOptionError."""
    options = {name: info.options[prefix + name] for name in FILE_OPTIONS if prefix + name in info.options}
    max_size, max_file, compress = _MEBI, 5, True
    if "max-size" in options:
        try:
            max_size = parse_size(options["max-size"])
        except LogOptionError as error:
            raise LogOptionError(f"invalid value for max-size: {options['max-size']}: {error}") from None
    if "max-file" in options:
        try:
            max_file = parse_int(options["max-file"])
        except LogOptionError as error:
            raise LogOptionError(f"invalid value for max-file: {options['max-file']}: {error}") from None
    if "compress" in options:
        try:
            compress = parse_bool(options["compress"])
        except LogOptionError as error:
            raise LogOptionError(f"invalid boolean value for compress: {error}") from None
    if max_file < 0:
        raise LogOptionError("max-file must not be negative")
    if compress and max_file <= 1:
        raise LogOptionError("compression cannot be enabled when max file count is 1")
    return {
        "driver": "local",
        "path": str(path),
        "max_size": max_size,
        "max_file": max(max_file, 1),
        "compress": compress,
        "attrs": info.attributes_with_tag(),
    }
