"""What an image's history says of each instruction: BuildKit's words, and those of the classic builder.

Source: moby/buildkit dockerfile2llb, moby builder/dockerfile (formats).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.dockerfile.text import quote, quote_list, show_duration, show_list

COMMENT = "buildkit.dockerfile.v0"
_NOP = "#(nop) "


def run_text(args: Sequence[str], build_args: Mapping[str, str]) -> str:
    """`|1 name=value /bin/sh -c …`: a command behind the build arguments that it sees."""
    seen = [f"{key}={value}" for key, value in build_args.items()]
    return " ".join([*([f"|{len(seen)}"] if seen else []), *seen, *args])


def transfer_text(one: i.Transfer) -> str:
    """COPY and ADD, with those flags that change the result."""
    words = ["ADD" if isinstance(one, i.Add) else "COPY"]
    words += ["--parents"] if isinstance(one, i.Copy) and one.parents else []
    words += [f"--chown={one.chown}"] if one.chown else []
    words += [f"--chmod={one.chmod}"] if one.chmod else []
    return " ".join([*words, *one.sources, *(f"<<{item.name}" for item in one.contents), one.destination])


def config_text(one: i.Instruction, result: Any = None) -> str:
    """Any other instruction, expanded. `result` is what it came to: words, ports, pairs, a path."""
    if isinstance(one, i.Env | i.Label):
        keyword = "ENV" if isinstance(one, i.Env) else "LABEL"
        return " ".join([keyword, *map(str, one.pairs)])
    if isinstance(one, i.Arg):
        pairs: Iterable[i.Pair] = result
        return "ARG " + " ".join(pair.key if pair.value is None else str(pair) for pair in pairs)
    if isinstance(one, i.Cmd | i.Entrypoint):
        return f"{'CMD' if isinstance(one, i.Cmd) else 'ENTRYPOINT'} {quote_list(result)}"
    if isinstance(one, i.Healthcheck):
        fields = [f"{name}:{show_duration(value)}" for name, value in _times(one)]
        return f"HEALTHCHECK {{Test:{show_list(one.test)} {' '.join(fields)} Retries:{one.retries}}}"
    if isinstance(one, i.Expose):
        return f"EXPOSE {show_list(result)}"
    if isinstance(one, i.Volume):
        return f"VOLUME {show_list(one.paths)}"
    if isinstance(one, i.Shell):
        return f"SHELL {show_list(one.words)}"
    if isinstance(one, i.Workdir):
        return f"WORKDIR {result}"
    if isinstance(one, i.User):
        return f"USER {one.user}"
    if isinstance(one, i.StopSignal):
        return f"STOPSIGNAL {one.signal}"
    if isinstance(one, i.Maintainer):
        return f"MAINTAINER {one.text}"
    if isinstance(one, i.Onbuild):
        return f"ONBUILD {one.trigger}"
    raise TypeError(f"{type(one).__name__} has no text of its own")


def _times(one: i.Healthcheck) -> list[tuple[str, int]]:
    return [
        ("Interval", one.interval), ("Timeout", one.timeout), ("StartPeriod", one.start_period),
        ("StartInterval", one.start_interval),
    ]  # fmt: skip


def classic_text(one: i.Instruction, result: Any, shell: Sequence[str], content: str = "") -> str:
    """`created_by` of the classic builder; for RUN it is `run_text` with the arguments sorted.

    `result` as for `config_text`, but EXPOSE's words as written, and ARG's defaults. `content` is what
    COPY and ADD took: `file:<hash>`, `dir:<hash>`, `multi:<hash>`.
    """
    text, gap = "", " "
    if isinstance(one, i.Transfer):
        keyword = "ADD" if isinstance(one, i.Add) else "COPY"
        chown = f"--chown={one.chown} " if one.chown else ""
        text, gap = f"{keyword} {chown}{content} in {one.destination} ", ""
    elif isinstance(one, i.Workdir):
        text, gap = config_text(one, result), ""
    elif isinstance(one, i.Healthcheck):
        times = " ".join(quote(show_duration(value)) for _, value in _times(one))
        text = f"HEALTHCHECK &{{{quote_list(one.test)} {times} {_character(one.retries)}}}"
    elif isinstance(one, i.Expose):
        text = " ".join(["EXPOSE", *result])
    else:
        text = config_text(one, result)
    return " ".join([*shell, _NOP + gap + text])


def _character(code: int) -> str:
    """`%q` of a number: the character of this code."""
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        return "'\ufffd'"
    char = chr(code)
    return "'\\''" if char == "'" else "'\"'" if char == '"' else f"'{quote(char)[1:-1]}'"
