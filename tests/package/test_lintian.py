"""What Debian's own checker says of the package."""

import subprocess
from pathlib import Path


def test_no_errors(deb: Path) -> None:
    done = subprocess.run(
        ["lintian", "--fail-on", "error", "--allow-root", deb],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
