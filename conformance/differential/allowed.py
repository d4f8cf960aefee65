"""What may differ between Debian's dockerd (20.10, API 1.41) and compatd, which follows release 29.

Each entry matches steps and fields (shell patterns) and what the two have there, as one regular expression
over `real → ours` (texts in single quotes). `why` says what changed since 20.10, or which line of
docs/differences.md it is. Whatever matches no entry is a failure.
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
    why: str

    def covers(self, found: Difference) -> bool:
        return (
            fnmatchcase(found.step, self.step)
            and fnmatchcase(found.field, self.field)
            and re.fullmatch(self.pair, f"{_shown(found.real)} → {_shown(found.ours)}", re.DOTALL) is not None
        )


def _shown(value: object) -> str:
    """As repr, but texts as they are, in single quotes."""
    return f"'{value}'" if isinstance(value, str) else repr(value)


def _gone(*fields: str) -> list[Allowed]:
    """Fields that inspect shows no more, where they said nothing."""
    pair = rf"(None|0|False|''|\[\]) → {ABSENT}"
    return [Allowed("*", f"body.{field}", pair, "no longer in any answer of release 29") for field in fields]


def _text(real: str, ours: str, why: str = "the text of release 29", step: str = "*") -> list[Allowed]:
    """Messages (regular expressions, without quotes; `ours` may refer to groups of `real`)."""
    pair = f"'{real}' → '{ours}'"
    return [Allowed(step, "body.[mE]*", pair, why)]


def _refused(label: str, text: str) -> list[Allowed]:
    """Taken by 20.10 (and wrong at the start); refused at once, since."""
    why = "release 29 refuses it at create"
    return [
        Allowed(f"creates: {label}", "status", "201 → 400", why),
        Allowed(f"creates: {label}", "body.Id", rf"'.*' → {ABSENT}", why),
        Allowed(f"creates: {label}", "body.Warnings", rf"\[\] → {ABSENT}", why),
        Allowed(f"creates: {label}", "body.message", f"{ABSENT} → '{text}'", why),
        Allowed(f"creates: {label}, removed", "", f".* → {ABSENT}", why),
        Allowed(f"events: container <{label}>", "", f".* → {ABSENT}", why),
    ]


_NETWORKS = "*NetworkSettings.Networks.*"

FIELDS = [
    *_gone("Config.OnBuild", "HostConfig.KernelMemory", "HostConfig.KernelMemoryTCP"),
    *_gone("NetworkSettings.Bridge", "NetworkSettings.HairpinMode", "NetworkSettings.Secondary*Addresses"),
    *_gone("NetworkSettings.LinkLocalIPv6*"),
    Allowed(
        "*", "body.NetworkSettings.*", rf"(''|0) → {ABSENT}", "release 29: not without the default bridge"
    ),
    Allowed(
        "*", f"{_NETWORKS}.DNSNames", rf"{ABSENT} → .*", "a field of API 1.44 that release 29 always shows"
    ),
    Allowed("*", f"{_NETWORKS}.GwPriority", rf"{ABSENT} → 0", "a field of API 1.48, likewise"),
    Allowed(
        "*", "body.HostConfig.MaskedPaths", r"\[.*\] → \[.*'/proc/interrupts'.*\]", "release 29 masks more"
    ),
    Allowed("*", "body*.HostConfig.NetworkMode", "'default' → 'bridge'", "release 26 stores the real name"),
    Allowed("*", "body.HostConfig.PortBindings", r"None → \{\}", "release 29 shows an empty one"),
    Allowed("*", "body.HostConfig.RestartPolicy.Name", "'' → 'no'", "release 25 stores the default"),
    Allowed(
        "*", "body.HostConfig.Runtime", "'runc' → 'compatd'", "docs/differences.md: default runtime's name"
    ),
    Allowed("*", "body.NetworkSettings.SandboxID", "'<id>' → ''", "forgotten at the end since release 25"),
    Allowed("*", "body.NetworkSettings.SandboxKey", "'<sandbox>' → ''", "likewise"),
    Allowed("*", "body.os_type", f"{ABSENT} → 'linux'", "a field of API 1.51 that release 29 always shows"),
    Allowed(
        "endings: wait*", "body.Error", f"None → {ABSENT}", "left out when there is none, since API 1.42"
    ),
    Allowed("execs: *, inspect", "body.ExitCode", "126 → 127", "release 23 and later"),
    Allowed("many_fields: endpoints", "body.NetworkSettings.*MacAddress", "'<mac>' → ''", "set at the start"),
    Allowed("logs: *", "headers.content-type", rf"{ABSENT} → '.*raw-stream'", "release 23 names the type"),
    Allowed("commits: commit", "body.Id", "'sha256:.*' → 'sha256:.*'", "a digest of a time among others"),
    Allowed("commits: image", "body.Config.Hostname", "'<commits> short' → ''", "no part of images since 28"),
    Allowed("commits: image", "body.Config.Image", "'.*' → ''", "no part of images since 28"),
    Allowed("events: container *", "*execDuration", f"{ABSENT} → '<number>'", "since release 23"),
    Allowed("*", "status", "500 → (400|404|409)", "a fault of the request is no longer the server's"),
]

REFUSED = [
    *_refused("ipc mode", "invalid IPC mode: nope"),
    *_refused("pid mode", "invalid PID mode: nope"),
    *_refused("uts mode", "invalid UTS mode: nope"),
    *_refused("long host name", 'hostname "h*" is too long .*'),
    *_refused("mac address", "address x: invalid MAC address"),
    *_refused("port", 'invalid port specification: "80/nope"'),
]

_JSON = "the text of release 23: invalid JSON is named"
_EMPTY = "release 23 and later take no body for an empty one"
_BODY = "release 29 does not look at a start's body"
_KERNEL = "kernel memory limits are gone since release 23"

OTHER = [
    Allowed("creates: kernel memory*", "*", ".*", _KERNEL),
    Allowed("events: container <kernel memory>", "", ".*", _KERNEL),
    Allowed("parameters: start with a body", "*", ".*", _BODY),
    Allowed("parameters: update without a body", "*", ".*", _EMPTY),
    Allowed("events: container <on>", "*", f"{ABSENT} → .*'update'.*", _EMPTY),
    *_text("got EOF while reading request body", "No exec command specified", _EMPTY),
    *_text("(?P<json>EOF|json: .*|invalid character .*)", "invalid JSON: (?P=json)", _JSON),
    *_text(r"json: (?P<a>.*) ContainerConfigWrapper(?P<b>\..*)", "invalid JSON: json: (?P=a) (?P=b)", _JSON),
    Allowed("parameters: too new", "body.message", ".*1.41' → .*1.56'", "our API is newer"),
]

TEXTS = [
    *_text("(?i:(?P<same>.*))", "(?i:(?P=same))", "errors begin in lower case since release 23 or later"),
    *_text("bad parameter: pathcannot be empty", "bad parameter: path cannot be empty"),
    *_text("lstat <folder>: not a directory", "lstat /.*: not a directory", "no host folder in our texts"),
    *_text(r"Error processing tar file\(exit status 1\): (?P<rest>.*)", "(?P=rest)"),
    *_text(
        "(?P<a>.*): repository name must be lowercase", r"(?P=a): repository name \(.*\) must be lowercase"
    ),
    *_text("(?P<cause>failed to create shim task: .*)", "failed to create task for container: (?P=cause)"),
    *_text(r'Invalid isolation: "hyperv" - (?P<rest>.*)', r"invalid isolation \(hyperv\): (?P=rest)"),
    *_text(
        r"Content-Type specified \(text/plain\) (?P<rest>.*)",
        r"unsupported Content-Type header \(text/plain\): (?P=rest)",
    ),
    *_text("invalid restart policy 'x'", "invalid restart policy: unknown policy 'x'; use one of .*"),
    *_text("(?P<text>maximum retry count can).*", "invalid restart policy: (?P=text).*"),
    *_text("Unknown runtime specified nope", "unknown or invalid runtime name: nope"),
    *_text(".* be connected to network endpoints: .*", ".* be created with multiple network endpoints: a, b"),
    *_text(
        "You cannot remove a running container .*",
        'cannot remove container "df-.*": container is running: .*',
    ),
    *_text("Error: Exec command (?P<rest>.*)", "exec command (?P=rest)"),
    *_text("no such container no-such", "No such container: no-such"),
    *_text("(?P<rest>strconv.Atoi: .*)", "invalid filter 'exited=x': (?P=rest)"),
    *_text("invalid character 'x' looking .*", "invalid filter", step="lists: bad filters"),
    *_text("Unrecognised filter value for health: x", ".*invalid value for health .*"),
    *_text("Invalid filter 'status=x'", ".*invalid value for state .*"),
    *_text(
        "(?P<a>error while .*): strconv.ParseUint: .*: (?P<b>.*)", "(?P=a): invalid start port '.*': (?P=b)"
    ),
    *_text("strconv.ParseInt: .*", 'invalid value for "since": .*', step="logs: *"),
    *_text(".* you must choose at least one stream", "must specify at least one of 'stdout' or 'stderr'"),
    *_text("strconv.Atoi: .*", 'invalid resize (height|width) "x": invalid syntax'),
    *_text("Invalid signal: (?P<signal>.*)", "cannot kill container: df-on: invalid signal: (?P=signal)"),
    *_text(
        'failed to parse value as time or duration: "x"', "failed to parse value as .*invalid timestamp .*"
    ),
    *_text("(?P<a>error gathering .*): no such .*", "(?P=a): lstat /dev/no-such: no such file or directory"),
]

ALLOWED: list[Allowed] = [*FIELDS, *REFUSED, *OTHER, *TEXTS]
