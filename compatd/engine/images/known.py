"""What is known of layers in registries: which blob is which layer's, and where it has been seen.

So a second push sends nothing, and a push beside another repository of the same registry mounts from it.
"""

from typing import Any

from compatd.engine.images.index import Index

Json = dict[str, Any]

_MOST = 50


def blobs(index: Index, diff_id: str, domain: str) -> list[Json]:
    """Blobs of that layer which registry `domain` has had, newest first: Layer.known's items."""
    found: list[Json] = []
    for layer in index.layers.values():
        if layer.diff_id == diff_id:
            found += [item for item in reversed(layer.known) if item not in found]
    return [item for item in found if item["Repository"].partition("/")[0] == domain]


def remember(
    index: Index, diff_id: str, repository: str, *, digest: str, size: int, compression: str
) -> None:
    """Note that `repository` (with its domain) has that blob of the layer."""
    item = {"Digest": digest, "Size": size, "Compression": compression, "Repository": repository}
    for layer in list(index.layers.values()):
        if layer.diff_id == diff_id and layer.known[-1:] != [item]:
            layer.known = [*(other for other in layer.known if other != item), item][-_MOST:]
            index.add_layer(layer)


def forget(index: Index, diff_id: str, repository: str, digest: str) -> None:
    """Note that `repository` has not got that blob (any more)."""
    for layer in list(index.layers.values()):
        left = [i for i in layer.known if (i["Repository"], i["Digest"]) != (repository, digest)]
        if layer.diff_id == diff_id and left != layer.known:
            layer.known = left
            index.add_layer(layer)
