"""The command line of `compatd` and `dockerd`, one program: dockerd's flags, its texts, its exit codes."""

import importlib
import sys
from pathlib import Path
from typing import NoReturn

from compatd import VERSION
from compatd.config import Config, ConfigError, load
from compatd.flags import UsageError, parse, usage
from runtime.shim.title import set_title

COMMANDS = {
    "fsck": ("compatd.fsck.command", "Check the data root of a daemon that does not run (fsck --help)"),
    "doctor": ("compatd.doctor.command", "Look for what does not work, and say what to do (doctor --help)"),
}
"""Our own commands: the module whose `main` gets the words after the name, and a line for `--help`."""


def main() -> NoReturn:
    """Entry point of `compatd` and `dockerd`. Exit codes: 0 done, 1 wrong usage or cannot start."""
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        module = importlib.import_module(COMMANDS[sys.argv[1]][0])
        sys.exit(module.main(sys.argv[2:]))
    try:
        arguments = parse(sys.argv[1:], warn=_tell)
    except UsageError as error:
        _tell(f"Status: {error}\nSee 'dockerd --help'., Code: 125")  # dockerd's own words; it ends with 1
        sys.exit(1)
    if arguments.help:
        print(usage({name: text for name, (_, text) in COMMANDS.items()}))
        sys.exit(0)
    if arguments.version:
        print(f"Docker version {VERSION}, build compatd")
        sys.exit(0)
    if arguments.words:
        _tell(
            "\"dockerd\" accepts no argument(s).\nSee 'dockerd --help'.\n\nUsage:  dockerd [OPTIONS]\n\n"
            "A self-sufficient runtime for containers."
        )
        sys.exit(1)
    try:
        config: Config = load(arguments.flags, arguments.config_file)
        _check_rest(config)
    except ConfigError as error:
        _tell(str(error))
        sys.exit(1)
    if arguments.validate:
        _tell("configuration OK")
        sys.exit(0)
    from compatd import app  # only now: serving needs all of it, `--help` nothing

    _be_called()
    sys.exit(app.run(config, arguments.flags, arguments.config_file))


def _be_called() -> None:
    """Without the interpreter's name before it: `ps` and `pidof` show dockerd."""
    if Path(sys.argv[0]).name == "dockerd":
        set_title("dockerd", "\0".join(sys.argv))


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def _check_rest(config: Config) -> None:
    """What other modules know about options. Raises ConfigError."""
    if config.tls:
        from compatd.http.tls import TLSError, make_context

        try:
            make_context(
                config.tlscert, config.tlskey, config.tlscacert, verify=config.tlsverify is not False
            )
        except TLSError as error:
            raise ConfigError(f"invalid TLS configuration: {error}") from None
