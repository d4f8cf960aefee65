"""Mount points that do not stay: only those made for a mount, only while empty, and no link is followed."""

import json
import os
from pathlib import Path

from compatd.engine.builder.running import stubs


def test_empty_ones_go_and_the_folder_above_keeps_its_time(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hosts").touch()
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    os.utime(tmp_path / "etc", ns=(5, 7))
    stubs.remove(tmp_path, ["/etc/hosts", "/a", "/a/b", "/a/b/c"])
    assert os.listdir(tmp_path) == ["etc"]
    assert os.listdir(tmp_path / "etc") == []
    assert (tmp_path / "etc").stat().st_mtime_ns == 7


def test_what_has_got_content_stays(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("mine")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").touch()
    (tmp_path / "fifo").parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / "fifo")
    stubs.remove(tmp_path, ["/hosts", "/a", "/a/b", "/fifo", "/missing/deep"])
    assert sorted(os.listdir(tmp_path)) == ["a", "fifo", "hosts"]
    assert os.listdir(tmp_path / "a") == ["file"]


def test_links_of_the_command_lead_nowhere(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "empty").mkdir(parents=True)
    (outside / "file").touch()
    root.mkdir()
    (root / "a").symlink_to(outside)
    (root / "b").symlink_to(outside / "file")
    stubs.remove(root, ["/a/empty", "/a/file", "/b", "/../outside/file"])
    assert sorted(os.listdir(outside)) == ["empty", "file"]
    assert (root / "b").is_symlink()


def test_what_was_made_is_in_the_bundle(tmp_path: Path) -> None:
    assert stubs.made(tmp_path) == []
    (tmp_path / "state.json").write_text(json.dumps({"pid": 5, "made": ["/a", "/a/b", 7]}))
    assert stubs.made(tmp_path) == ["/a", "/a/b"]
    (tmp_path / "state.json").write_text("{")
    assert stubs.made(tmp_path) == []
