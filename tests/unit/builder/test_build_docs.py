"""docs/build.md names every instruction, flag, mount and parameter there is, and tests that exist."""

import re
from functools import cache
from pathlib import Path

from apispec import OPERATIONS
from compatd.engine.builder.dockerfile import mounts, typed

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "build.md").read_text()
ROW = re.compile(r"^\| (\S+) \|", re.MULTILINE)
FLAG = re.compile(r"^\| ([A-Z]+) \| `--([a-z-]+)` \| `", re.MULTILINE)
TEST = re.compile(r"`(test_\w+\.py)(?:::(test_\w+))?`")


@cache
def names_in(file: str) -> set[str]:
    """The tests of a file, wherever it is."""
    paths = [path for folder in ("conformance", "tests") for path in (ROOT / folder).rglob(file)]
    assert paths, file
    return {name for path in paths for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}


def section(title: str) -> str:
    return TEXT.partition(f"{title}\n")[2].partition("\n## ")[0].partition("\n### ")[0]


def test_every_instruction_and_flag_is_there() -> None:
    rows = section("## Instructions and flags")
    named = {row for row in ROW.findall(rows) if row.isupper()}
    assert named == {name.upper() for name in typed._MAKERS}
    known = {
        "COPY": typed._COPY, "ADD": typed._ADD, "RUN": typed._RUN, "HEALTHCHECK": typed._HEALTH,
        "FROM": ("platform",),
    }  # fmt: skip
    wanted = {(name, flag) for name, flags in known.items() for flag in flags}
    assert set(FLAG.findall(rows)) == wanted


def test_every_mount_is_there() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section("### Mounts of RUN"), re.MULTILINE)
    assert sorted(rows) == sorted(mounts.TYPES)


def test_every_parameter_is_there() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|", section("## Parameters of `POST /build`"), re.MULTILINE)
    assert sorted(rows) == sorted(param.name for param in OPERATIONS["ImageBuild"].params)


def test_the_tests_exist() -> None:
    found = TEST.findall(TEXT)
    assert len(found) > 80
    missing = [f"{file}::{test}" for file, test in found if test and test not in names_in(file)]
    assert not missing
    assert all(names_in(file) for file, test in found if not test)


def test_every_row_names_a_test() -> None:
    for title in ("## Instructions and flags", "### Mounts of RUN", "### The rest of the language"):
        for line in section(title).splitlines():
            if line.startswith("| ") and "shown by" not in line:
                assert TEST.search(line), line
