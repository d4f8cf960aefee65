"""Command lines as Go's pflag reads and describes them, for the table of options."""

import shutil
import sys
from collections.abc import Callable
from typing import Any

from compatd.config.config import DEFAULT_FILE, cert_folder
from compatd.config.option import Option
from compatd.config.options import BY_FLAG, OPTIONS
from compatd.config.values import VALUES, plain

_SHORTS = {row.short: row.flag for row in OPTIONS if row.short and row.on_line} | {
    "v": "version",
    "h": "help",
}
_OF_THE_PROGRAM = ("help", "version", "validate")


class UsageError(Exception):
    """A flag that is not known, or a value that cannot be read."""


class Arguments:
    """What stood on the command line: `flags` by daemon.json key, what to do beside serving, and `words`."""

    def __init__(self) -> None:
        self.flags: dict[str, Any] = {}
        self.words: list[str] = []
        self.config_file: str | None = None
        self.help = False
        self.version = False
        self.validate = False


def parse(words: list[str], warn: Callable[[str], None] = lambda text: None) -> Arguments:
    """Read flags: `--flag value`, `--flag=value`, `-Hvalue`, `-Dl info`, booleans without a value.

    `warn` gets what is to be told of deprecated flags. Raises UsageError with dockerd's text.
    """
    found = Arguments()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            found.words += rest
            break
        if word.startswith("--"):
            _long(found, word, rest, warn)
        elif word.startswith("-") and word != "-":
            _shorts(found, word, rest, warn)
        else:
            found.words.append(word)
    return found


def _long(found: Arguments, word: str, rest: list[str], warn: Callable[[str], None]) -> None:
    name, equals, value = word[2:].partition("=")
    if not name or name[0] == "-":
        raise UsageError(f"bad flag syntax: {word}")
    if name not in BY_FLAG and name not in _OF_THE_PROGRAM and name != "config-file":
        raise UsageError(f"unknown flag: --{name}")
    if not equals and _is_bool(name):
        value = "true"
    elif not equals:
        if not rest:
            raise UsageError(f"flag needs an argument: --{name}")
        value = rest.pop(0)
    _set(found, name, value, warn)


def _shorts(found: Arguments, word: str, rest: list[str], warn: Callable[[str], None]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        name = _SHORTS.get(letter)
        if name is None:
            raise UsageError(f"unknown shorthand flag: '{letter}' in -{letter}{letters}")
        if letter == "h":
            warn("Flag shorthand -h has been deprecated, please use --help")
        if letters[:1] == "=" and len(letters) > 1:
            value, letters = letters[1:], ""
        elif _is_bool(name):
            value = "true"
        elif letters:
            value, letters = letters, ""
        elif rest:
            value = rest.pop(0)
        else:
            raise UsageError(f"flag needs an argument: '{letter}' in {word}")
        _set(found, name, value, warn)


def _is_bool(name: str) -> bool:
    return name in _OF_THE_PROGRAM or (name in BY_FLAG and BY_FLAG[name].kind == "bool")


def _set(found: Arguments, name: str, text: str, warn: Callable[[str], None]) -> None:
    option = BY_FLAG.get(name)
    try:
        if option is not None:
            found.flags[option.key] = VALUES[option.kind].parse(text, found.flags.get(option.key))
        elif name == "config-file":
            found.config_file = text
        else:
            setattr(found, name, VALUES["bool"].parse(text, None))
    except ValueError as error:
        shown = f"-{option.short}, --{name}" if option is not None and option.short else f"--{name}"
        shown = f"-v, --{name}" if name == "version" else shown
        raise UsageError(f'invalid argument "{text}" for "{shown}" flag: {error}') from None
    if option is not None and option.deprecated:
        warn(f"Flag --{name} has been deprecated, {option.deprecated}")


def usage(commands: dict[str, str], width: int | None = None) -> str:
    """The text of `--help`: each flag with its type and default, wrapped at the terminal's width.

    commands: our own, by name.
    """
    if width is None:
        width = shutil.get_terminal_size().columns if sys.stdin and sys.stdin.isatty() else 80
    rows = [(_left(row), _right(row)) for row in OPTIONS if row.on_line and not row.hidden]
    rows += [
        ("      --config-file string", f'Daemon configuration file (default "{DEFAULT_FILE}")'),
        ("      --help", "Print usage"),
        ("      --validate", "Validate daemon configuration and exit"),
        ("  -v, --version", "Print version information and quit"),
    ]
    rows.sort(key=lambda row: row[0][8:])
    column = max(len(left) for left, _ in rows) + 3
    lines = ["", "Usage:\tdockerd [OPTIONS]", "", "A self-sufficient runtime for containers.", "", "Options:"]
    for left, right in rows:
        lines.append(left.ljust(column) + _wrap(right, column, width - 1))
    lines += ["", "Commands:", *(f"  {name.ljust(8)}{text}" for name, text in commands.items())]
    return "\n".join(lines)


def _left(option: Option) -> str:
    short = f"-{option.short}, " if option.short else "    "
    return f"  {short}--{option.flag} {VALUES[option.kind].word}".rstrip()


def _right(option: Option) -> str:
    if option.key.startswith("tlsc") or option.key == "tlskey":
        name = {"tlscacert": "ca", "tlscert": "cert", "tlskey": "key"}[option.key]
        return f'{option.help} (default "{cert_folder()}/{name}.pem")'
    default = VALUES[option.kind].show(option.default)
    if not default or default in ("false", "0", "<nil>") or option.kind == "features":
        return option.help
    return f"{option.help} (default {_quoted(option, default)})"


def _quoted(option: Option, default: str) -> str:
    return f'"{plain(option.default)}"' if option.kind == "string" else default


def _wrap(text: str, indent: int, width: int) -> str:
    """Break at spaces; a rest of up to five more characters stays on its line, as in pflag."""
    room, slop = width - indent, 5
    start = ""
    if room < 24:
        indent, start = 16, "\n" + " " * 16
        room = width - indent
        if room < 24:
            return start + text
    lines = []
    room -= slop
    while len(text) > room + slop:
        at = text.rfind(" ", 0, room)
        if at <= 0:
            break
        lines.append(text[:at])
        text = text[at + 1 :]
    return start + ("\n" + " " * indent).join([*lines, text])
