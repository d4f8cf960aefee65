"""What a container sees mounted."""

import os
from typing import Any

import pytest

from tests.integration.initkit import Box, box

__all__ = ["box"]
pytestmark = pytest.mark.root


class TestMounts:
    def test_a_read_only_bind(self, box: Box) -> None:
        source = box.base / "volume"
        source.mkdir()
        (source / "file").write_text("content")
        box.mount(source, "/data/deep", "rbind", "ro")
        result = box.run("sh", "-c", "cat /data/deep/file; echo x > /data/deep/new")
        assert result.out == "content"
        assert "Read-only file system" in result.err

    def test_a_file_on_a_missing_file(self, box: Box) -> None:
        source = box.base / "hosts"
        source.write_text("127.0.0.1 box\n")
        box.mount(source, "/etc/deep/hosts", "rbind", "rprivate")
        assert (
            box.run("sh", "-c", "cat /etc/deep/hosts; echo more >> /etc/deep/hosts").out == "127.0.0.1 box\n"
        )
        assert source.read_text().endswith("more\n")

    def test_a_link_in_the_image_is_followed_inside(self, box: Box) -> None:
        (box.tree / "link").symlink_to("/real")
        source = box.base / "volume"
        source.mkdir()
        box.mount(source, "/link/data", "bind")
        assert box.run("sh", "-c", "echo x > /real/data/file").code == 0
        assert (source / "file").exists()

    def test_recursive_read_only(self, box: Box) -> None:
        outer, inner = box.base / "outer", box.base / "inner"
        (outer / "in").mkdir(parents=True)
        inner.mkdir()
        box.mount(outer, "/a", "rbind", "rro", "nosuid")
        box.mount(inner, "/b", "bind", "noexec")
        result = box.run("sh", "-c", "grep -E ' /(a|b) ' /proc/self/mountinfo")
        first, second = (line.split()[5] for line in result.out.splitlines())
        assert {"ro", "nosuid"} <= set(first.split(","))
        assert {"rw", "noexec"} <= set(second.split(","))

    def test_tmpfs(self, box: Box) -> None:
        (box.tree / "sticky").mkdir(mode=0o755)
        (box.tree / "sticky").chmod(0o1777)
        box.mount("tmpfs", "/sticky", "size=64k", "noexec", kind="tmpfs")
        box.mount("tmpfs", "/ro", "ro", "mode=700", kind="tmpfs")
        box.mount("tmpfs", "/fresh", kind="tmpfs")
        result = box.run(
            "sh", "-c", "stat -c %a /sticky /ro /fresh; echo x > /ro/x; cat /dev/zero > /sticky/big"
        )
        assert result.out == "1777\n700\n1777\n"
        assert "Read-only file system" in result.err
        assert "No space left" in result.err

    def test_copy_up(self, box: Box) -> None:
        (box.tree / "seed/sub").mkdir(parents=True)
        (box.tree / "seed/sub/file").write_text("text")
        os.chown(box.tree / "seed/sub/file", 1000, 1001)
        (box.tree / "seed/link").symlink_to("sub/file")
        box.mount("tmpfs", "/seed", "tmpcopyup", kind="tmpfs")
        result = box.run("sh", "-c", "cat /seed/link; stat -c ' %u:%g' /seed/sub/file; echo x > /seed/new")
        assert result.out == "text 1000:1001\n"
        assert list(box.upper.glob("seed/*")) == []

    def test_the_container_sees_its_own_cgroup_only(self, box: Box) -> None:
        result = box.run(
            "sh",
            "-c",
            "cat /proc/self/cgroup; ls /sys/fs/cgroup; for c in /sys/fs/cgroup/*; do mkdir $c/x; done",
        )
        for line in result.out.splitlines():
            if line[0].isdigit() and not line.startswith("0::"):
                assert line.endswith(f"{box.group}/c")
        assert "Read-only file system" in result.err

    @pytest.mark.parametrize(
        ("mount", "text"),
        [
            (
                {"destination": "/x", "type": "bind", "source": "/nonexistent-here", "options": ["rbind"]},
                'error mounting "/nonexistent-here" to rootfs at "/x": stat /nonexistent-here: '
                "no such file or directory",
            ),
            (
                {"destination": "/etc/passwd", "type": "bind", "source": "/tmp", "options": ["rbind"]},
                'error mounting "/tmp" to rootfs at "/etc/passwd": mount /tmp:/etc/passwd '
                "(via /proc/self/fd/6), flags: 0x5000: not a directory",
            ),
            (
                {"destination": "/y", "type": "nofs", "source": "nofs"},
                'error mounting "nofs" to rootfs at "/y": mount nofs:/y (via /proc/self/fd/6): '
                "no such device",
            ),
            (
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["bogus=1"]},
                'error mounting "tmpfs" to rootfs at "/tmp": mount tmpfs:/tmp (via /proc/self/fd/6), '
                "data: bogus=1: invalid argument",
            ),
        ],
    )
    def test_failures_have_runcs_words(self, box: Box, mount: dict[str, Any], text: str) -> None:
        box.spec["mounts"].append(mount)
        result = box.run("true")
        assert result.error == f"unable to start container process: error during container init: {text}"
