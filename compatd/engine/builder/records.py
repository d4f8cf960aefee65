"""What the build cache remembers: one record a result, as the store keeps it and as the API shows it."""

import secrets
from dataclasses import dataclass, field
from typing import Any

from compatd.engine import timestamps

Json = dict[str, Any]

REGULAR, LOCAL, MOUNT = "regular", "source.local", "exec.cachemount"
IMAGE = "image"
"""Of the classic builder: the cache is an image, and is no record for the API."""

GIT, INTERNAL, FRONTEND = "source.git.checkout", "internal", "frontend"
TYPES = (REGULAR, LOCAL, MOUNT, GIT, INTERNAL, FRONTEND)

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def new_id() -> str:
    """25 random letters and digits, as BuildKit's."""
    return "".join(secrets.choice(_LETTERS) for _ in range(25))


@dataclass(slots=True, eq=False)
class Record:
    """`chain_ids` are the layers that came of it, base first (none: it is a folder, or an image's ID).

    `key` is what it is found by, `step` the step's own key (for cache export). `parents` are IDs of records.
    `size` is in bytes, times are ns. `folder`: its files are a folder of that record's ID. `users`: how many
    builds have it in their hands now.
    """

    key: str
    type: str
    description: str
    chain_ids: tuple[str, ...] = ()
    step: str = ""
    parents: tuple[str, ...] = ()
    size: int = 0
    created: int = 0
    last_used: int = 0
    uses: int = 0
    folder: bool = False
    image: str = ""
    history: int = 0  # when what came of it was made: ns, for images' histories
    id: str = field(default_factory=new_id)
    users: int = 0

    @property
    def mutable(self) -> bool:
        """Whether its files may change."""
        return self.folder

    def document(self) -> Json:
        """As the store keeps it."""
        return {
            "Key": self.key, "Type": self.type, "Description": self.description, "ChainIds": self.chain_ids,
            "Step": self.step, "Parents": self.parents, "Size": self.size, "CreatedAt": self.created,
            "LastUsedAt": self.last_used, "UsageCount": self.uses, "Folder": self.folder, "Image": self.image,
            "History": self.history,
        }  # fmt: skip

    @classmethod
    def from_document(cls, record_id: str, doc: Json) -> "Record":
        """The inverse of `document`."""
        return cls(
            doc["Key"], doc["Type"], doc["Description"], tuple(doc["ChainIds"]), doc["Step"],
            tuple(doc["Parents"]), doc["Size"], doc["CreatedAt"], doc["LastUsedAt"], doc["UsageCount"],
            doc["Folder"], doc["Image"], doc["History"], record_id,
        )  # fmt: skip

    def shown(self, *, shared: bool) -> Json:
        """build.CacheRecord, in the newest shape."""
        found: Json = {
            "ID": self.id, "Parents": list(self.parents), "Type": self.type, "Description": self.description,
            "InUse": bool(self.users), "Shared": shared, "Size": self.size,
            "CreatedAt": timestamps.rfc3339(self.created),
            "LastUsedAt": timestamps.rfc3339(self.last_used) if self.last_used else None,
            "UsageCount": self.uses,
        }  # fmt: skip
        return found if self.parents else {key: value for key, value in found.items() if key != "Parents"}
