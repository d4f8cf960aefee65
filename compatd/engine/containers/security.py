"""`--security-opt` (API: HostConfig.SecurityOpt)."""

from dataclasses import dataclass

from compatd.engine.errors import EngineError

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


@dataclass
class SecurityOptions:
    """`seccomp`: "" (the default), "unconfined", "builtin" or a profile's JSON."""

    seccomp: str = ""
    apparmor: str = ""
    no_new_privileges: bool = False
    writable_cgroups: bool | None = None


def parse_security_options(options: list[str] | None, *, no_new_privileges: bool = False) -> SecurityOptions:
    """Read the options; labels (SELinux) are accepted and mean nothing here.

    Raises EngineError `invalid --security-opt …` (500, as dockerd does).
    """
    result = SecurityOptions(no_new_privileges=no_new_privileges)
    for option in options or []:
        if option == "no-new-privileges":
            result.no_new_privileges = True
            continue
        if option == "writable-cgroups":
            result.writable_cgroups = True
            continue
        if option == "disable":
            continue
        separator = "=" if "=" in option else ":"
        key, found, value = option.partition(separator)
        if not found:
            raise EngineError(f'invalid --security-opt 1: "{option}"')
        if key == "seccomp":
            result.seccomp = value
        elif key == "apparmor":
            result.apparmor = value
        elif key == "no-new-privileges":
            result.no_new_privileges = _boolean(value, option)
        elif key == "writable-cgroups":
            result.writable_cgroups = _boolean(value, option)
        elif key != "label":
            raise EngineError(f'invalid --security-opt 2: "{option}"')
    return result


def _boolean(value: str, option: str) -> bool:
    if value not in _TRUE + _FALSE:
        raise EngineError(f'invalid --security-opt 2: "{option}"')
    return value in _TRUE
