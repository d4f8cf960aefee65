"""The command line of `compatd fsck`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from compatd.config import ConfigError, load
from compatd.config.config import DEFAULT_FILE
from compatd.fsck.buildcache import BuildCacheCheck
from compatd.fsck.folders import CLASSES, FolderCheck, held_layers
from compatd.fsck.images import ImageCheck
from compatd.fsck.report import Report
from compatd.fsck.state import State
from compatd.store import Store, StoreError
from runtime.storage.drivers import open_storage

OK, REPAIRED, LEFT, FAILED, USAGE = 0, 1, 4, 8, 16

_DESCRIPTION = """\
Accounts for every byte below the data root: names layers, blobs, containers' folders and volumes that nothing
mentions, and content that is missing or damaged. Only looks, unless --repair is given."""

_EPILOG = """\
--repair removes what nothing mentions, takes up volumes with content that the state does not know, and
forgets images whose layers are missing or damaged (pull or load them again). What a container needs it never
removes.

exit codes, as of fsck(8):
  0   nothing is wrong
  1   something was wrong, and all of it is repaired
  4   something is wrong and was left
  8   the check could not be made: a daemon runs on this data root, or it is none
  16  wrong usage
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        print(f"{message}\nSee 'compatd fsck --help'.", file=sys.stderr)
        raise SystemExit(USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "compatd fsck",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config-file", help=f"daemon configuration file (default {DEFAULT_FILE})")
    parser.add_argument("--data-root", help="root of the daemon's state (default: as configured)")
    parser.add_argument("--repair", action="store_true", help="put right what can be")
    parser.add_argument(
        "--deep", action="store_true", help="read all content and compare it with its digests"
    )
    parser.add_argument("--quiet", action="store_true", help="name problems only")
    return parser


def main(words: Sequence[str]) -> int:
    """Check a data root and say what was found on stdout. Returns the exit code (see `--help`)."""
    arguments = _parser().parse_args(words)
    try:
        flags = {"data-root": arguments.data_root} if arguments.data_root else {}
        if arguments.data_root and not arguments.config_file:
            data_root, driver = Path(arguments.data_root), "overlay2"
        else:
            config = load(flags, arguments.config_file)
            data_root, driver = Path(config.data_root), config.storage_driver
    except ConfigError as error:
        print(error, file=sys.stderr)
        return FAILED
    try:
        report = check(data_root.resolve(), driver, deep=arguments.deep, repair=arguments.repair)
    except (StoreError, OSError) as error:
        print(f"cannot check {data_root}: {error}", file=sys.stderr)
        return FAILED
    _show(report, quiet=arguments.quiet)
    if not report.problems:
        return OK
    return REPAIRED if all(problem.state == "repaired" for problem in report.problems) else LEFT


def check(data_root: Path, driver: str, *, deep: bool, repair: bool) -> Report:
    """Check, and repair if asked. Raises StoreError (in use, unreadable), OSError."""
    root = data_root / "compatd"
    if not (root / "state.db").is_file():
        raise StoreError("it has no state of compatd's")
    if os.geteuid() != 0:
        raise StoreError("only root can")
    store = Store(root)
    try:
        report = Report()
        state = State(store)
        state.check(report)
        storage = open_storage(driver, root)
        storage.make_folders()  # as every start of the daemon does: an empty folder more is no problem
        FolderCheck(state, storage, data_root, report).run()
        cache = BuildCacheCheck(state, storage, report)
        cache.run()
        ImageCheck(state, storage, held_layers(state), report, cached=cache.held).run(deep=deep)
        report.count(data_root, CLASSES)
        if repair:
            report.repair()
            storage.settle()
        return report
    finally:
        store.close()


def _show(report: Report, *, quiet: bool) -> None:
    for problem in report.problems:
        print(problem.line())
    if quiet:
        return
    for name, size in sorted(report.usage.items()):
        print(f"{name:12} {size:>16} bytes")
    if not report.problems:
        print("nothing is wrong")
        return
    left = sum(problem.state != "repaired" for problem in report.problems)
    print(f"{len(report.problems)} problems, {len(report.problems) - left} repaired")
