"""The filters of `ps` and `prune` (API: ContainerList, ContainerPrune)."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from compatd.engine import timestamps
from compatd.engine.containers.model import Container
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.labels import matches_labels
from compatd.engine.namefilter import name_matcher

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]
Filters = dict[str, list[str]]
Test = Callable[[Container], bool]

ACCEPTED = frozenset(
    {
        "ancestor",
        "before",
        "exited",
        "id",
        "isolation",
        "label",
        "name",
        "status",
        "health",
        "since",
        "volume",
        "network",
        "is-task",
        "publish",
        "expose",
    }
)
STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_HEALTH = ("none", "starting", "healthy", "unhealthy")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def compile_filters(containers: "Containers", filters: Filters) -> list[Test]:
    """Tests that a listed container must all pass; `before` and `since` are the list's own work.

    Raises InvalidParameter for unknown names and values that mean nothing.
    """
    for name in filters:
        if name not in ACCEPTED:
            raise InvalidParameter(f"invalid filter '{name}'")
    makers: dict[str, Callable[[list[str]], Test]] = {
        "name": _name,
        "id": lambda values: _ids(containers, values),
        "label": lambda values: lambda c: matches_labels(values, c.config["Labels"] or {}),
        "status": _status,
        "exited": _exited,
        "health": _health,
        "ancestor": lambda values: _ancestor(containers, values),
        "volume": _volume,
        "network": _network,
        "is-task": _is_task,
    }
    tests = [maker(filters[name]) for name, maker in makers.items() if filters.get(name)]
    published, exposed = _ports(filters, "publish"), _ports(filters, "expose")
    if published or exposed:
        tests.append(lambda container: _has_port(container, published, exposed))
    return tests


def _name(values: list[str]) -> Test:
    passes = name_matcher(values)
    return lambda container: passes(f"/{container.name}") or passes(container.name)


def _ids(containers: "Containers", values: list[str]) -> Test:
    found = set()
    for value in values:
        try:
            found.add(containers.registry.by_prefix(value))
        except EngineError:
            continue
    return lambda container: container.id in found


def _status(values: list[str]) -> Test:
    for value in values:
        if value not in STATES:
            quoted = ", ".join(f'"{state}"' for state in STATES)
            raise InvalidParameter(
                f"invalid filter 'status={value}': invalid value for state ({value}): must be one of {quoted}"
            )
    return lambda container: container.state.status in values


def _exited(values: list[str]) -> Test:
    codes = set()
    for value in values:
        if not re.fullmatch(r"[+-]?\d+", value):
            raise InvalidParameter(
                f"invalid filter 'exited={value}': strconv.Atoi: parsing \"{value}\": invalid syntax"
            )
        codes.add(int(value))

    def test(container: Container) -> bool:
        state = container.state
        return not state.running and bool(state.started_at) and state.exit_code in codes

    return test


def _health(values: list[str]) -> Test:
    for value in values:
        if value not in _HEALTH:
            quoted = ", ".join(f'"{health}"' for health in _HEALTH)
            raise InvalidParameter(
                f"invalid filter 'health={value}': invalid value for health ({value}): "
                f"must be one of {quoted}"
            )
    return lambda container: (container.state.health or {}).get("Status", "none") in values


def _ancestor(containers: "Containers", values: list[str]) -> Test:
    """Containers of the images named, or of images built on them."""
    ids: set[str] = set()
    for value in values:
        try:
            ids.add(containers.images.resolve(value).id)
        except EngineError:
            continue

    def test(container: Container) -> bool:
        image_id = container.image_id
        while image_id and image_id not in ids:
            image_id = getattr(containers.images.get(image_id), "parent", "")
        return bool(image_id)

    return test


def _volume(values: list[str]) -> Test:
    def test(container: Container) -> bool:
        known: set[str] = set()
        for point in container.mounts:
            known.update((point["Destination"], point.get("Name") or point["Source"]))
        return any(value in known for value in values)

    return test


def _network(values: list[str]) -> Test:
    def test(container: Container) -> bool:
        networks = container.network_settings.get("Networks") or {}
        return any(
            value in networks
            or any(network.get("NetworkID", "").startswith(value) for network in networks.values())
            for value in values
        )

    return test


def _is_task(values: list[str]) -> Test:
    wanted = boolean("is-task", values)
    return lambda container: not wanted


def boolean(name: str, values: list[str]) -> bool:
    """The one truth value of a filter. Raises InvalidParameter."""
    false = any(value in ("0", "false") for value in values)
    true = any(value in ("1", "true") for value in values)
    if true == false:
        raise InvalidParameter(f"invalid filter '{name}=[{' '.join(values)}]'")
    return true


def _ports(filters: Filters, name: str) -> set[str]:
    """`80`, `80/udp` or `8000-8010/tcp` → {"80/tcp", …}."""
    found: set[str] = set()
    for value in filters.get(name) or []:
        if ":" in value:
            raise EngineError(f"filter for '{name}' should not contain ':': {value}")
        numbers, _, protocol = value.partition("/")
        first, dash, last = numbers.partition("-")
        try:
            start = _port(first, "start")
            end = _port(last, "end") if dash and last != first else start
            if end < start:
                raise ValueError(f"invalid port range: {value}")
        except ValueError as error:
            raise EngineError(f"error while looking up for {name} {value}: {error}") from None
        for number in range(start, end + 1):
            found.add(f"{number}/{protocol or 'tcp'}")
    return found


def _port(text: str, which: str) -> int:
    """A port number. Raises ValueError with Go's words."""
    if not text:
        raise ValueError(f"invalid {which} port '': value is empty")
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"invalid {which} port '{text}': invalid syntax")
    if int(text) > 65535:
        raise ValueError(f"invalid {which} port '{text}': value out of range")
    return int(text)


def _has_port(container: Container, published: set[str], exposed: set[str]) -> bool:
    for port, bindings in (container.network_settings.get("Ports") or {}).items():
        if port in exposed:
            return True
        protocol = port.partition("/")[2]
        if any(f"{binding['HostPort']}/{protocol}" in published for binding in bindings or []):
            return True
    return False


def until_moment(values: list[str], reference: int) -> int:
    """prune's `until` (a duration before `reference`, RFC 3339, or a Unix time) in ns, 0 for none.

    Raises InvalidParameter.
    """
    if not values:
        return 0
    if len(values) > 1:
        raise InvalidParameter("more than one until filter specified")
    text = values[0]
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return reference - int(sum(float(number) * _SECONDS[unit] for number, unit in parts) * 1e9)
    for read in (timestamps.from_rfc3339, timestamps.parse_timestamp):
        try:
            return read(text)
        except ValueError as error:
            failure = error
    raise InvalidParameter(f"failed to parse value as time or duration: {failure}")
