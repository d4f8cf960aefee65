"""Handlers of binfmt_misc, as Debian's qemu-user-static registers them."""

from pathlib import Path

import pytest

from compatd.engine.builder.exporting.emulation import emulated

ENTRY = (
    "enabled\ninterpreter /usr/libexec/qemu-binfmt/x-binfmt-P\nflags: POCF\noffset {}\nmagic {}\nmask ff\n"
)
ARM64 = "7f454c460201010000000000000000000200b700"
ARM = "7f454c4601010100000000000000000002002800"
S390X = "7f454c4602020100000000000000000000020016"
MIPS32 = "7f454c4601010100000000000000000002000800"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "register").write_text("")
    (tmp_path / "python3").write_text(ENTRY.format(0, "a70d0d0a"))
    return tmp_path


def test_handlers_by_machine(folder: Path) -> None:
    for name, magic in (("a64", ARM64), ("arm", ARM), ("s", S390X), ("m", MIPS32)):
        (folder / name).write_text(ENTRY.format(0, magic))
    found = [str(one) for one in emulated(folder)]
    assert found == ["linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/s390x"]


def test_what_is_disabled_or_elsewhere(folder: Path) -> None:
    (folder / "off").write_text(ENTRY.format(0, ARM64).replace("enabled", "disabled"))
    (folder / "later").write_text(ENTRY.format(4, ARM64))
    (folder / "odd").write_text(ENTRY.format(0, "zz"))
    (folder / "empty").write_text("")
    (folder / "name").write_text("enabled\ninterpreter /bin/x\nextension .exe\n")
    assert emulated(folder) == []


def test_not_mounted(tmp_path: Path) -> None:
    assert emulated(tmp_path / "none") == []
