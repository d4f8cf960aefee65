"""What a child tells its parent when it is ready."""

from runtime.init import child


def test_warnings_and_mount_points() -> None:
    for warnings, made in (([], []), (["one", "two"], ["/a", "/a/b c"]), ([], ["/a"]), (["w"], [])):
        ours, theirs = child.pair()
        parent = child.Child(0, ours)
        child.send_ready(theirs, warnings, -1, made)
        parent.wait_ready()
        assert (parent.warnings, parent.made) == (warnings, made)
        ours.close()
        theirs.close()
