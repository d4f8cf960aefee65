"""The flags of an instruction: `--name`, `--name=value`. Texts of errors: moby/buildkit instructions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from compatd.engine.builder.dockerfile.errors import DockerfileError, suggested


@dataclass(slots=True)
class Flags:
    """What was given: `texts` and `switches` by name, `lists` for those that may come several times."""

    texts: dict[str, str] = field(default_factory=dict)
    switches: dict[str, bool] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        return self.texts.get(name, default)

    def switch(self, name: str) -> bool:
        return self.switches.get(name, False)

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(self.lists.get(name, ()))


def parse_flags(given: Sequence[str], known: Mapping[str, str]) -> Flags:
    """`known`: name → "text", "switch" or "list". Raises DockerfileError."""
    found = Flags()
    for flag in given:
        shown, equals, value = flag.partition("=")
        name = shown[2:]
        kind = known.get(name)
        if kind is None:
            raise DockerfileError(suggested(f"unknown flag: {shown}", name, known))
        if name in found.texts or name in found.switches:
            raise DockerfileError(f"duplicate flag specified: {shown}")
        if (kind == "switch" and equals and not value) or (kind != "switch" and not equals):
            raise DockerfileError(f"missing a value on flag: {shown}")
        if kind == "text":
            found.texts[name] = value
        elif kind == "list":
            found.lists.setdefault(name, []).append(value)
        elif value.lower() in ("true", "", "false"):
            found.switches[name] = value.lower() != "false"
        else:
            raise DockerfileError(f"expecting boolean value for flag {shown}, not: {value}")
    return found
