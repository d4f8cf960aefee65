"""`python -m conformance [--host HOST] [pytest arguments]`: hold an engine against the suite."""

import argparse
import os
import sys
from pathlib import Path

import pytest


def main() -> int:
    """Run pytest on this package. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument(
        "--host", help="the engine, as in DOCKER_HOST (default: DOCKER_HOST, or the usual socket)"
    )
    parser.add_argument(
        "--netns", help="the network namespace (a name of `ip netns`) that the engine lives in"
    )
    parser.add_argument("--cli", help="docker command lines to test with, colon-separated paths")
    options, others = parser.parse_known_args()
    chosen = {"DOCKER_HOST": options.host, "CONFORMANCE_NETNS": options.netns, "CONFORMANCE_CLI": options.cli}
    os.environ.update({key: value for key, value in chosen.items() if value})
    folder = Path(__file__).parent
    sys.path.insert(0, str(folder.parent))
    named = any(
        not argument.startswith("-") and Path(argument.split("::")[0]).exists() for argument in others
    )
    return int(pytest.main([*([] if named else [str(folder)]), "-p", "no:cacheprovider", *others]))


if __name__ == "__main__":
    sys.exit(main())
