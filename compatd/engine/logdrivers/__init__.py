"""Log drivers as the engine sees them: one table of names, checks at create, and the shim's part at start.

The drivers themselves run in the shim (`runtime.logs`). Whatever a user wrote is read here: the shim gets
plain values.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from compatd.engine.containers.model import Container
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.logdrivers import files, journal, servers
from compatd.engine.logdrivers.info import Info, info_of
from compatd.engine.logdrivers.values import LogOptionError, parse_bool, parse_size
from compatd.engine.timestamps import rfc3339

__all__ = [
    "DRIVERS",
    "LogOptionError",
    "Source",
    "check",
    "check_defaults",
    "check_options",
    "shim_log",
    "source",
]

Json = dict[str, Any]


class Driver(NamedTuple):
    """`check` raises LogOptionError; `prepare` makes shim.json's "log" of one that sends to a server."""

    check: Callable[[dict[str, str]], None]
    prepare: Callable[[Info], Json] | None = None


DRIVERS = {
    "fluentd": Driver(servers.check_fluentd, servers.prepare_fluentd),
    "gelf": Driver(servers.check_gelf, servers.prepare_gelf),
    "journald": Driver(servers.check_journald, servers.prepare_journald),
    "json-file": Driver(files.check_json_file),
    "local": Driver(files.check_local),
    "syslog": Driver(servers.check_syslog, servers.prepare_syslog),
}
"""By name, in /info's order; `none` is not shown there."""

_CACHE = frozenset({"cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"})
_CACHE_MORE = frozenset({f"cache-{name}" for name in ("env", "env-regex", "labels", "labels-regex", "tag")})
_BUILT_IN = _CACHE | _CACHE_MORE | {"mode", "max-buffer-size"}


def check_options(driver: str, options: dict[str, str]) -> None:
    """Raises LogOptionError in dockerd's words and order."""
    if driver == "none":
        return
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise LogOptionError(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise LogOptionError("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        try:
            parse_size(options["max-buffer-size"], 1024)
        except LogOptionError as error:
            raise LogOptionError(f"error parsing option max-buffer-size: {error}") from None
    disabled = options.get("cache-disabled", "")
    if disabled:
        try:
            parse_bool(disabled)
        except LogOptionError:
            raise LogOptionError(f"invalid value for option cache-disabled: {disabled}") from None
    if driver not in DRIVERS:
        raise LogOptionError(f'error looking up logging plugin {driver}: plugin "{driver}" not found')
    DRIVERS[driver].check({name: value for name, value in options.items() if name not in _BUILT_IN})


def check(log: Json, default_driver: str, default_options: dict[str, str]) -> None:
    """Complete a HostConfig's LogConfig with the daemon's defaults in place, then check it.

    The daemon's options are those of its own driver; only what concerns the cache goes for all.
    Raises InvalidParameter.
    """
    log["Type"] = log["Type"] or default_driver
    defaults = default_options
    if log["Type"] != default_driver:
        defaults = {name: value for name, value in defaults.items() if name in _CACHE | _CACHE_MORE}
    log["Config"] = {**defaults, **(log["Config"] or {})}
    try:
        check_options(log["Type"], log["Config"])
    except LogOptionError as error:
        raise InvalidParameter(str(error)) from None


def check_defaults(driver: str, options: dict[str, str]) -> None:
    """Check the daemon's own options when it starts, if it has some. Raises EngineError."""
    if options:
        try:
            check_options(driver, options)
        except LogOptionError as error:
            raise EngineError(f"failed to set log opts: {error}") from None


def shim_log(container: Container) -> Json | None:
    """shim.json's "log" (docs/architecture.md); None for no log. Raises LogOptionError."""
    name = container.host_config["LogConfig"]["Type"]
    if name == "none":
        return None
    if name not in DRIVERS:
        raise LogOptionError(f"logger: no log driver named '{name}' is registered")
    info = info_of(container, rfc3339(container.created))
    if name == "json-file":
        return files.prepare_json_file(info, Path(container.log_path))
    if name == "local":
        path = _local_path(container)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return files.prepare_local(info, path)
    prepare = DRIVERS[name].prepare
    assert prepare is not None
    options = info.options
    log = prepare(info)
    log["mode"] = options.get("mode") or "blocking"
    if "max-buffer-size" in options:
        log["buffer"] = parse_size(options["max-buffer-size"], 1024)
    found = source(container)
    cached = found is not None and found.form == "local"
    log["cache"] = files.prepare_local(info, _cache_path(container), "cache-") if cached else None
    return log


class Source(NamedTuple):
    """Where a container's log is read: `form` is json, local or journal; `path` of the newest file."""

    form: str
    path: Path


def source(container: Container) -> Source | None:
    """None when the log cannot be read."""
    log = container.host_config["LogConfig"]
    name, options = log["Type"], log["Config"] or {}
    if name == "json-file":
        return Source("json", Path(container.log_path))
    if name == "local":
        return Source("local", _local_path(container))
    if name == "none" or name not in DRIVERS:
        return None
    if name == "journald" and journal.readable():
        return Source("journal", Path())
    disabled = options.get("cache-disabled", "")
    return None if disabled and parse_bool(disabled) else Source("local", _cache_path(container))


def _local_path(container: Container) -> Path:
    return container.dir / "local-logs" / "container.log"


def _cache_path(container: Container) -> Path:
    return container.dir / "container-cached.log"
