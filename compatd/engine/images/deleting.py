"""`docker rmi` and `docker image prune`: what may go, what goes with it, and in which words.

An image cannot go while another is built on it or a running container uses it (hard: not even by force), and
goes only by force while a stopped container uses it or several repositories name it (soft).
"""

from collections.abc import Callable
from typing import Any

from compatd.engine.errors import Conflict
from compatd.engine.images.index import Index
from compatd.engine.images.model import Image
from compatd.engine.images.reference import Reference, parse

Uses = Callable[[str], list[tuple[str, bool]]]
Emit = Callable[[Image, str, str], None]
Record = dict[str, str]


def short(identifier: str) -> str:
    """The first 12 digits of an ID."""
    return identifier.removeprefix("sha256:")[:12]


def is_id_prefix(image_id: str, text: str) -> bool:
    """Whether `text` is the beginning of the image's ID, with or without its algorithm."""
    return image_id.startswith(text) or image_id.partition(":")[2].startswith(text)


def single_reference(references: list[Reference]) -> bool:
    """At most one tag, and all digests in that tag's repository."""
    if len(references) <= 1:
        return len(references) == 1
    tags = [reference for reference in references if reference.tag]
    if len(tags) > 1:
        return False
    repositories = {reference.name for reference in references if not reference.tag}
    return repositories == {(tags or references)[0].name}


class Deleter:
    """One request to delete; `records` is what the client is told, in order."""

    def __init__(self, index: Index, uses: Uses, emit: Emit) -> None:
        self._index = index
        self._uses = uses
        self._emit = emit
        self.records: list[Record] = []

    def delete(self, image: Image, text: str, *, force: bool, prune: bool) -> list[Record]:
        """Remove what `text` names: a name of the image, or the image by its ID. Raises Conflict."""
        quiet = False
        if is_id_prefix(image.id, text):
            if single_reference(image.references):
                self._refuse(image, references=False, stopped=not force)
                self._unname_all(image)
        else:
            self._remove_name(image, text, force)
            if image.references:
                return self.records
            quiet = True
        self._remove(image, force=force, prune=prune, quiet=quiet)
        return self.records

    def _remove_name(self, image: Image, text: str, force: bool) -> None:
        uses = self._uses(image.id)
        if not force and uses and single_reference(image.references):
            raise Conflict(
                f"conflict: unable to delete {parse(text).tagged().familiar} (must be forced) - "
                f"container {short(uses[0][0])} is using its referenced image {short(image.id)}"
            )
        reference = parse(text).tagged()
        self._index.unname(reference)
        self._emit(image, "untag", image.id)
        self.records.append({"Untagged": reference.familiar})
        if reference.digest or any(item.tag and item.name == reference.name for item in image.references):
            return
        # The last tag of a repository is gone: its digests alone would keep the image for nobody
        for other in [item for item in image.references if item.name == reference.name]:
            self._index.unname(other)
            self.records.append({"Untagged": other.familiar})

    def _unname_all(self, image: Image) -> None:
        for reference in list(image.references):
            self._index.unname(reference)
            self._emit(image, "untag", image.id)
            self.records.append({"Untagged": reference.familiar})

    def _conflict(self, image: Image, *, references: bool, stopped: bool) -> tuple[str, bool] | None:
        """(the refusal, whether a container is the reason)."""

        def text(how: str, why: str) -> str:
            return f"conflict: unable to delete {short(image.id)} ({how}) - {why}"

        if self._index.children(image.id):
            return text("cannot be forced", "image has dependent child images"), False
        uses = self._uses(image.id)
        for container, running in uses:
            if running:
                why = f"image is being used by running container {short(container)}"
                return text("cannot be forced", why), True
        if references and image.references:
            return text("must be forced", "image is referenced in multiple repositories"), False
        if stopped and uses:
            why = f"image is being used by stopped container {short(uses[0][0])}"
            return text("must be forced", why), True
        return None

    def _refuse(self, image: Image, *, references: bool, stopped: bool) -> None:
        conflict = self._conflict(image, references=references, stopped=stopped)
        if conflict:
            raise Conflict(conflict[0])

    def _remove(self, image: Image, *, force: bool, prune: bool, quiet: bool) -> None:
        parent = self._remove_one(image, force=force, quiet=quiet)
        while prune and parent:  # a build of a thousand steps has as many parents
            parent = self._remove_one(parent, force=False, quiet=True)

    def _remove_one(self, image: Image, *, force: bool, quiet: bool) -> Image | None:
        """What it was built on, when it is gone and that is here."""
        conflict = self._conflict(image, references=not force, stopped=not force)
        if conflict:
            dangling = not image.references and not self._index.children(image.id)
            if quiet and (not dangling or conflict[1]):
                return None
            raise Conflict(conflict[0])
        parent = self._index.images.get(image.parent)
        self._unname_all(image)
        chains = self._index.remove(image)
        self._emit(image, "delete", image.id)
        self.records.append({"Deleted": image.id})
        self.records += [{"Deleted": chain} for chain in chains]
        return parent


def prune(index: Index, deleter: Callable[[], Deleter], chosen: list[Image]) -> dict[str, Any]:
    """Delete the images chosen where nothing forbids it: ImagesDeleted, SpaceReclaimed."""
    records: list[Record] = []
    sizes = {chain: layer.size for chain, layer in index.layers.items()}
    for image in chosen:
        names = [reference.familiar for reference in image.references] or [image.id]
        for name in names:
            if image.id not in index.images:
                break
            try:
                records += deleter().delete(image, name, force=False, prune=True)
            except Conflict:
                continue
    reclaimed = sum(sizes.get(record.get("Deleted", ""), 0) for record in records)
    return {"ImagesDeleted": records or None, "SpaceReclaimed": reclaimed}
