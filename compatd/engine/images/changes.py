"""`docker import --change`, `docker commit --change`: Dockerfile instructions that alter only a config.

Source: Dockerfile reference; the engine takes the instructions below and no others here.
"""

import json
import re
import shlex
from typing import Any

from compatd.engine.errors import InvalidParameter

ALLOWED = (
    "cmd",
    "entrypoint",
    "healthcheck",
    "env",
    "expose",
    "label",
    "onbuild",
    "user",
    "volume",
    "workdir",
)

Config = dict[str, Any]


def empty_config() -> Config:
    """A container config with nothing set, its fields in the order in which Docker's JSON has them."""
    return {
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False,
        "AttachStderr": False, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None,
        "Image": "", "Volumes": None, "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": None,
    }  # fmt: skip


_ORDER = (
    "Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr", "ExposedPorts", "Tty",
    "OpenStdin", "StdinOnce", "Env", "Cmd", "Healthcheck", "ArgsEscaped", "Image", "Volumes", "WorkingDir",
    "Entrypoint", "NetworkDisabled", "MacAddress", "OnBuild", "Labels", "StopSignal", "StopTimeout", "Shell",
)  # fmt: skip


def apply(config: Config, changes: list[str]) -> Config:
    """`config` with all instructions applied, keys in Docker's order. Raises InvalidParameter."""
    result = dict(config)
    cmd_set = False
    for text in changes:
        for line in re.sub(r"\\\n", "", text).splitlines():
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            word, _, rest = line.partition(" ")
            name = word.lower()
            if name not in ALLOWED:
                raise InvalidParameter(f"{word} is not a valid change command")
            _one(result, name, word.upper(), rest.strip(), cmd_set)
            cmd_set = cmd_set or name == "cmd"
    return {key: result[key] for key in _ORDER if key in result}


def _one(config: Config, name: str, shown: str, rest: str, cmd_set: bool) -> None:
    if not rest and name not in ("cmd", "entrypoint"):
        raise InvalidParameter(f"{shown} requires at least one argument")
    if name == "cmd":
        config["Cmd"] = command(rest)
    elif name == "entrypoint":
        config["Entrypoint"] = command(rest)
        if not cmd_set:
            config["Cmd"] = None
    elif name == "env":
        values = dict(item.partition("=")[::2] for item in config.get("Env") or [])
        values.update(pairs(shown, rest, spaced=True))
        config["Env"] = [f"{key}={value}" for key, value in values.items()]
    elif name == "label":
        config["Labels"] = dict(sorted({**(config.get("Labels") or {}), **pairs(shown, rest)}.items()))
    elif name == "expose":
        config["ExposedPorts"] = dict(sorted({**(config.get("ExposedPorts") or {}), **_ports(rest)}.items()))
    elif name == "volume":
        paths = command(rest, shell=False)
        config["Volumes"] = dict(sorted({**(config.get("Volumes") or {}), **{p: {} for p in paths}}.items()))
    elif name == "workdir":
        old = config.get("WorkingDir") or "/"
        path = rest if rest.startswith("/") else f"{old}/{rest}"
        config["WorkingDir"] = "/" + "/".join(part for part in path.split("/") if part and part != ".")
    elif name == "user":
        config["User"] = rest
    elif name == "onbuild":
        config["OnBuild"] = [*(config.get("OnBuild") or []), rest]
    else:
        config["Healthcheck"] = _healthcheck(rest)


def command(rest: str, *, shell: bool = True) -> list[str]:
    """The exec form `["a", "b"]`, or the shell form (for VOLUME: words)."""
    if rest.startswith("["):
        try:
            words = json.loads(rest)
            if isinstance(words, list) and all(isinstance(word, str) for word in words):
                return words
        except ValueError:
            pass
    if not rest:
        return []
    return ["/bin/sh", "-c", rest] if shell else rest.split()


def pairs(shown: str, rest: str, *, spaced: bool = False) -> dict[str, str]:
    """`a=b "c d"=e`, or for ENV and LABEL the old `name value`. Raises InvalidParameter."""
    first = rest.split(maxsplit=1)[0]
    if "=" not in first:
        name, _, value = rest.partition(" ")
        if not value:
            raise InvalidParameter(f"{shown} must have two arguments")
        return {name: value.strip()}
    try:
        words = shlex.split(rest)
    except ValueError:
        raise InvalidParameter(
            f"Syntax error - can't find = in {rest!r}. Must be of the form: name=value"
        ) from None
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise InvalidParameter(
                f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value'
            )
        found[name] = value
    return found


def _ports(rest: str) -> dict[str, Any]:
    ports: dict[str, Any] = {}
    for word in rest.split():
        numbers, _, protocol = word.partition("/")
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", numbers)
        if not match or (protocol and protocol.lower() not in ("tcp", "udp", "sctp")):
            raise InvalidParameter(f"invalid containerPort: {word}")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 < first <= last <= 65535:
            raise InvalidParameter(f"invalid containerPort: {word}")
        for port in range(first, last + 1):
            ports[f"{port}/{(protocol or 'tcp').lower()}"] = {}
    return ports


_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def _duration(name: str, text: str) -> int:
    parts = re.findall(r"(\d+(?:\.\d*)?)(ns|us|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidParameter(f'time: invalid duration "{text}"')
    value = int(sum(float(number) * _UNITS[unit] for number, unit in parts))
    if value < 10**6:
        raise InvalidParameter(f'Interval "{name}" cannot be less than 1ms')
    return value


def _healthcheck(rest: str) -> Config:
    options: Config = {}
    fields = {
        "interval": "Interval",
        "timeout": "Timeout",
        "start-period": "StartPeriod",
        "retries": "Retries",
    }
    while match := re.match(r"--([a-z-]+)=(\S+)\s*", rest):
        name, value = match[1], match[2]
        if name not in fields:
            raise InvalidParameter(f"Unknown flag: {name}")
        if name == "retries":
            if not value.isdigit():
                raise InvalidParameter(f'--retries must be at least 0 (not "{value}")')
            options["Retries"] = int(value)
        else:
            options[fields[name]] = _duration(name, value)
        rest = rest[match.end() :]
    kind, _, test = rest.partition(" ")
    if kind.upper() == "NONE":
        return {"Test": ["NONE"]}
    if kind.upper() != "CMD":
        raise InvalidParameter(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)')
    words = command(test.strip())
    if not test.strip():
        raise InvalidParameter("Missing command after HEALTHCHECK CMD")
    test_words = ["CMD", *words] if test.strip().startswith("[") else ["CMD-SHELL", test.strip()]
    order = ("Interval", "Timeout", "StartPeriod", "Retries")
    return {"Test": test_words, **{key: options[key] for key in order if key in options}}
