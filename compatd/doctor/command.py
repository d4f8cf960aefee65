"""The command line of `compatd doctor`."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence

from compatd.doctor import (
    cgroups,
    client,
    configuration,
    conflicts,
    daemon,
    firewall,
    kernel,
    limits,
    names,
    storage,
)
from compatd.doctor.finding import OK, PROBLEM, WARNING, Finding
from compatd.doctor.machine import Machine

_DESCRIPTION = """\
Looks for what keeps the daemon, a container or a client from working, and says what to do. It changes
nothing, and needs not be root: as root it sees more, as a user it tells about this user's rights. Begin here
when docker says "Cannot connect to the Docker daemon"."""

_EPILOG = """\
checks: kernel, cgroups, limits (and the clock), storage (the data root), firewall, names (name resolution),
configuration (daemon.json), others (another engine), daemon (process, sockets, units), client (DOCKER_HOST,
contexts, rights to the socket, membership in the group).

exit codes:
  0   no problem (there may be warnings)
  1   a problem was found
  2   wrong usage
"""
_MARKS = {OK: "ok", WARNING: "WARNING", PROBLEM: "PROBLEM"}


def main(words: Sequence[str]) -> int:
    """Check this machine and say what was found on stdout. Returns the exit code (see `--help`)."""
    parser = argparse.ArgumentParser(
        "compatd doctor",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config-file", help="daemon configuration file (default /etc/docker/daemon.json)")
    parser.add_argument("--json", action="store_true", help="one JSON document: findings with what to do")
    parser.add_argument("--quiet", action="store_true", help="only problems and warnings")
    arguments = parser.parse_args(words)
    findings = list(examine(Machine(), arguments.config_file))
    shown = [finding for finding in findings if finding.level != OK or not arguments.quiet]
    problems = sum(finding.level == PROBLEM for finding in findings)
    warnings = sum(finding.level == WARNING for finding in findings)
    if arguments.json:
        document = {"problems": problems, "warnings": warnings, "findings": [f.shown() for f in shown]}
        json.dump(document, sys.stdout, indent=2)
        print()
    else:
        for finding in shown:
            print(f"{_MARKS[finding.level]:8}{finding.check:14}{finding.text}")
            for step in finding.do:
                print(f"{'':22}-> {step}")
        print(f"{problems} problems, {warnings} warnings")
    return 1 if problems else 0


def examine(machine: Machine, config_file: str | None = None) -> Iterator[Finding]:
    """All checks of a machine, in the order in which they build on each other."""
    yield from kernel.check(machine)
    yield from cgroups.check(machine)
    yield from limits.check(machine)
    config, findings = configuration.read(machine, config_file)
    yield from findings
    yield from storage.check(machine, config)
    yield from firewall.check(machine, config)
    yield from names.check(machine, config)
    yield from conflicts.check(machine, config)
    yield from daemon.check(machine, config)
    yield from client.check(machine, daemon.served(config))
