"""SIGHUP: what dockerd takes from a changed daemon.json while it runs, and what it tells about it."""

import json
from collections.abc import Callable
from typing import Any

from compatd.config.config import SECRET, Config, mask, merge
from compatd.config.document import ConfigError, read
from compatd.config.options import OPTIONS
from compatd.config.registries import check_insecure
from compatd.config.validate import check_runtimes, conflict_free_labels, validate
from compatd.config.values import plain

_WHEN_SET = (
    "debug",
    "labels",
    "live-restore",
    "insecure-registries",
    "registry-mirrors",
    "shutdown-timeout",
    "default-shm-size",
    "runtimes",
)
"""Only what the file says changes these; what was in force stays otherwise."""

_WHEN_NOT_EMPTY = ("default-runtime", "default-cgroupns-mode", "default-ipc-mode")
_ALWAYS = (
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "features",
    "access",
)
"""What the file does not name goes back to its default."""

_DEFAULTS = {option.key: option.default for option in OPTIONS}


class ReloadError(Exception):
    """The file can be read, and what it says cannot be used."""


def changes(config: Config, flags: dict[str, Any], file: str, *, named: bool) -> dict[str, Any]:
    """The new values by key; `config` stays as it is. `named`: the file was named, so it must be there.

    Raises ConfigError when the file is wrong, ReloadError when its values do not go together.
    """
    try:
        document = read(file, missing_ok=not named)
        found = {} if document is None else merge({}, document)
        if document is not None:
            merge(flags, document)  # only for what may not be given in both places
    except ConfigError as error:
        raise ConfigError(f"unable to configure the Docker daemon with file {file}: {error}") from None
    if "labels" in found:
        found["labels"] = conflict_free_labels(found["labels"])
    try:
        validate(Config(found))
    except ConfigError as error:
        raise ConfigError(f"file configuration validation failed: {error}") from None
    new = {key: found[key] for key in (*_WHEN_SET, *_WHEN_NOT_EMPTY) if key in found}
    new |= {key: found.get(key) or _DEFAULTS[key] for key in _ALWAYS}
    try:
        check_runtimes(
            new.get("default-runtime", config.default_runtime), new.get("runtimes", config.runtimes)
        )
        for name in new.get("insecure-registries", ()):
            check_insecure(name)
    except (ConfigError, ValueError) as error:
        raise ReloadError(str(error)) from None
    return new


def apply(config: Config, new: dict[str, Any]) -> None:
    """Put new values into force."""
    for key, value in new.items():
        setattr(config, key.replace("-", "_"), value)
        config.given[key] = value


def attributes(config: Config) -> dict[str, str]:
    """The attributes of the event `daemon reload`."""
    listing: Callable[[Any], str] = lambda value: json.dumps(value, separators=(",", ":"))  # noqa: E731
    return {
        "debug": plain(config.debug),
        "default-cgroupns-mode": config.default_cgroupns_mode,
        "default-ipc-mode": config.default_ipc_mode,
        "default-runtime": config.default_runtime,
        "default-shm-size": str(config.default_shm_size),
        "features": plain(config.features),
        "insecure-registries": listing(config.insecure_registries),
        "labels": listing(config.labels),
        "live-restore": plain(config.live_restore),
        "max-concurrent-downloads": str(config.max_concurrent_downloads),
        "max-concurrent-uploads": str(config.max_concurrent_uploads),
        "max-download-attempts": str(config.max_download_attempts),
        "registry-mirrors": listing(config.registry_mirrors),
        "runtimes": " ".join(f"{name}:{entry.get('path', '')}" for name, entry in config.runtimes.items()),
        "shutdown-timeout": str(config.shutdown_timeout),
    }


def shown(config: Config) -> str:
    """All options as JSON for the log, without passwords."""
    values = {}
    for option in OPTIONS:
        value = getattr(config, option.attribute)
        if value not in (None, "", [], {}):
            values[option.key] = mask(value) if option.key in SECRET else value
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False)
