"""The command line itself: global options, dispatch, errors to the log in the shape that containerd reads."""

from __future__ import annotations

import json
import os
import sys

from runtime import cgroups, init
from runtime.init import plan
from runtime.init.capabilities import NUMBERS
from runtime.init.options import FLAGS, PROPAGATION
from runtime.oci import commands, hooks
from runtime.oci.config import HOOKS
from runtime.oci.hooks import OCI_VERSION
from runtime.oci.options import Options, UsageError, parse
from runtime.oci.state import OciError, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAME = "compat-runtime"
_GLOBAL = {
    "root": True,
    "log": True,
    "log-format": True,
    "criu": True,
    "rootless": True,
    "debug": False,
    "systemd-cgroup": False,
    "version": False,
    "help": False,
}
_CREATE = {
    "bundle": True,
    "console-socket": True,
    "pid-file": True,
    "preserve-fds": True,
    "pidfd-socket": True,
    "no-pivot": False,
    "no-new-keyring": False,
}
_EXEC = {
    "console-socket": True,
    "cwd": True,
    "env": True,
    "user": True,
    "process": True,
    "pid-file": True,
    "preserve-fds": True,
    "tty": False,
    "detach": False,
}
_FORMAT = {"format": True, "quiet": False}
_SHORT = {"b": "bundle", "e": "env", "u": "user", "t": "tty", "d": "detach", "p": "process"}

# command: (function, options with whether they take a value, letters)
_COMMANDS: dict[
    str, tuple[Callable[[commands.Context, Options], object], dict[str, bool], dict[str, str]]
] = {
    "create": (commands.create, _CREATE, _SHORT),
    "start": (commands.start, {}, {}),
    "run": (commands.run, {**_CREATE, "detach": False, "keep": False, "no-subreaper": False}, _SHORT),
    "exec": (commands.execute, _EXEC, _SHORT),
    "state": (commands.state, {}, {}),
    "kill": (commands.kill, {"all": False}, {"a": "all"}),
    "delete": (commands.delete, {"force": False}, {"f": "force"}),
    "pause": (commands.pause, {}, {}),
    "resume": (commands.resume, {}, {}),
    "update": (commands.update, {"resources": True}, {"r": "resources"}),
    "ps": (commands.ps, {"format": True}, {"f": "format"}),
    "list": (commands.list_, _FORMAT, {"f": "format", "q": "quiet"}),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, the container's with `run` and `exec`, 1 for an error, which is also in the log."""
    try:
        options = parse(
            sys.argv[1:] if arguments is None else arguments, _GLOBAL, {"v": "version", "h": "help"}
        )
    except UsageError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return 1
    if options.flag("version"):
        print(f"{NAME} version {_version()}\nspec: {OCI_VERSION}")
        return 0
    name = options.rest[0] if options.rest else ""
    if name == "features":
        print(json.dumps(features(), indent=4))
        return 0
    if options.flag("help") or name in ("", "help"):
        print(f"usage: {NAME} [--root DIR] [--log FILE] [--log-format text|json] [--systemd-cgroup] COMMAND")
        print(f"commands: {' '.join(sorted([*_COMMANDS, 'features']))}")
        return 0
    if name not in _COMMANDS:
        return _fail(options, f"No help topic for '{name}'")
    function, known, short = _COMMANDS[name]
    root = options.value("root", "/run/compat-runtime")
    try:
        context = commands.Context(
            os.path.abspath(root),
            lambda text: _log(options, "warning", text),
            systemd=options.flag("systemd-cgroup"),
        )
        result = function(context, parse(options.rest[1:], known, short))
    except (OciError, UsageError, hooks.HookError, init.InitError, cgroups.CgroupError) as error:
        # exec's texts say themselves what failed, as runc's do.
        told = str(error).startswith("exec failed: ")
        return _fail(options, str(error) if told else f"{NAME} {name} failed: {error}")
    except OSError as error:
        return _fail(options, f"{NAME} {name} failed: {error}")
    return result if isinstance(result, int) else 0


def features() -> dict[str, object]:
    """What this runtime can do (OCI runtime spec, "Features Structure")."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": list(HOOKS),
        "mountOptions": sorted([*FLAGS, *PROPAGATION, "tmpcopyup"]),
        "linux": {
            "namespaces": sorted(kind for kind in plan.NAMESPACES if kind != "user"),
            "capabilities": list(NUMBERS),
            "cgroup": {"v1": True, "v2": True, "systemd": True},
            "seccomp": {"enabled": True, "archs": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"]},
        },
    }


def _fail(options: Options, text: str) -> int:
    _log(options, "error", text)
    return 1


def _log(options: Options, level: str, text: str) -> None:
    print(text, file=sys.stderr)
    if path := options.value("log"):
        entry = {"level": level, "msg": text, "time": now()}
        line = (
            json.dumps(entry)
            if options.value("log-format") == "json"
            else f"level={level} msg={json.dumps(text)}"
        )
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("compatd")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
