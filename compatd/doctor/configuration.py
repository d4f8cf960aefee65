"""daemon.json: whether the daemon takes it."""

from compatd.config import Config, ConfigError, load
from compatd.config.config import DEFAULT_FILE
from compatd.doctor.finding import OK, PROBLEM, WARNING, Finding
from compatd.doctor.machine import Machine

NAME = "configuration"


def read(machine: Machine, file: str | None) -> tuple[Config, list[Finding]]:
    """The configuration, the default one when the file is wrong, and what is to be said of the file."""
    path = file or DEFAULT_FILE
    if not machine.exists(path):
        if file is None:
            return _default(), [Finding(NAME, OK, f"there is no {path}: all is as it comes")]
        return _default(), [Finding(NAME, PROBLEM, f"there is no {path}", [f"echo '{{}}' >{path}"])]
    try:
        machine.path(path).read_bytes()
    except OSError:
        return _default(), [Finding(NAME, WARNING, f"this user may not read {path}", ["sudo compatd doctor"])]
    try:
        config = load({}, str(machine.path(path)))
    except ConfigError as error:
        text = f"the daemon does not start with {path}: {error}"
        return _default(), [
            Finding(NAME, PROBLEM, text, [f"editor {path}", f"dockerd --validate --config-file {path}"])
        ]
    findings = [Finding(NAME, WARNING, note, [f"editor {path}"]) for note in config.notes]
    if config.given.get("hosts") and machine.exists("/run/systemd/system"):
        findings += _hosts_twice(machine, path)
    return config, findings or [Finding(NAME, OK, f"{path} is as it should be")]


def _hosts_twice(machine: Machine, path: str) -> list[Finding]:
    unit = machine.run("systemctl", "show", "docker.service", "--property=ExecStart").output
    if " -H " not in unit and " --host" not in unit:
        return []
    return [
        Finding(
            NAME,
            PROBLEM,
            f'"hosts" stands in {path} and in the unit: the daemon does not start with both',
            ["systemctl edit docker.service", "there: [Service], ExecStart=, ExecStart=/usr/bin/dockerd"],
        )
    ]


def _default() -> Config:
    """What there is without a file: our own machine's must not be read in its place."""
    return load({}, "/dev/null")
