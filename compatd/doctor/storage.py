"""The data root: its file system, its space, whose it is."""

from collections.abc import Iterator

from compatd.config import Config
from compatd.doctor.finding import OK, PROBLEM, WARNING, Finding
from compatd.doctor.machine import Machine

NAME = "storage"
_NO_UPPER = {"overlay", "nfs", "nfs4", "cifs", "smb3", "vfat", "exfat", "fuseblk", "9p", "ntfs3", "ecryptfs"}
"""File systems that overlay cannot have its upper folder on."""

_LOW_BYTES, _LOW_SHARE = 2 << 30, 0.05


def check(machine: Machine, config: Config) -> Iterator[Finding]:
    """What is mounted there, how much is free, and whether another engine's data lie there."""
    root = config.data_root
    mount, kind, options = _mount(machine, root)
    if kind in _NO_UPPER:
        yield Finding(
            NAME,
            WARNING,
            f"{root} is on {kind}, which overlay cannot write to: the storage driver is vfs, slow and large",
            [f'set "data-root" in /etc/docker/daemon.json to a folder on ext4 or xfs (now: {mount})'],
        )
    elif kind == "xfs" and "ftype=0" in machine.run("xfs_info", mount).output:
        yield Finding(
            NAME,
            PROBLEM,
            f"{root} is on xfs without file types in its folders (ftype=0): overlay needs them (d_type)",
            ['set "data-root" to a folder on a file system made by: mkfs.xfs -n ftype=1 DEVICE'],
        )
    else:
        yield Finding(NAME, OK, f"{root} is on {kind or 'an unknown file system'} ({mount})")
    for option, lost in (("ro", "nothing can be written"), ("noexec", "programs in containers do not start")):
        if option in options:
            command = "remount,rw" if option == "ro" else "remount,exec"
            yield Finding(
                NAME, PROBLEM, f"{mount} is mounted {option}: {lost}", [f"mount -o {command} {mount}"]
            )
    yield from _space(machine, root)
    if machine.exists(f"{root}/overlay2") or machine.exists(f"{root}/image/overlay2"):
        yield Finding(
            NAME,
            WARNING,
            f"{root} also holds images and containers of another Docker Engine, which compatd does not see",
            [
                "there: docker save IMAGE -o FILE, then here: docker load -i FILE",
                f"when nobody needs them: rm -r {root}/overlay2 {root}/image",
            ],
        )


def _mount(machine: Machine, folder: str) -> tuple[str, str, list[str]]:
    """Mount point, type and options of what `folder` lies on."""
    best: tuple[str, str, list[str]] = ("/", "", [])
    for line in machine.read("/proc/self/mounts").splitlines():
        fields = line.split(" ")
        if len(fields) < 4:
            continue
        point = fields[1]
        inside = folder == point or folder.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, fields[2], fields[3].split(","))
    return best


def _space(machine: Machine, root: str) -> Iterator[Finding]:
    space = machine.space(root)
    if space is None or not space.f_blocks:
        return
    free, share = space.f_bavail * space.f_frsize, space.f_bavail / space.f_blocks
    clean = ["docker system df", "docker system prune --all --volumes (removes what nothing uses)"]
    text = f"{free / (1 << 30):.1f} GiB free at {root} ({share:.0%})"
    if space.f_bavail == 0:
        yield Finding(NAME, PROBLEM, f"the disk is full at {root}", clean)
    elif free < _LOW_BYTES or share < _LOW_SHARE:
        yield Finding(NAME, WARNING, f"only {text}", clean)
    else:
        yield Finding(NAME, OK, text)
    if space.f_files and space.f_favail / space.f_files < _LOW_SHARE:
        yield Finding(NAME, WARNING, f"only {space.f_favail} files more fit at {root} (inodes)", clean)
