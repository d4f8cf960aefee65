from runtime import syscalls as s
from runtime.init.options import attributes, parse


def test_flags_attributes_and_data() -> None:
    options = parse(["nosuid", "noexec", "nodev", "mode=755", "size=65536k", "rprivate"])
    assert options.flags == s.MS_NOSUID | s.MS_NOEXEC | s.MS_NODEV
    assert options.set == s.MOUNT_ATTR_NOSUID | s.MOUNT_ATTR_NOEXEC | s.MOUNT_ATTR_NODEV
    assert options.data == ["mode=755", "size=65536k"]
    assert options.propagation == [s.MS_PRIVATE | s.MS_REC]
    assert not options.bind


def test_the_last_of_opposites_counts() -> None:
    options = parse(["ro", "rw"])
    assert (options.flags, options.set, options.clear) == (0, 0, s.MOUNT_ATTR_RDONLY)
    options = parse(["rw", "ro"])
    assert (options.flags, options.set, options.clear) == (s.MS_RDONLY, s.MOUNT_ATTR_RDONLY, 0)


def test_bind_kinds() -> None:
    assert parse(["bind"]).flags == s.MS_BIND
    assert parse(["rbind"]).flags == s.MS_BIND | s.MS_REC
    assert parse(["rbind", "ro"]).bind


def test_recursive_read_only_is_of_the_tree_alone() -> None:
    options = parse(["rbind", "rro"])
    assert (options.set, options.rset) == (0, s.MOUNT_ATTR_RDONLY)
    assert parse(["rnosuid"]).rset == s.MOUNT_ATTR_NOSUID
    assert parse(["rrw"]).rclear == s.MOUNT_ATTR_RDONLY


def test_copy_up_is_no_option_of_the_filesystem() -> None:
    options = parse(["tmpcopyup", "size=1m", ""])
    assert options.copyup
    assert options.data == ["size=1m"]


def test_a_new_atime_mode_replaces_the_whole_field() -> None:
    assert attributes(s.MOUNT_ATTR_NOATIME, 0) == (s.MOUNT_ATTR_NOATIME, s.MOUNT_ATTR_ATIME_MASK)
    assert attributes(s.MOUNT_ATTR_RDONLY, 0) == (s.MOUNT_ATTR_RDONLY, 0)


def test_the_options_whose_bits_are_zero() -> None:
    assert parse(["lazytime", "nolazytime"]).flags == 0
    for option in ("rrelatime", "rnorelatime"):
        parsed = parse([option])
        assert (parsed.rset, parsed.rclear, parsed.data) == (0, s.MOUNT_ATTR_ATIME_MASK, [])
