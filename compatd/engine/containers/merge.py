"""A container's Config from what the user asked and what the image says (API: ContainerConfig).

The rules are Docker's: the user's value wins; maps and Env are joined by key; a given Entrypoint discards the
image's Cmd, and `Entrypoint: [""]` means none at all.
"""

from typing import Any

from compatd.engine.errors import InvalidParameter

Json = dict[str, Any]

CONFIG_DEFAULTS: Json = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "Labels": None,
}
"""What inspect always shows of a Config, with Go's zero values."""

CONFIG_OPTIONAL = (
    "ExposedPorts",
    "Healthcheck",
    "ArgsEscaped",
    "NetworkDisabled",
    "OnBuild",
    "StopSignal",
    "StopTimeout",
    "Shell",
)
"""What inspect shows only when set."""

CONFIG_FIELDS = frozenset(CONFIG_DEFAULTS) | frozenset(CONFIG_OPTIONAL) | {"MacAddress"}


def user_config(body: Json) -> Json:
    """The Config part of a create request's body, completed with defaults; the request is not changed."""
    config = {name: body.get(name, default) for name, default in CONFIG_DEFAULTS.items()}
    for name in CONFIG_OPTIONAL:
        if body.get(name):
            config[name] = body[name]
    if "StopTimeout" in body:
        config["StopTimeout"] = body["StopTimeout"]
    for name in ("Cmd", "Entrypoint"):
        if isinstance(config[name], str):  # Go's strslice takes a single string as well
            config[name] = [config[name]]
    if config["Volumes"] is None:
        config["Volumes"] = {}
    return config


def merge_config(config: Json, image: Json | None) -> None:
    """Complete `config` in place with the image's config.

    Raises InvalidParameter `no command specified` when neither says what to run.
    """
    if image:
        _merge_image(config, image)
    if config["Entrypoint"] == [""]:
        config["Entrypoint"] = None
    if not config["Entrypoint"] and not config["Cmd"]:
        raise InvalidParameter("no command specified")


def _merge_image(config: Json, image: Json) -> None:
    config["User"] = config["User"] or image.get("User") or ""
    if image.get("ExposedPorts"):
        config["ExposedPorts"] = {**image["ExposedPorts"], **(config.get("ExposedPorts") or {})}
    config["Env"] = merge_environment(config["Env"], image.get("Env"))
    config["Labels"] = {**(image.get("Labels") or {}), **(config["Labels"] or {})}
    if not config["Entrypoint"]:
        if not config["Cmd"]:
            config["Cmd"] = image.get("Cmd")
        if config["Entrypoint"] is None:
            config["Entrypoint"] = image.get("Entrypoint")
    if image.get("Healthcheck"):
        config["Healthcheck"] = _merge_healthcheck(config.get("Healthcheck"), image["Healthcheck"])
    config["WorkingDir"] = config["WorkingDir"] or image.get("WorkingDir") or ""
    config["Volumes"] = {**(image.get("Volumes") or {}), **(config["Volumes"] or {})} or None
    if not config.get("StopSignal") and image.get("StopSignal"):
        config["StopSignal"] = image["StopSignal"]
    if not config.get("Shell") and image.get("Shell"):
        config["Shell"] = image["Shell"]


def merge_environment(mine: list[str] | None, image: list[str] | None) -> list[str] | None:
    """The user's variables first, then those of the image that the user did not name."""
    if not mine:
        return image
    known = {entry.partition("=")[0] for entry in mine}
    return mine + [entry for entry in image or [] if entry.partition("=")[0] not in known]


def _merge_healthcheck(mine: Json | None, image: Json) -> Json:
    if not mine:
        return image
    merged = dict(mine)
    for name in ("Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"):
        if not merged.get(name) and image.get(name):
            merged[name] = image[name]
    return merged


def command_of(config: Json) -> tuple[str, list[str]]:
    """The program and its arguments: the entrypoint followed by the command."""
    words = [*(config["Entrypoint"] or []), *(config["Cmd"] or [])]
    return words[0], words[1:]


def override_environment(base: list[str], changes: list[str]) -> list[str]:
    """`base` with variables replaced, added, or (named without `=`) removed; as exec's and run's `-e` do."""
    values = {entry.partition("=")[0]: entry for entry in base}
    for entry in changes:
        name, equals, _ = entry.partition("=")
        if equals:
            values[name] = entry
        else:
            values.pop(name, None)
    return list(values.values())
