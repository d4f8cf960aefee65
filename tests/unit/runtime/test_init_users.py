"""Users as moby's parser resolves them, and the inputs that were once exploits."""

import os
from pathlib import Path

import pytest

from runtime.init import users
from runtime.init.errors import UserError

ACCOUNTS = """root:x:0:0:root:/root:/bin/sh
bob:x:1000:1001::/home/bob:/bin/sh
# a comment:x:5:5
nohome:x:1002:1002:::
1000x:x:77:77::/odd:
0:x:4242:4242::/evil:
short:x:9
"""
GROUP = """root:x:0:
wheel:x:10:bob,other
staff:x:50:other,bob
bobs:x:1001:
7:x:4242:bob2
"""


def match(user: str, *extra: str) -> tuple[int, int, list[int], str]:
    found = users.match(ACCOUNTS, GROUP, user, extra)
    return found.uid, found.gid, found.groups, found.home


@pytest.mark.parametrize(
    ("user", "result"),
    [
        ("", (0, 0, [], "/root")),
        ("root", (0, 0, [], "/root")),
        ("bob", (1000, 1001, [10, 50], "/home/bob")),
        ("1000", (1000, 1001, [10, 50], "/home/bob")),
        ("bob:staff", (1000, 50, [], "/home/bob")),
        ("bob:0", (1000, 0, [], "/home/bob")),
        ("1234", (1234, 0, [], "/")),
        ("1234:5678", (1234, 5678, [], "/")),
        ("nohome", (1002, 1002, [], "/")),
        ("1000x", (77, 77, [], "/odd")),
        ("short", (9, 0, [], "/")),
        ("2147483647", (2147483647, 0, [], "/")),
    ],
)
def test_resolved(user: str, result: tuple[int, int, list[int], str]) -> None:
    assert match(user) == result


def test_additional_groups_by_name_and_number_without_doubles() -> None:
    assert match("bob", "wheel", "50", "99", "root")[2] == [10, 50, 99, 0]


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("nope", "unable to find user nope: no matching entries in passwd file"),
        ("root:nope", "unable to find group nope: no matching entries in group file"),
        ("2147483648", "uids and gids must be in range 0-2147483647"),
        ("4294967296", "uids and gids must be in range 0-2147483647"),
        ("0:4294967296", "uids and gids must be in range 0-2147483647"),
        (
            "99999999999999999999",
            "unable to find user 99999999999999999999: no matching entries in passwd file",
        ),
    ],
)
def test_refused(user: str, text: str) -> None:
    with pytest.raises(UserError) as caught:
        match(user)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "user", ["+1", "-1", " 1", "1 ", "0x0", "\u0661", "1_0", "0:+1", "0:-1", "0: 1", "1:", ":", "a:b:c"]
)
def test_cve_2026_46680_no_number_but_plain_digits(user: str) -> None:
    with pytest.raises(UserError):
        match(user)


def test_cve_2026_30892_a_user_named_with_digits_is_not_looked_up_by_name() -> None:
    assert match("0")[0] == 0
    assert match("0:7")[1] == 7


def test_cve_2026_47262_a_huge_file_is_cut_at_a_whole_line(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    line = "x:x:1:1::/:\n"
    with (tmp_path / "etc/passwd").open("w") as file:
        file.write(line * (users.MAX_FILE // len(line)) + "evil:x:0:0::/:\n" * 10)
    root = os.open(tmp_path, os.O_PATH)
    try:
        text = users.read(root, "etc/passwd")
    finally:
        os.close(root)
    assert len(text) <= users.MAX_FILE
    assert text.endswith("\n")
    assert "evil" not in text


@pytest.mark.parametrize("kind", ["missing", "fifo", "folder", "outside"])
def test_what_is_no_ordinary_file_inside_the_root_is_empty(tmp_path: Path, kind: str) -> None:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tmp_path / "secret").write_text("root:x:0:0::/:\n")
    place = tree / "etc/passwd"
    match kind:
        case "fifo":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
        case "outside":
            place.symlink_to(f"../../../../../../{tmp_path}/secret")
    root = os.open(tree, os.O_PATH)
    try:
        assert users.read(root, "etc/passwd") == ""
    finally:
        os.close(root)


def test_home_of_a_number(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(ACCOUNTS)
    root = os.open(tmp_path, os.O_PATH)
    try:
        assert users.home_of(root, 1000) == "/home/bob"
        assert users.home_of(root, 31337) == "/"
    finally:
        os.close(root)
