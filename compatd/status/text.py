"""Prometheus' text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats)."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from compatd.engine.metrics import BOUNDS, Counter, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"


def number(value: float) -> str:
    """As Go's `strconv.FormatFloat(value, 'g', -1, 64)`: the shortest digits that are this number."""
    if value == int(value) and abs(value) < 1_000_000:
        return str(int(value))
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    assert isinstance(exponent, int)
    power = len(digits) + exponent - 1
    if -4 <= power < 6:
        return format(Decimal(repr(float(value))).normalize(), "f")
    text = "".join(map(str, digits))
    mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02}"


def labelled(name: str, labels: Mapping[str, str]) -> str:
    """`name{label="value"}`, with labels in order and escaped."""
    if not labels:
        return name
    pairs = (f'{key}="{_escaped(labels[key])}"' for key in sorted(labels))
    return f"{name}{{{','.join(pairs)}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def family(name: str, kind: str, about: str, rows: Iterable[tuple[Mapping[str, str], float]]) -> list[str]:
    """A family's lines: what it is about, and its values by labels."""
    return [
        f"# HELP {name} {about}",
        f"# TYPE {name} {kind}",
        *(f"{labelled(name, labels)} {number(value)}" for labels, value in rows),
    ]


def one(name: str, kind: str, about: str, value: float) -> list[str]:
    """A family of one value."""
    return family(name, kind, about, [({}, value)])


def counter(name: str, about: str, found: Counter) -> list[str]:
    """A counter's lines."""
    return one(name, "counter", about, found.value)


def histogram(name: str, about: str, label: str, found: Histogram) -> list[str]:
    """A histogram's lines: buckets add up. `label` is the name of the label, "" for none."""
    lines = [f"# HELP {name} {about}", f"# TYPE {name} histogram"]
    for value, series in sorted(found.series.items()):
        labels = {label: value} if label else {}
        total = 0.0
        for bound, count in zip((*BOUNDS, None), series, strict=False):
            total += count
            text = "+Inf" if bound is None else number(bound)
            lines.append(f"{_bucket(name, labels, text)} {number(total)}")
        lines.append(f"{labelled(name + '_sum', labels)} {number(series[-1])}")
        lines.append(f"{labelled(name + '_count', labels)} {number(total)}")
    return lines


def _bucket(name: str, labels: Mapping[str, str], bound: str) -> str:
    return labelled(f"{name}_bucket", {**labels, "le": bound})
