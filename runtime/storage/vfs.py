"""The storage driver `vfs`: a container's root is a copy of its image, where overlay cannot be used.

The copy is made of the layers themselves, sharing blocks where the file system can (reflinks). What the
copy began as is written down in `base` beside it, so changes are found without looking at the image again.
"""

from pathlib import Path

from runtime.storage.base import BASE, Storage, Work

FILL = "runtime.storage.flat:fill"


class Vfs(Storage):
    """Whole copies; slow and large, and without demands."""

    name = "vfs"
    no_quotas = "Filesystem does not support, or has not enabled quotas"

    def create_rw(self, container_id: str, size: int | None = None) -> None:
        """Make a container's folder; it is to be filled by `fill_work`. Raises as for all drivers."""
        super().create_rw(container_id, size)
        (self.rw / container_id / BASE).touch(mode=0o600)

    def fill_work(self, container_id: str, chain_ids: list[str]) -> Work | None:
        """Copying the image's layers, and writing down what came of it."""
        rw = self.rw / container_id
        lower = [str(path) for path in self.lower(chain_ids)]
        return FILL, {"lower": lower, "target": str(rw / "diff"), "base": str(rw / BASE)}

    def image_lower(self, chain_ids: list[str]) -> list[Path]:
        """The one tree that `image_work` has made."""
        return [self.layer_path(chain_ids[-1]) / "flat"] if chain_ids else []

    def image_work(self, chain_ids: list[str]) -> Work | None:
        """Copying the image's layers into one tree, once per image."""
        if not chain_ids or (target := self.layer_path(chain_ids[-1]) / "flat").is_dir():
            return None
        lower = [str(path) for path in self.lower(chain_ids)[1:]]
        return FILL, {"lower": lower, "target": str(target), "scratch": str(self.prepare_layer())}
