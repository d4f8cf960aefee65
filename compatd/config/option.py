"""One option of the daemon."""

from typing import Any, NamedTuple

from compatd.config.values import VALUES


class Option(NamedTuple):
    """`key` as in daemon.json, `flag` without dashes, `kind` a name in VALUES, `help` for `--help`.

    idle: what is said once in the log when the option is given, because it changes nothing here; "" when it
        acts. deprecated: what a user of the flag is told. hidden: not in `--help`. in_file, on_line: whether
        daemon.json and the command line know it. reloads: a SIGHUP brings it from the file.
    """

    key: str
    flag: str
    kind: str
    default: Any
    help: str
    short: str = ""
    idle: str = ""
    deprecated: str = ""
    hidden: bool = False
    in_file: bool = True
    on_line: bool = True
    reloads: bool = False

    @property
    def attribute(self) -> str:
        """The name in Config."""
        return self.key.replace("-", "_")


def option(key: str, kind: str, default: Any, text: str, *, flag: str = "", **more: Any) -> Option:
    """A row; the flag has the key's name unless it is given."""
    assert kind in VALUES, kind
    return Option(key, flag or key, kind, default, text, **more)
