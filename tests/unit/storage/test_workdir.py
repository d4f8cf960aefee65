"""Whether an image has a folder, as seen from its layers (what is made: tests/integration)."""

from pathlib import Path

from runtime.storage.workdir import is_there


def test_a_folder_of_any_layer(tmp_path: Path) -> None:
    top, below = tmp_path / "top", tmp_path / "below"
    (top / "a").mkdir(parents=True)
    (below / "a/b/c").mkdir(parents=True)
    lower = [str(top), str(below)]
    assert is_there(lower, "/a")
    assert is_there(lower, "/a/b/c")
    assert is_there(lower, "/")
    assert not is_there(lower, "/a/b/d")
    assert not is_there(lower, "/nope")
    assert not is_there([], "/a")


def test_what_is_not_plain_has_to_be_looked_at(tmp_path: Path) -> None:
    top, below = tmp_path / "top", tmp_path / "below"
    (below / "a/b").mkdir(parents=True)
    (below / "f/g").mkdir(parents=True)
    top.mkdir()
    (top / "a").symlink_to("/elsewhere")
    (top / "f").touch()
    lower = [str(top), str(below)]
    assert not is_there(lower, "/a/b"), "the link may lead to somewhere else"
    assert not is_there(lower, "/f/g"), "the file hides the folder below"
