"""What stages stand on: images that are here, or are pulled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Base:
    """An image to build on. `document` is its config, `chain_ids` its layers, base first.

    `reference` is the whole name (`docker.io/library/busybox:latest`), `digest` what the registry calls it or
    the image's ID, "" when there is neither; `image` is the ID of the local image, "" when there is none.
    """

    reference: str
    digest: str
    document: Mapping[str, Any]
    chain_ids: tuple[str, ...]
    image: str = ""
