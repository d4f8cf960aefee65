"""What is new each time, taken out: IDs, times, processes, addresses, ports, folders."""

import re
from typing import Any

ZERO_TIME = "0001-01-01T00:00:00Z"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_ID = re.compile(r"(?<![0-9a-f:])[0-9a-f]{64}(?![0-9a-f])")
_FOLDER = re.compile(r"<root>/(?:compatd/|overlay2|vfs|image)[^\s:\"]*")
_AGO = re.compile(r"(?<=Up )(Less than a second|\d+ \w+)|(?<=\) )(Less than a second|\d+ \w+) ago")
_SANDBOX = re.compile(r"[^\s\"']*/netns/[0-9a-f]{12}\b")
_ADDRESS = re.compile(r"\b172\.\d+\.\d+\.\d+\b")
_MAC = re.compile(r"\b02:42(:[0-9a-f]{2}){4}\b")
_NUMBERS = {"Pid", "Created", "time", "timeNano", "SpaceReclaimed", "execDuration"}
"""Fields whose numbers are times or processes; 0 stays 0."""


class Names:
    """Replaces what this engine calls something by what the script calls it."""

    def __init__(self) -> None:
        self.known: list[tuple[str, str]] = []

    def learn(self, value: str, name: str) -> None:
        self.known.append((value, name))
        if re.fullmatch(r"[0-9a-f]{64}", value):
            self.known.append((value[:12], name + " short"))

    def clean(self, value: Any, key: str = "") -> Any:
        """The same JSON value, comparable."""
        if isinstance(value, dict):
            return {self.text(str(name)): self.clean(item, name) for name, item in value.items()}
        if isinstance(value, list):
            items = [self.clean(item) for item in value]
            return sorted(items, key=_destination) if key == "Mounts" else items
        if isinstance(value, str):
            if key in _NUMBERS and value.isdigit():
                return "<number>"
            return self.text(value)
        if isinstance(value, int) and not isinstance(value, bool) and key in _NUMBERS and value:
            return "<number>"
        return value

    def text(self, text: str) -> str:
        for value, name in self.known:
            text = text.replace(value, name)
        if text == ZERO_TIME:
            return text
        text = _TIME.sub("<time>", text)
        text = _ID.sub("<id>", text)
        text = _SANDBOX.sub("<sandbox>", _AGO.sub("<ago>", text))
        text = _FOLDER.sub("<folder>", text)
        text = _ADDRESS.sub("<address>", text)
        return _MAC.sub("<mac>", text)


def _destination(mount: Any) -> str:
    """Mounts come in the order of Go's maps."""
    return str(mount.get("Destination", mount.get("Target", "")))


def shape(value: Any) -> Any:
    """Of figures that nobody can foretell, their names and types."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return "<list>"
    return value if isinstance(value, str | bool) or value is None else "<number>"


def processes(value: Any) -> Any:
    """An answer of `top` without what is new each time: user and command of each process, and the titles."""
    titles = value["Titles"]
    kept = [titles.index(title) for title in ("UID", "USER", "CMD", "COMMAND") if title in titles]
    return {"Titles": titles, "Processes": sorted([row[i] for i in kept] for row in value["Processes"])}
