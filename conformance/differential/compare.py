"""Two records, field by field."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


class _Missing:
    def __repr__(self) -> str:
        return "(absent)"


MISSING: Any = _Missing()


@dataclass(frozen=True)
class Difference:
    """Where two engines differ: a step of the script, a field of its answer, what either has there."""

    step: str
    field: str
    real: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.step} | {self.field}\n    real: {self.real!r}\n    ours: {self.ours!r}"


def differences(real: dict[str, Any], ours: dict[str, Any]) -> Iterator[Difference]:
    """All of two records (`Recorder.steps`)."""
    for step in [*real, *(step for step in ours if step not in real)]:
        yield from _walk(step, "", real.get(step, MISSING), ours.get(step, MISSING))


def _walk(step: str, field: str, real: Any, ours: Any) -> Iterator[Difference]:
    if isinstance(real, dict) and isinstance(ours, dict):
        for name in [*real, *(name for name in ours if name not in real)]:
            inner = f"{field}.{name}" if field else name
            yield from _walk(step, inner, real.get(name, MISSING), ours.get(name, MISSING))
    elif isinstance(real, list) and isinstance(ours, list) and len(real) == len(ours):
        for number, (one, other) in enumerate(zip(real, ours, strict=True)):
            yield from _walk(step, f"{field}[{number}]", one, other)
    # 1 and 1.0 and true are one to Python and not to others.
    elif real != ours or type(real) is not type(ours):
        yield Difference(step, field, real, ours)
