"""What may differ between Debian's dockerd 26.1 (API 1.45) and compatd.

Each entry matches steps and fields (shell patterns) and what the two have there, as one regular expression
over `real → ours` (texts in single quotes). `since` is the release of Docker that brought what ours does,
found in moby's history, or the line of docs/differences.md that says why ours is different. Whatever matches
no entry is a failure, and so is an entry that nothing matches.
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from conformance.differential.compare import Difference

ABSENT = r"\(absent\)"


@dataclass(frozen=True)
class Allowed:
    step: str
    field: str
    pair: str
    since: str

    def covers(self, found: Difference) -> bool:
        return (
            fnmatchcase(found.step, self.step)
            and fnmatchcase(found.field, self.field)
            and re.fullmatch(self.pair, f"{_shown(found.real)} → {_shown(found.ours)}", re.DOTALL) is not None
        )


def _shown(value: object) -> str:
    """As repr, but texts as they are, in single quotes."""
    return f"'{value}'" if isinstance(value, str) else repr(value)


def _text(step: str, real: str, ours: str, since: str) -> Allowed:
    """A message (regular expressions without quotes; `ours` may refer to groups of `real`)."""
    return Allowed(step, "body.[mE]*", f"'{real}' → '{ours}'", since)


def _refused(label: str, text: str, since: str) -> Allowed:
    """Taken by 26.1, and wrong at the start; refused at create, since."""
    gone = rf"('<id>'|\[\]|\{{.*\}}) → {ABSENT}"
    return Allowed(f"*[ <]{label}*", "*", f"201 → 400|{gone}|{ABSENT} → '{text}'", since)


_NETWORK = "body.NetworkSettings"

FIELDS = [
    Allowed("*", "body.HostConfig.Runtime", "'runc' → 'compatd'", "differences: default runtime's name"),
    Allowed("*", f"{_NETWORK}.*", rf"(None|0|False|''|\[\]) → {ABSENT}", "29.0.0: not without a bridge"),
    Allowed("*", f"{_NETWORK}.Sandbox*", "'<(id|sandbox)>' → ''", "27.0.1: forgotten at the end"),
    Allowed("*", "body*.Networks.*.GwPriority", f"{ABSENT} → 0", "28.0.0 (API 1.48)"),
    Allowed("*", "body*.EnableIPv4", f"{ABSENT} → True", "28.0.0"),
    Allowed("networks: list *", "body*.Containers", rf"\{{\}} → {ABSENT}", "29.0.0: of a network alone"),
    Allowed("*", "body.Config.OnBuild", f"None → {ABSENT}", "29.0.0: left out when empty"),
    Allowed("*", "body.HostConfig.PortBindings", r"None → \{\}", "29.1.2"),
    Allowed("*", "body.HostConfig.MaskedPaths", r"\[.*\] → \[.*'/proc/interrupts'.*\]", "28.0.2"),
    Allowed("*stats*", "body.os_type", f"{ABSENT} → 'linux'", "29.0.0"),
    Allowed("states: stats, one-shot", "body.[in]*", f"{ABSENT} → '.*'", "29.0.0"),
    Allowed("commits: image", "body.Config.[HI]*", "'.+' → ''", "28.0.0: no part of images any more"),
    Allowed("exec*: *, inspect", "body.ExitCode", "126 → 127", "28.0.0"),
    Allowed("archives: put at a file", "status", "500 → 400", "28.0.0"),
    Allowed("creates: isolation", "status", "500 → 400", "28.0.0"),
    Allowed("*: *bad *", "status", "500 → 400", "29.4.0: limits and times"),
]

TEXTS = [
    _text("starts: network*", "(.*)", r"failed to set up container networking: \1", "28.0.1"),
    _text(
        "endpoints: remove in use",
        "(.*) id <one> has (.*)",
        r'\1 has \2 \(name:"df-on-one" id:".*"\)',
        "29.0.0",
    ),
    _text("endpoints: start*", "(.*)", r"failed to set up container networking: \1", "28.0.1"),
    _refused("long host name", 'hostname "h*" is too long .*', "29.7.0"),
    _refused("port", 'invalid port specification: "80/nope"', "29.0.0"),
    _text(
        "creates: isolation", 'Invalid isolation: "hyperv" - (.*)', r"invalid isolation \(hyperv\): .*", "28"
    ),
    _text("creates: mac address", ".*invalid MAC address x", "address x: invalid MAC address", "29.0.0"),
    _text("creates: no body", "invalid JSON: got EOF .*", "invalid JSON: EOF", "29.0.0"),
    _text("creates: wrong type", "(.*) ContainerConfigWrapper.Config(.*)", r"\1 \2", "29.0.0"),
    _text("*", "bad parameter: pathcannot be empty", "bad parameter: path cannot be empty", "29.2.0"),
    _text("*", "(?i:(.*))", r"(?i:\1)", "28.0.0 to 29.7.0: errors begin in lower case"),
    _text("exec*", "Error: Exec command (.*)", r"exec command \1", "28.2.0"),
    _text(
        "*remove*", 'cannot remove container "/(.*)', r'cannot remove container "\1', "28.2.0: as asked for"
    ),
    _text("lists: bad *", "(.*): strconv.ParseUint: .*: (.*)", r"\1: invalid start port '.*': \2", "29.0.0"),
    _text("lists: bad health", ".* for health: x", ".*invalid value for health .*", "28.2.0"),
    _text("lists: bad status", "(.*status=x').*", r"\1: invalid value for state .*", "28.2.0"),
    _text("logs: *bad since", "strconv.ParseInt: .*", 'invalid value for "since": .*', "29.4.0"),
    _text("logs: *neither", ".* choose at least one stream", "must specify at least one of .*", "29.4.0"),
    _text("prune: bad time", '(failed to parse .*): "x"', r'\1: invalid timestamp "x": .*', "29.4.0"),
    _text("parameters: bad *", "strconv.Atoi: .*", 'invalid resize (height|width) "x": .*', "28.0.0"),
    _text("volumes_refused: *", "(.*) CreateOptions(.*)", r"\1 CreateRequest\2", "29.0.0"),
    _text("parameters: too new", "(.*)1[.]45", r"\1[1][.]56", "our API is newer"),
    _text(
        "starts: work dir*", "lstat <folder>: (.*)", r"lstat /.*: \1", "differences: no folder of the host"
    ),
]

ALLOWED = [*FIELDS, *TEXTS]
