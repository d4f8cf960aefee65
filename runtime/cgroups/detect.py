"""Which cgroup hierarchies are mounted, and where: from /proc/self/mountinfo (proc(5))."""

from __future__ import annotations

_NOT_CONTROLLERS = frozenset(
    "rw ro relatime noatime nosuid nodev noexec xattr clone_children noprefix nsdelegate "
    "cpuset_v2_mode memory_recursiveprot memory_localevents".split()
)


class Layout:
    """version: 1 or 2. folders: v1 controller name (`memory`, `name=systemd`) → mount point; co-mounted
    controllers share one. unified: mount point of the v2 hierarchy or '' (in the hybrid layout it is there
    too).
    """

    __slots__ = ("folders", "unified", "version")

    def __init__(self, version: int, folders: dict[str, str], unified: str) -> None:
        self.version, self.folders, self.unified = version, folders, unified

    @property
    def hybrid(self) -> bool:
        return self.version == 1 and bool(self.unified)


_found: Layout | None = None


def detect() -> Layout:
    """The machine's layout; looked up once a process."""
    global _found
    if _found is None:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            _found = parse(file.read())
    return _found


def parse(mountinfo: str) -> Layout:
    """`detect` on the text of a mountinfo file. The first mount of a hierarchy counts."""
    folders: dict[str, str] = {}
    unified = ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, rest = after.partition(" ")
        if kind not in ("cgroup", "cgroup2"):
            continue
        fields = before.split(" ")
        if fields[3] != "/" and (kind == "cgroup2" or not fields[3].startswith("/..")) and unified:
            continue
        folder = _unescape(fields[4])
        if kind == "cgroup2":
            unified = unified or folder
            continue
        for option in rest.rpartition(" ")[2].split(","):
            if option not in _NOT_CONTROLLERS and ("=" not in option or option.startswith("name=")):
                folders.setdefault(option, folder)
    return Layout(1 if folders else 2, folders, unified)


def _unescape(path: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path
