"""What a target can be given: build arguments, secrets, ssh agents.

Source: moby/buildkit frontend/dockerfile/dockerfile2llb/outline.go.
"""

import base64
from collections.abc import Iterable, Iterator
from typing import Any

from compatd.engine.builder import graph
from compatd.engine.builder.buildkit.options import FrontendOptions
from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.dockerfile import typed
from compatd.engine.builder.dockerfile.errors import DockerfileError, Lines
from compatd.engine.builder.dockerfile.expand import Lexer
from compatd.engine.builder.dockerfile.mounts import parse_mount
from compatd.engine.builder.dockerfile.parser import parse

Json = dict[str, Any]


def outline(source: bytes, wanted: FrontendOptions) -> Json:
    """frontend.outline's document. Raises DockerfileError."""
    dockerfile = parse(source)
    program = typed.program(dockerfile)
    options = graph.Options(wanted.target, wanted.build_args, contexts=list(wanted.contexts))
    plan = graph.plan(dockerfile, options)
    found = _Found(Lexer(dockerfile.escape), dict(wanted.build_args))
    found.globals(program.arguments)
    for index in plan.needed:
        stage = plan.stages[index]
        if stage.start is not None:
            found.start(stage.start)
            for planned in stage.instructions:
                found.instruction(planned.instruction)
    target = plan.stages[plan.target]
    document: Json = {
        "name": target.name,
        "description": described(target.start.comments, target.name) if target.start else "",
        "args": found.args(),
        "secrets": _mounts(found.secrets),
        "ssh": _mounts(found.ssh),
        "sources": [base64.b64encode(source).decode()],
    }
    return {key: value for key, value in document.items() if value}


def described(comments: Iterable[str], name: str) -> str:
    """What a comment above says about `name`, whose first word it must be."""
    return next((text[len(name) + 1 :] for text in comments if name and text.startswith(f"{name} ")), "")


def location(lines: Lines) -> Json:
    """pb.Location in Go's JSON."""
    first, last = lines
    return {"ranges": [{"start": {"line": first}, "end": {"line": last}}]}


class _Found:
    def __init__(self, lexer: Lexer, given: dict[str, str]) -> None:
        self._lexer, self._given = lexer, given
        self._known: dict[str, tuple[str, str, Lines]] = {}  # name: value, description, lines
        self._needs: dict[str, set[str]] = {}
        self._values: dict[str, str] = {}
        self._used: set[str] = set()
        self.secrets: dict[str, tuple[bool, Lines]] = {}
        self.ssh: dict[str, tuple[bool, Lines]] = {}

    def globals(self, arguments: "list[i.Arg] | tuple[i.Arg, ...]") -> None:
        for arg in arguments:
            for pair in arg.pairs:
                value, used = self._value(pair, self._values)
                self._needs[pair.key] = used
                if value is not None:
                    self._values[pair.key] = value
                self._know(arg, pair.key, value)

    def _value(self, pair: i.Pair, values: dict[str, str]) -> tuple[str | None, set[str]]:
        if pair.key in self._given:
            return self._given[pair.key], set()
        if pair.value is None:
            return None, set()
        word = self._lexer.word(pair.value, values)
        return word.text, set(word.used)

    def _know(self, arg: i.Arg, key: str, value: str | None) -> None:
        self._known[key] = value or "", described(arg.comments, key), arg.lines

    def start(self, start: i.From) -> None:
        for text in (start.base, start.platform):
            self._used |= set(self._lexer.word(text, self._values).used)

    def instruction(self, one: i.Instruction) -> None:
        if isinstance(one, i.Arg):
            for pair in one.pairs:
                value, _ = self._value(pair, self._values)
                if value is not None or pair.key not in self._values:
                    self._know(one, pair.key, value)
                self._used.add(pair.key)
        elif isinstance(one, i.Run):
            for flag in one.mount_flags:
                self._mount(flag, one.lines)

    def _mount(self, flag: str, lines: Lines) -> None:
        try:
            mount = parse_mount(flag, lambda text: self._lexer.word(text, self._values).text)
        except DockerfileError:
            return
        if mount.type == "secret" and (name := mount.id or mount.source or mount.target.rpartition("/")[2]):
            self.secrets.setdefault(name, (mount.required, lines))
        elif mount.type == "ssh":
            self.ssh.setdefault(mount.id or "default", (mount.required, lines))

    def args(self) -> list[Json]:
        used = set(self._with_needs(self._used))
        rows = sorted((self._known[key][2], key) for key in used if key in self._known)
        found = []
        for lines, key in rows:
            value, description, _ = self._known[key]
            arg = {"name": key, "description": description, "value": value, "location": location(lines)}
            found.append({name: content for name, content in arg.items() if content})
        return found

    def _with_needs(self, names: set[str]) -> Iterator[str]:
        waiting, seen = list(names), set[str]()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                yield name
                waiting += self._needs.get(name, ())


def _mounts(found: dict[str, tuple[bool, Lines]]) -> list[Json]:
    rows = sorted(found.items(), key=lambda item: item[1][1])
    return [
        {"name": name, **({"required": True} if required else {}), "location": location(lines)}
        for name, (required, lines) in rows
    ]
