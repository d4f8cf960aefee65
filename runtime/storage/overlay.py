"""The storage driver `overlay2`: a container's changes are the upper folder above its image's layers."""

from runtime.storage.base import Storage


class Overlay(Storage):
    """Nothing is copied at create; the kernel mounts the layers as one."""

    name = "overlay2"

    def create_rw(self, container_id: str) -> None:
        """Make a container's writable folder, `diff` and `work` in it. Raises FileExistsError."""
        super().create_rw(container_id)
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
