"""`docker images`: filters and sorting."""

import fnmatch
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from compatd.engine import timestamps
from compatd.engine.errors import InvalidParameter
from compatd.engine.images import views
from compatd.engine.images.index import Index
from compatd.engine.images.model import Image
from compatd.engine.images.reference import Reference

FILTERS = frozenset({"dangling", "label", "before", "since", "reference", "until"})
Filters = dict[str, list[str]]


def check_filters(filters: Filters, allowed: frozenset[str]) -> None:
    """Raises InvalidParameter for a filter that this list does not know."""
    for name in filters:
        if name not in allowed:
            raise InvalidParameter(f"invalid filter '{name}'")


def boolean(filters: Filters, name: str, default: bool) -> bool:
    """A filter that is true or false. Raises InvalidParameter."""
    values = filters.get(name)
    if not values:
        return default
    yes = [value in ("1", "true") for value in values]
    if not all(value in ("1", "true", "0", "false") for value in values) or len(set(yes)) > 1:
        shown = " ".join(values)
        raise InvalidParameter(f"invalid filter '{name}=[{shown}]'")
    return yes[0]


def moment(text: str) -> int:
    """An `until`: a duration back from now (`24h`), seconds since 1970, or a date; ns since 1970."""
    parts = re.findall(r"(\d+(?:\.\d*)?)(h|m|s|ms)", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
        return time.time_ns() - int(sum(float(number) * units[unit] for number, unit in parts) * 1e9)
    try:
        return timestamps.from_rfc3339(text)
    except ValueError:
        pass
    try:
        return timestamps.parse_timestamp(text)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidParameter(f'invalid value for \'until\' filter: failed to parse value as time or duration: "{text}"') from None  # fmt: skip # noqa: E501
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()) * 1_000_000_000


def labels_match(labels: dict[str, str] | None, wanted: list[str]) -> bool:
    """Whether all of `key` and `key=value` are among the labels."""
    for item in wanted:
        key, equals, value = item.partition("=")
        if labels is None or key not in labels or (equals and labels[key] != value):
            return False
    return True


def _glob(pattern: str, text: str) -> bool:
    """Go's path.Match: `*` and `?` stop at a slash. Raises InvalidParameter for a broken pattern."""
    if pattern.count("[") > pattern.count("]"):
        raise InvalidParameter("syntax error in pattern")
    wanted, found = pattern.split("/"), text.split("/")
    return len(wanted) == len(found) and all(
        fnmatch.fnmatchcase(part, item.replace("[^", "[!")) for item, part in zip(wanted, found, strict=True)
    )


def _matches(reference: Reference, patterns: list[str]) -> bool:
    targets = (reference.familiar, reference.familiar_name, str(reference), reference.name)
    return any(_glob(pattern, target) for pattern in patterns for target in targets)


class Listing:
    """One `GET /images/json`."""

    def __init__(
        self, index: Index, resolve: Callable[[str], Image], count: Callable[[str], int], filters: Filters
    ) -> None:
        check_filters(filters, FILTERS)
        self._index = index
        self._count = count
        self._filters = filters
        self._only_dangling = boolean(filters, "dangling", False)
        before = [resolve(name).created for name in filters.get("before", [])]
        before += [moment(text) for text in filters.get("until", [])]
        self._before = min(before, default=None)
        self._since = max((resolve(name).created for name in filters.get("since", [])), default=None)

    def rows(self, *, all_images: bool, shared_size: bool) -> list[dict[str, Any]]:
        """image.Summary objects, newest first."""
        shown = [
            (image, row) for image in self._index.images.values() if (row := self._row(image, all_images))
        ]
        if shared_size:
            counts = views.layer_counts(self._index.images.values())
            for image, row in shown:
                row["SharedSize"] = views.shared_size(self._index, image, counts)
        shown.sort(key=lambda pair: pair[0].created, reverse=True)
        return [row for _, row in shown]

    def _row(self, image: Image, all_images: bool) -> dict[str, Any] | None:
        if self._before is not None and image.created >= self._before:
            return None
        if self._since is not None and image.created <= self._since:
            return None
        if "label" in self._filters and not labels_match(image.labels, self._filters["label"]):
            return None
        parent = bool(self._index.children(image.id))
        if self._only_dangling and parent:
            return None
        references = image.references
        if "reference" in self._filters:
            references = [item for item in references if _matches(item, self._filters["reference"])]
        if not references:
            if parent and not all_images:
                return None
            if "reference" in self._filters or ("dangling" in self._filters and not self._only_dangling):
                return None
        elif self._only_dangling and any(item.tag for item in references):
            return None
        row = views.summary(image, self._count(image.id))
        row["RepoTags"] = [item.familiar for item in references if item.tag]
        row["RepoDigests"] = [item.familiar for item in references if not item.tag]
        return row
