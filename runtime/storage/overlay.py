"""The storage driver `overlay2`: a container's changes are the upper folder above its image's layers."""

from pathlib import Path

from runtime.storage.base import Storage


class Overlay(Storage):
    """Nothing is copied at create; the kernel mounts the layers as one."""

    name = "overlay2"
    no_quotas = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"

    def why_no_quotas(self, error: OSError) -> str:
        """dockerd names the file system, or what xfs says."""
        kind = filesystem(self.root)
        if kind == "xfs":
            text = "Storage option overlay2.size not supported. Filesystem does not support Project Quota"
            return f"{text}: {error.strerror}"
        return f"Storage Option overlay2.size only supported for backingFS XFS. Found {kind}"

    def create_rw(self, container_id: str, size: int | None = None) -> None:
        """Make a container's writable folder, `diff` and `work` in it. Raises as for all drivers."""
        super().create_rw(container_id, size)
        work = self.rw / container_id / "work"
        work.mkdir()
        work.chmod(0o700)

    def image_graph_data(self, chain_ids: list[str]) -> dict[str, str] | None:
        """inspect's GraphDriver.Data of an image; None for one without layers."""
        if not chain_ids:
            return None
        top = self.layer_path(chain_ids[-1])
        data = {"MergedDir": str(top / "merged"), "UpperDir": str(top / "diff"), "WorkDir": str(top / "work")}
        if len(chain_ids) > 1:
            lower = [str(self.layer_path(chain_id) / "diff") for chain_id in reversed(chain_ids[:-1])]
            data = {"LowerDir": ":".join(lower), **data}
        return data


def filesystem(path: Path) -> str:
    """The type of the file system below `path`, by the names that dockerd gives."""
    best, kind = "", "<unknown>"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, name, *_ = line.split(" ")
        inside = mount == "/" or str(path) == mount or str(path).startswith(mount + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, name
    return "extfs" if kind in ("ext2", "ext3", "ext4") else kind
