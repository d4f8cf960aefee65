"""Ubuntu 24.04, which no test can install: the package's dependencies by its names."""

import re
import subprocess
from pathlib import Path

from tests.package.noble import PACKAGES


def relations(deb: Path, field: str) -> list[str]:
    """The package's relations of a kind, one string each."""
    text = subprocess.run(["dpkg-deb", "-f", deb, field], capture_output=True, text=True, check=True).stdout
    return [part.strip() for part in text.split(",") if part.strip()]


def satisfied(relation: str) -> bool:
    """Whether a package of PACKAGES fulfils one `name (operator version)`."""
    match = re.fullmatch(r"([a-z0-9+.-]+)(?: \((<<|<=|=|>=|>>) (\S+)\))?", relation.strip())
    assert match, relation
    name, operator, version = match.groups()
    if name not in PACKAGES:
        return False
    if operator is None:
        return True
    compare = ["dpkg", "--compare-versions", PACKAGES[name], operator, version]
    return subprocess.run(compare, check=False).returncode == 0


def test_ubuntu_has_all_that_is_depended_on(deb: Path) -> None:
    wanted = relations(deb, "Depends") + relations(deb, "Pre-Depends")
    assert len(wanted) > 5
    assert [one for one in wanted if not any(map(satisfied, one.split("|")))] == []
