"""Print how many tests of a JUnit report passed, failed and were skipped: `counts.py REPORT`."""

import sys
from xml.etree import ElementTree


def main() -> int:
    """One line of three numbers; an error counts as a failure."""
    root = ElementTree.parse(sys.argv[1]).getroot()  # noqa: S314 - our own report
    total = failed = skipped = 0
    for suite in root.iter("testsuite"):
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    print(max(total - failed - skipped, 0), failed, skipped)
    return 0


if __name__ == "__main__":
    sys.exit(main())
