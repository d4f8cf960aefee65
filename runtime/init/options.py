"""OCI mount options: strings as in mount(8) to flags, attributes and data.

The table follows the OCI runtime spec, "Linux mount options", and runc's reading of it.
"""

from __future__ import annotations

from runtime import syscalls as s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# option: (MS_* flag for mount(2), attribute for mount_setattr(2), whether the option clears it)
FLAGS: dict[str, tuple[int, int, bool]] = {
    "ro": (s.MS_RDONLY, s.MOUNT_ATTR_RDONLY, False),
    "rw": (s.MS_RDONLY, s.MOUNT_ATTR_RDONLY, True),
    "nosuid": (s.MS_NOSUID, s.MOUNT_ATTR_NOSUID, False),
    "suid": (s.MS_NOSUID, s.MOUNT_ATTR_NOSUID, True),
    "nodev": (s.MS_NODEV, s.MOUNT_ATTR_NODEV, False),
    "dev": (s.MS_NODEV, s.MOUNT_ATTR_NODEV, True),
    "noexec": (s.MS_NOEXEC, s.MOUNT_ATTR_NOEXEC, False),
    "exec": (s.MS_NOEXEC, s.MOUNT_ATTR_NOEXEC, True),
    "noatime": (s.MS_NOATIME, s.MOUNT_ATTR_NOATIME, False),
    "atime": (s.MS_NOATIME, s.MOUNT_ATTR_NOATIME, True),
    "relatime": (s.MS_RELATIME, 0, False),
    "norelatime": (s.MS_RELATIME, 0, True),
    "strictatime": (s.MS_STRICTATIME, s.MOUNT_ATTR_STRICTATIME, False),
    "nostrictatime": (s.MS_STRICTATIME, s.MOUNT_ATTR_STRICTATIME, True),
    "nodiratime": (s.MS_NODIRATIME, s.MOUNT_ATTR_NODIRATIME, False),
    "diratime": (s.MS_NODIRATIME, s.MOUNT_ATTR_NODIRATIME, True),
    "nosymfollow": (s.MS_NOSYMFOLLOW, s.MOUNT_ATTR_NOSYMFOLLOW, False),
    "symfollow": (s.MS_NOSYMFOLLOW, s.MOUNT_ATTR_NOSYMFOLLOW, True),
    "sync": (s.MS_SYNCHRONOUS, 0, False),
    "async": (s.MS_SYNCHRONOUS, 0, True),
    "dirsync": (s.MS_DIRSYNC, 0, False),
    "mand": (s.MS_MANDLOCK, 0, False),
    "nomand": (s.MS_MANDLOCK, 0, True),
    "silent": (s.MS_SILENT, 0, False),
    "loud": (s.MS_SILENT, 0, True),
    "lazytime": (s.MS_LAZYTIME, 0, False),
    "nolazytime": (s.MS_LAZYTIME, 0, True),
    "remount": (s.MS_REMOUNT, 0, False),
    "defaults": (0, 0, False),
    "iversion": (1 << 23, 0, False),
    "noiversion": (1 << 23, 0, True),
    "bind": (s.MS_BIND, 0, False),
    "rbind": (s.MS_BIND | s.MS_REC, 0, False),
}
PROPAGATION = {
    "private": s.MS_PRIVATE,
    "shared": s.MS_SHARED,
    "slave": s.MS_SLAVE,
    "unbindable": s.MS_UNBINDABLE,
    "rprivate": s.MS_PRIVATE | s.MS_REC,
    "rshared": s.MS_SHARED | s.MS_REC,
    "rslave": s.MS_SLAVE | s.MS_REC,
    "runbindable": s.MS_UNBINDABLE | s.MS_REC,
}


# An option of ours, not OCI's: a folder of a volume is mounted, and who writes to the volume may put a link
# in its place after the path was looked at.
WITHIN = "x-compat.within="
# Another: what the mount point is made of is told to who starts the container, and taken away afterwards.
STUB = "x-compat.stub"


class MountOptions:
    """flags: MS_*; set/clear: MOUNT_ATTR_* of the mount itself; rset/rclear: of the whole tree (`rro` …);
    propagation: MS_* in the given order; data: what the filesystem itself gets; copyup: `tmpcopyup`;
    within: the folder that a bind's source must not lead out of, by no link; stub (both ours): see STUB."""

    __slots__ = ("clear", "copyup", "data", "flags", "propagation", "rclear", "rset", "set", "stub", "within")

    def __init__(self) -> None:
        self.flags = self.set = self.clear = self.rset = self.rclear = 0
        self.propagation: list[int] = []
        self.data: list[str] = []
        self.copyup = self.stub = False
        self.within = ""

    @property
    def bind(self) -> bool:
        return bool(self.flags & s.MS_BIND)


def parse(options: Iterable[str]) -> MountOptions:
    result = MountOptions()
    for option in options:
        if option in FLAGS:
            flag, attribute, clears = FLAGS[option]
            if clears:
                result.flags &= ~flag
                result.set, result.clear = result.set & ~attribute, result.clear | attribute
            else:
                result.flags |= flag
                result.set, result.clear = result.set | attribute, result.clear & ~attribute
        elif option in PROPAGATION:
            result.propagation.append(PROPAGATION[option])
        elif option[:1] == "r" and option[1:] in FLAGS and FLAGS[option[1:]][1]:
            _, attribute, clears = FLAGS[option[1:]]
            if clears:
                result.rclear |= attribute
            else:
                result.rset |= attribute
        elif option in ("rrelatime", "rnorelatime"):  # the mode whose bits are all zero
            result.rclear |= s.MOUNT_ATTR_ATIME_MASK
        elif option == STUB:
            result.stub = True
        elif option == "tmpcopyup":
            result.copyup = True
        elif option.startswith(WITHIN):
            result.within = option[len(WITHIN) :]
        elif option:
            result.data.append(option)
    return result


def attributes(set_: int, clear: int) -> tuple[int, int]:
    """Arguments of mount_setattr: a change of the atime mode must clear the whole field first."""
    if (set_ | clear) & s.MOUNT_ATTR_ATIME_MASK:
        clear |= s.MOUNT_ATTR_ATIME_MASK
    return set_, clear & ~(set_ & ~s.MOUNT_ATTR_ATIME_MASK)
