"""The command line of `compatd` and `dockerd`, one program: dockerd's flags, its texts, its exit codes."""

import sys
from typing import NoReturn

from compatd import VERSION
from compatd.config.config import DEFAULT_FILE, Config, ConfigError, load
from compatd.config.options import BY_FLAG, OPTIONS, Option
from compatd.config.values import VALUES

_HELP_COLUMN = 40


class UsageError(Exception):
    """A flag that is not known, or a value that cannot be read."""


class Arguments:
    """What stood on the command line: `flags` by daemon.json key; what to do beside serving."""

    def __init__(self) -> None:
        self.flags: dict[str, object] = {}
        self.config_file: str | None = None
        self.help = False
        self.version = False
        self.validate = False


def parse(words: list[str]) -> Arguments:
    """Read flags as Go's pflag does: `--flag value`, `--flag=value`, `-Hvalue`, booleans without a value.

    Raises UsageError with dockerd's text.
    """
    found = Arguments()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            raise UsageError('"dockerd" accepts no arguments.')
        name, equals, value = _split(word)
        if name in ("help", "version", "validate"):
            setattr(found, name, _bool(word, value, bool(equals)))
            continue
        option = BY_FLAG.get(name)
        if option is None and name != "config-file":
            raise UsageError(f"unknown flag: --{name}" if word.startswith("--") else _unknown_short(word))
        if option is not None and option.kind == "bool":
            found.flags[option.key] = _bool(word, value, bool(equals))
            continue
        if not equals:
            if not rest:
                raise UsageError(f"flag needs an argument: {word}")
            value = rest.pop(0)
        if option is None:
            found.config_file = value
        else:
            found.flags[option.key] = _value(option, value, found.flags.get(option.key))
    return found


def _split(word: str) -> tuple[str, str, str]:
    """`--flag=value` or `-Hvalue` → (long name, "=" when a value stands with it, value)."""
    if word.startswith("--"):
        return word[2:].partition("=")
    shorts = {option.short: option.flag for option in OPTIONS if option.short} | {"v": "version", "h": "help"}
    name = shorts.get(word[1], "")
    attached = word[2:].removeprefix("=")
    return name, "=" if len(word) > 2 else "", attached


def _unknown_short(word: str) -> str:
    return f"unknown shorthand flag: {word[1]!r} in {word}"


def _bool(word: str, value: str, given: bool) -> bool:
    try:
        return bool(VALUES["bool"].parse(value, None)) if given else True
    except ValueError as error:
        raise UsageError(f'invalid argument "{value}" for "{word.partition("=")[0]}" flag: {error}') from None


def _value(option: Option, text: str, before: object) -> object:
    try:
        return VALUES[option.kind].parse(text, before)
    except ValueError as error:
        short = f"-{option.short}, " if option.short else ""
        raise UsageError(f'invalid argument "{text}" for "{short}--{option.flag}" flag: {error}') from None


def usage() -> str:
    """The text of `--help`, each flag with its type and default."""
    rows = [(_left(option), _right(option)) for option in OPTIONS]
    rows += [
        ("      --config-file string", f'Daemon configuration file (default "{DEFAULT_FILE}")'),
        ("      --help", "Print usage"),
        ("      --validate", "Validate daemon configuration and exit"),
        ("  -v, --version", "Print version information and quit"),
    ]
    rows.sort(key=lambda row: row[0][6:])
    lines = ["", "Usage:\tdockerd [OPTIONS]", "", "A self-sufficient runtime for containers.", "", "Options:"]
    for left, right in rows:
        lines.append(left.ljust(_HELP_COLUMN) + right if len(left) < _HELP_COLUMN else f"{left} {right}")
    lines += ["", "Commands:", "  fsck    Check the data root of a daemon that does not run (fsck --help)"]
    return "\n".join(lines)


def _left(option: Option) -> str:
    short = f"-{option.short}, " if option.short else "    "
    return f"  {short}--{option.flag} {VALUES[option.kind].word}".rstrip()


def _right(option: Option) -> str:
    if option.default in ("", [], {}, False):
        return option.help
    shown = f'"{option.default}"' if isinstance(option.default, str) else str(option.default).lower()
    return f"{option.help} (default {shown})"


def main() -> NoReturn:
    """Entry point of `compatd` and `dockerd`. Exit codes: 0 done, 1 cannot start, 125 wrong usage."""
    if sys.argv[1:2] == ["fsck"]:
        from compatd.fsck import command

        sys.exit(command.main(sys.argv[2:]))
    try:
        arguments = parse(sys.argv[1:])
    except UsageError as error:
        print(f"{error}\nSee 'dockerd --help'.", file=sys.stderr)
        sys.exit(125)
    if arguments.help:
        print(usage())
        sys.exit(0)
    if arguments.version:
        print(f"Docker version {VERSION}, build compatd")
        sys.exit(0)
    try:
        config: Config = load(arguments.flags, arguments.config_file)
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    if arguments.validate:
        print("configuration OK")
        sys.exit(0)
    from compatd import app  # only now: serving needs all of it, `--help` nothing

    sys.exit(app.run(config))
