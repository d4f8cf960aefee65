"""`RUN --mount=…` and `--device=…`. Source: the Dockerfile reference; errors: moby/buildkit instructions."""

from typing import Any

from compatd.config.values import parse_bool, parse_bytes
from compatd.engine.builder.dockerfile.errors import DockerfileError, suggested
from compatd.engine.builder.dockerfile.instructions import Mount, Word
from compatd.engine.builder.dockerfile.text import csv_fields, parse_unsigned, quote

TYPES = ("bind", "cache", "secret", "ssh", "tmpfs")
SHARING = ("locked", "private", "shared")
KEYS = "type from source target readonly id sharing required size mode uid gid src dst destination ro rw readwrite env".split()  # noqa: E501, SIM905

_SAME = {"src": "source", "dst": "target", "destination": "target"}


def parse_mount(text: str, word: Word | None) -> Mount:
    """One `--mount`, its variables expanded; without `word` only `from` is read. Raises DockerfileError."""
    try:
        fields = csv_fields(text)
    except ValueError as error:
        raise DockerfileError(f"failed to parse csv mounts: {error}") from None
    if word is None:
        return Mount(source_stage=_from(fields))
    found: dict[str, Any] = {"type": "bind"}
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.lower()
        if equals:
            _valued(found, field, key, word(value))
        elif key in ("readonly", "ro", "readwrite", "rw"):
            found["read_only"] = key in ("readonly", "ro")
        elif key == "required":
            _only(found, key, "secret", "ssh")
            found["required"] = True
        else:
            raise DockerfileError(f"invalid field '{key}' must be a key=value pair")
    found.setdefault("read_only", found["type"] not in ("cache", "tmpfs"))
    mount = Mount(**found)
    _check(mount)
    return mount


def _from(fields: list[str]) -> str:
    stage = ""
    for field in fields:
        key, equals, value = field.partition("=")
        if equals and key.lower() == "from":
            if "$" in value[:-1]:
                raise DockerfileError(
                    f"'{key.lower()}' doesn't support variable expansion, define alias stage instead"
                )
            stage = value
    return stage


def mount_target(text: str) -> str:
    """The target as written in one `--mount`, for errors."""
    for field in csv_fields(text):
        key, _, value = field.partition("=")
        if key.lower() in ("target", "dst", "destination"):
            return value
    return ""


def _only(found: dict[str, Any], key: str, *types: str) -> None:
    if found["type"] not in types:
        raise DockerfileError(f"unexpected key '{key}' for mount type '{found['type']}'")


def _valued(found: dict[str, Any], field: str, key: str, value: str) -> None:
    if key in ("type", "sharing"):
        options = TYPES if key == "type" else SHARING
        if value.lower() not in options:
            what = "mount type" if key == "type" else "sharing value"
            raise DockerfileError(suggested(f"unsupported {what} {quote(value)}", value, options))
        found[key] = value.lower()
    elif key == "from":
        found["source_stage"] = value
    elif key in ("source", "src", "target", "dst", "destination", "id", "env"):
        found[_SAME.get(key, key)] = value
    elif key in ("readonly", "ro", "readwrite", "rw"):
        found["read_only"] = _boolean(key, value) is (key in ("readonly", "ro"))
    elif key == "required":
        _only(found, key, "secret", "ssh")
        found["required"] = _boolean(key, value)
    elif key == "size":
        _only(found, key, "tmpfs")
        try:
            found["size"] = parse_bytes(value)
        except ValueError:
            raise DockerfileError(f"invalid value for {key}: {value}") from None
    elif key in ("mode", "uid", "gid"):
        try:
            found[key] = parse_unsigned(value, 8 if key == "mode" else 10)
        except ValueError:
            raise DockerfileError(f"invalid value {value} for {key}") from None
    else:
        raise DockerfileError(suggested(f"unexpected key '{key}' in '{field}'", key, KEYS))


def _boolean(key: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise DockerfileError(f"invalid value for {key}: {value}") from None


def _check(mount: Mount) -> None:
    if mount.type not in ("secret", "ssh", "cache"):
        for key in ("mode", "uid", "gid"):
            if getattr(mount, key) is not None:
                raise DockerfileError(f"{key} not allowed for {quote(mount.type)} type mounts")
    if mount.type == "secret":
        if mount.source_stage:
            raise DockerfileError("secret mount should not have a from")
        if mount.sharing:
            raise DockerfileError("secret mount should not define sharing")
        if not (mount.source or mount.target or mount.id):
            raise DockerfileError("invalid secret mount. one of source, target required")
        if mount.source and mount.id:
            raise DockerfileError("both source and id can't be set")
    if mount.sharing and mount.type != "cache":
        raise DockerfileError(f"invalid cache sharing set for {mount.type} mount")


def check_device(text: str) -> None:
    """Whether this is a `--device`. Raises DockerfileError."""
    try:
        fields = csv_fields(text)
    except ValueError as error:
        raise DockerfileError(f"failed to parse csv devices: {error}") from None
    name = ""
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.lower()
        if key == "required":
            if equals:
                _boolean(key, value)
        elif equals and key == "name":
            if name:
                raise DockerfileError(f"device name already set to {name}")
            name = value
        elif not name:
            name = field
        elif not equals:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
        else:
            raise DockerfileError(
                suggested(f"unexpected key '{key}' in '{field}'", key, ("name", "required"))
            )
