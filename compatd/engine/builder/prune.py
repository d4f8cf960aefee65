"""Which cache records go: at `docker builder prune`, and when too much is kept.

Source: moby/buildkit cache/manager.go (what may go, in which order), moby builder-next (filters, default
rules).
"""

import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compatd.config.values import parse_bytes
from compatd.engine.builder import selectors
from compatd.engine.builder.cache import Cache
from compatd.engine.builder.records import FRONTEND, IMAGE, INTERNAL, Record
from compatd.engine.errors import InvalidParameter
from compatd.engine.images import listing

Json = dict[str, Any]
Filters = Mapping[str, Sequence[str]]

FIELDS = ("id", "parent", "type", "description", "inuse", "shared", "private")
_OTHERS = ("unused-for", "until", "label", "label!")  # dockerd takes labels, and looks at none
_HOUR = 3600 * 1_000_000_000
_TEMPORARY = math.e * math.pi * (1 + math.sqrt(5)) / 2  # % of the space that folders may have for long
_MIN_TEMPORARY = 512_000_000


@dataclass(frozen=True, slots=True)
class Rule:
    """What to remove. `filters`: any of them must fit. `unused`: not used for so long (ns). Bytes: `reserved`
    stay in any case, `most` is the limit, `free` should be free on the disk; all of them 0: everything goes.
    """

    all: bool = False
    filters: tuple[str, ...] = ()
    unused: int = 0
    reserved: int = 0
    most: int = 0
    free: int = 0

    @property
    def limited(self) -> bool:
        """Whether some may stay."""
        return bool(self.reserved or self.most or self.free)


def rule(filters: Filters, *, all: bool = False, reserved: int = 0, most: int = 0, free: int = 0) -> Rule:
    """What a request means. Raises InvalidParameter in dockerd's words."""
    for name in filters:
        if name not in (*FIELDS, *_OTHERS):
            raise InvalidParameter(f"invalid filter '{name}'")
    until, unused_for = filters.get("until") or (), filters.get("unused-for") or ()
    if until and unused_for:
        raise InvalidParameter('conflicting filters: "until" and "unused-for"')
    if len(until) + len(unused_for) > 1:
        raise InvalidParameter("filters expect only one value")
    unused = 0
    for name, value in (*(("until", one) for one in until), *(("unused-for", one) for one in unused_for)):
        unused = time.time_ns() - _moment(name, value)
    chosen = []
    for name in FIELDS:
        if name in filters:
            values = filters[name]
            if len(values) > 1:
                raise InvalidParameter("filters expect only one value")
            operator = "~=" if name == "id" else "=="
            chosen.append(f"{name}{operator}{values[0]}" if values else name)
    return Rule(all, (",".join(chosen),), unused, reserved, most, free)


def _moment(name: str, value: str) -> int:
    try:
        return listing.moment(value)
    except InvalidParameter:
        raise InvalidParameter(
            f"\"{name}\" filter expects a duration (e.g., '24h') or a timestamp: "
            f'failed to parse value as time or duration: "{value}"'
        ) from None


class Usage:
    """The records as the API shows them, at one moment."""

    def __init__(self, cache: Cache, image_layers: Iterable[str]) -> None:
        self._cache = cache
        self._images = set(image_layers)
        self.records = [one for one in cache.records.values() if one.type != IMAGE]
        known = {one.id: one for one in self.records}
        self._children: dict[str, set[str]] = {}
        for one in self.records:
            for parent in one.parents:
                self._children.setdefault(parent, set()).add(one.id)
        self._busy: set[str] = set()
        stack = [one.id for one in self.records if one.users]
        while stack:  # what a record in use stands on is in use, too
            current = stack.pop()
            if current not in self._busy and current in known:
                self._busy.add(current)
                stack += known[current].parents

    def is_shared(self, record: Record) -> bool:
        """Whether an image has the record's layers."""
        return bool(record.chain_ids) and record.chain_ids[-1] in self._images

    def shown(self, record: Record) -> Json:
        """As build.CacheRecord."""
        found = record.shown(shared=self.is_shared(record))
        found["InUse"] = record.id in self._busy
        return found

    def fields(self, record: Record) -> selectors.Fields:
        """For filters."""
        return selectors.fields(self.shown(record), mutable=record.mutable)

    def total(self) -> int:
        """Bytes of all that no image has, too."""
        return sum(one.size for one in self.records if not self.is_shared(one))

    def removable(self, rule: Rule, match: selectors.Match) -> list[Record]:
        """What may go now: nothing that is in use, or that another record stands on."""
        before = time.time_ns() - rule.unused
        everything = not any(rule.filters)
        found = []
        for one in self.records:
            if one.id in self._busy or self._children.get(one.id):
                continue
            if not rule.all and (one.type in (INTERNAL, FRONTEND) or self.is_shared(one)):
                continue
            if rule.unused and one.last_used > before:
                continue
            if everything or match(self.fields(one)):
                found.append(one)
        return found

    def remove(self, records: Sequence[Record]) -> None:
        """They go."""
        self._cache.remove(records)
        gone = {one.id for one in records}
        self.records = [one for one in self.records if one.id not in gone]
        for children in self._children.values():
            children -= gone


def prune(usage: Usage, rule: Rule, free: int) -> tuple[list[str], int]:
    """Remove what the rule says: the records' IDs, and their bytes. `free`: bytes free on the disk.

    Raises InvalidParameter for filters that are none.
    """
    match = selectors.parse_all(rule.filters)
    total = usage.total() if rule.limited else 0
    keep = _keep(rule, total, free)
    deleted: list[str] = []
    size = 0
    while not (keep and total < keep):
        found = usage.removable(rule, match)
        if keep:
            found = _until(_least_used(found), total - keep)
        if not found:
            break
        usage.remove(found)
        bytes_gone = sum(one.size for one in found)
        total, size = total - bytes_gone, size + bytes_gone
        deleted += [one.id for one in found]
    return deleted, size


def _until(records: Sequence[Record], excess: int) -> list[Record]:
    """The first of them, as many as are needed for so many bytes."""
    found = []
    for one in records:
        if excess < 0:
            break
        found.append(one)
        excess -= one.size
    return found


def _keep(rule: Rule, total: int, free: int) -> int:
    """How many bytes may stay; 0: there is no limit to go by."""
    if not rule.limited:
        return 0
    keep, missing = rule.most, rule.free - free
    if missing > 0:
        keep = min(keep, total - missing) if keep else total - missing
    elif rule.free and not keep:
        keep = total
    return max(keep, rule.reserved)


def _least_used(records: Sequence[Record]) -> list[Record]:
    """Those first that were used the longest ago and the least often, both counting the same."""
    ages = {moment: at for at, moment in enumerate(sorted({one.last_used for one in records}), 2)}
    uses = {count: at for at, count in enumerate(sorted({one.uses for one in records}), 2)}
    oldest, most = max(ages.values(), default=1), max(uses.values(), default=1)
    return sorted(records, key=lambda one: ages[one.last_used] / oldest + uses[one.uses] / most)


# What is collected by itself -----------------------------------------------------------------------------


def rules(builder: Mapping[str, Any], root: str) -> list[Rule]:
    """Those of daemon.json's `builder.gc`, or dockerd's own; none when it is turned off.

    Raises InvalidParameter for rules that are none, OSError.
    """
    collect = _lower(_lower(builder).get("gc") or {})
    if not collect.get("enabled", True):
        return []
    policy = collect.get("policy")
    if policy is None:
        sizes = _sizes(collect, "default")
        return default_rules(*sizes) if any(sizes) else default_rules(*_of_disk(root))
    found = []
    for one in map(_lower, policy):
        reserved, most, free = _sizes(one, "")
        chosen = _pairs(one.get("filter"))
        found.append(rule(chosen, all=bool(one.get("all")), reserved=reserved, most=most, free=free))
    return found


def _lower(document: Mapping[str, Any]) -> dict[str, Any]:
    """Go reads names in any case."""
    return {key.lower(): value for key, value in document.items()}


def _sizes(document: Mapping[str, Any], prefix: str) -> tuple[int, int, int]:
    found = []
    for names in (("reservedspace", "keepstorage"), ("maxusedspace",), ("minfreespace",)):
        text = next((document[prefix + name] for name in names if document.get(prefix + name)), "")
        try:
            found.append(parse_bytes(text) if text else 0)
        except ValueError as error:
            raise InvalidParameter(f"failed to parse {prefix}{names[0]}: {error}") from None
    return found[0], found[1], found[2]


def _pairs(given: Any) -> dict[str, list[str]]:
    """`["unused-for=48h"]`, or the older `{"unused-for": {"48h": true}}`."""
    if isinstance(given, Mapping):
        return {name: list(values) for name, values in given.items()}
    found: dict[str, list[str]] = {}
    for text in given or ():
        name, _, value = str(text).partition("=")
        found.setdefault(name.strip().lower(), []).append(value.strip())
    return found


def _of_disk(root: str) -> tuple[int, int, int]:
    disk = os.statvfs(root)
    total = disk.f_blocks * disk.f_frsize
    shares = [total * percent // 100 for percent in (10, 80, 20)]
    reserved, most, free = ((share // (1 << 30) + 1) * 1_000_000_000 for share in shares)
    return reserved, most, free


def default_rules(reserved: int, most: int, free: int) -> list[Rule]:
    """dockerd's: first folders unused for two days, then what was unused for sixty, then by size."""
    temporary = max(round(reserved / 100 * _TEMPORARY), _MIN_TEMPORARY)
    folders = ("type==source.local", "type==exec.cachemount", "type==source.git.checkout")
    capped = Rule(reserved=reserved, most=most, free=free)
    return [
        Rule(filters=folders, unused=48 * _HOUR, most=temporary),
        replace(capped, unused=60 * 24 * _HOUR),
        capped,
        replace(capped, all=True),
    ]
