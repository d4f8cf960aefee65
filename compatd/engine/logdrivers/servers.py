"""The drivers that send to servers: `syslog`, `gelf`, `fluentd`, `journald`."""

from typing import Any

from compatd.engine.logdrivers import addresses
from compatd.engine.logdrivers.info import COMMON, Info
from compatd.engine.logdrivers.values import (
    LogOptionError,
    parse_bool,
    parse_duration,
    parse_int,
    parse_size,
)

Json = dict[str, Any]

_FACILITIES = {
    name: number
    for number, name in enumerate(
        ("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp")
    )
} | {f"local{number}": 16 + number for number in range(8)}
_SYSLOG_OPTIONS = COMMON | {
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
}
_FLUENTD_OPTIONS = COMMON | {
    "fluentd-address",
    "fluentd-async",
    "fluentd-async-connect",
    "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit",
    "fluentd-max-retries",
    "fluentd-read-timeout",
    "fluentd-request-ack",
    "fluentd-retry-wait",
    "fluentd-sub-second-precision",
    "fluentd-write-timeout",
}
JOURNAL_SOCKET = "/run/systemd/journal/socket"


def _facility(text: str) -> int:
    if not text or text in _FACILITIES:
        return _FACILITIES[text or "daemon"]
    try:
        number = parse_int(text)
    except LogOptionError:
        number = -1
    if not 0 <= number <= 23:
        raise LogOptionError("invalid syslog facility")
    return number


def check_syslog(options: dict[str, str]) -> None:
    """Raises LogOptionError."""
    for name in sorted(options):
        if name not in _SYSLOG_OPTIONS:
            raise LogOptionError(f"unknown log opt '{name}' for syslog log driver")
    addresses.syslog(options.get("syslog-address", ""))
    _facility(options.get("syslog-facility", ""))
    if options.get("syslog-format", "") not in ("", "rfc3164", "rfc5424", "rfc5424micro"):
        raise LogOptionError("Invalid syslog format")


def prepare_syslog(info: Info) -> Json:
    """shim.json's "log". Raises LogOptionError."""
    options = info.options
    tag = info.tag()
    network, address = addresses.syslog(options.get("syslog-address", ""))
    server: Json = {"network": network, "address": address}
    if network == "tcp+tls":
        server["tls"] = {
            "ca": options.get("syslog-tls-ca-cert", ""),
            "cert": options.get("syslog-tls-cert", ""),
            "key": options.get("syslog-tls-key", ""),
            "verify": "syslog-tls-skip-verify" not in options,
        }
    return {
        "driver": "syslog",
        "server": server,
        "tag": tag,
        "facility": _facility(options.get("syslog-facility", "")),
        "format": options.get("syslog-format", ""),
    }


def check_gelf(options: dict[str, str]) -> None:
    """Raises LogOptionError."""
    network, _ = addresses.gelf(options.get("gelf-address", ""))
    for name in sorted(options):
        value = options[name]
        if name in COMMON or name == "gelf-address":
            continue
        if name in ("gelf-compression-level", "gelf-compression-type"):
            if network != "udp":
                raise LogOptionError("compression is only supported on UDP")
            good = {str(level) for level in range(-1, 10)}
            if value not in (good if name.endswith("level") else {"gzip", "zlib", "none"}):
                raise LogOptionError(f'unknown value "{value}" for log opt "{name}" for gelf log driver')
        elif name in ("gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"):
            if network != "tcp":
                raise LogOptionError(f'"{name}" is only valid for TCP')
            if not value.isdecimal():
                raise LogOptionError(f'"{name}" must be a positive integer')
        else:
            raise LogOptionError(f'unknown log opt "{name}" for gelf log driver')


def prepare_gelf(info: Info) -> Json:
    """shim.json's "log". Raises LogOptionError."""
    options = info.options
    network, address = addresses.gelf(options.get("gelf-address", ""))
    extra = {
        "_container_id": info.container_id,
        "_container_name": info.name,
        "_image_id": info.image_id,
        "_image_name": info.image_name,
        "_command": info.command,
        "_tag": info.tag(),
        "_created": info.created,
        **info.attributes(lambda name: name if name.startswith("_") else f"_{name}"),
    }
    server: Json = {
        "network": network,
        "address": address,
        "failure": f"gelf: cannot connect to GELF endpoint: {address} {{}}",
    }
    if network == "tcp":
        server["tries"] = int(options.get("gelf-tcp-max-reconnect", "3"))
        server["wait"] = float(options.get("gelf-tcp-reconnect-delay", "1"))
    return {
        "driver": "gelf",
        "server": server,
        "extra": extra,
        "compression": options.get("gelf-compression-type", "gzip"),
        "level": int(options.get("gelf-compression-level", "1")),
    }


def _fluentd_values(options: dict[str, str]) -> Json:
    """The values of fluentd's options. Raises LogOptionError."""
    given = {name.removeprefix("fluentd-"): value for name, value in options.items() if value}
    network, address = addresses.fluentd(given.get("address", ""))
    limit = parse_size(given["buffer-limit"], 1024) if "buffer-limit" in given else 1024 * 1024
    wait = parse_duration(given["retry-wait"]) if "retry-wait" in given else 1.0
    tries = parse_int(given["max-retries"], "ParseUint") if "max-retries" in given else 0
    if tries > 2**31 - 1:
        raise LogOptionError("invalid fluentd-max-retries: value out of range")
    later = parse_bool(given.get("async", given.get("async-connect", "false")))
    if "async-reconnect-interval" in given:
        _interval(given["async-reconnect-interval"])
    precise = parse_bool(given.get("sub-second-precision", "false"))
    ack = parse_bool(given.get("request-ack", "false"))
    for name in ("write-timeout", "read-timeout"):
        if name in given:
            _timeout(name, given[name])
    server: Json = {
        "network": network,
        "address": address,
        "wait": max(wait, 0.0),
        "tries": tries,
        "async": later,
        "timeout": 3.0,
    }
    if network == "tcp+tls":
        server["tls"] = {"ca": "", "cert": "", "key": "", "verify": True}
    return {"server": server, "buffer": limit, "precise": precise, "ack": ack}


def _interval(text: str) -> None:
    name = "fluentd-async-reconnect-interval"
    try:
        interval = parse_duration(text)
    except LogOptionError as error:
        raise LogOptionError(f"invalid value for {name}: {error}") from None
    if interval and not 0.1 <= interval <= 10:
        raise LogOptionError(f'invalid value for {name}: value ("{text}") must be between 100ms and 10s')


def _timeout(name: str, text: str) -> None:
    start = f"invalid value for fluentd-{name}: value must be a duration"
    try:
        negative = parse_duration(text) < 0
    except LogOptionError as error:
        raise LogOptionError(f"{start}: {error}") from None
    if negative:
        raise LogOptionError(f"{start} that is non-negative")


def check_fluentd(options: dict[str, str]) -> None:
    """Raises LogOptionError."""
    for name in sorted(options):
        if name not in _FLUENTD_OPTIONS:
            raise LogOptionError(f"unknown log opt '{name}' for fluentd log driver")
    _fluentd_values(options)


def prepare_fluentd(info: Info) -> Json:
    """shim.json's "log". Raises LogOptionError."""
    record = {"container_id": info.container_id, "container_name": f"/{info.name}", **info.attributes()}
    return {"driver": "fluentd", "tag": info.tag(), "record": record, **_fluentd_values(info.options)}


def check_journald(options: dict[str, str]) -> None:
    """Raises LogOptionError."""
    for name in sorted(options):
        if name not in COMMON:
            raise LogOptionError(f"unknown log opt '{name}' for journald log driver")


def journal_field(name: str) -> str:
    """A label's or variable's name as a field's: capitals, digits and underscores, none of these first."""
    plain = (character if character.isascii() and character.isalnum() else "_" for character in name)
    return "".join(plain).upper().lstrip("_")


def prepare_journald(info: Info) -> Json:
    """shim.json's "log". Raises LogOptionError."""
    tag = info.tag()
    fields = {
        "CONTAINER_ID": info.container_id[:12],
        "CONTAINER_ID_FULL": info.container_id,
        "CONTAINER_NAME": info.name,
        "CONTAINER_TAG": tag,
        "IMAGE_NAME": info.image_name,
        "SYSLOG_IDENTIFIER": tag,
        **{name: value for name, value in info.attributes(journal_field).items() if name},
    }
    return {
        "driver": "journald",
        "server": {
            "network": "unixgram",
            "address": JOURNAL_SOCKET,
            "failure": "journald is not enabled on this host",
        },
        "fields": fields,
    }
