"""The part of Go's text/template that log tags use: fields, pipelines, functions, if, with and range.

Rules and texts of errors are text/template's; functions are those that Docker gives to its templates.
"""

import re
from typing import Any

from compatd.engine.logdrivers.functions import FUNCTIONS, text_of, truth
from compatd.engine.logdrivers.values import LogOptionError

_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<raw>`[^`]*`)|(?P<number>-?\d+)
    |(?P<path>\$?(?:\.\w+)+|\.|\$)|(?P<word>\w+)|(?P<sign>[|()]))""",
    re.VERBOSE,
)
_BLOCKS = ("if", "with", "range")
Node = tuple[Any, ...]


def render(text: str, data: dict[str, Any]) -> str:
    """The template filled in with `data` (the fields of a `*logger.Info`). Raises LogOptionError."""
    if "{{" not in text:
        return text
    return _run(_Parser(text).nodes(), data, data)


def _fail(text: str) -> LogOptionError:
    return LogOptionError(f"template: log-tag:1: {text}")


class _Parser:
    def __init__(self, text: str) -> None:
        self._parts = list(_parts(text))
        self._next = 0

    def nodes(self, *, inside: bool = False) -> list[Node]:
        """Everything up to the end, or to the `else` or `end` of a block, which stays."""
        found: list[Node] = []
        while self._next < len(self._parts):
            kind, content = self._parts[self._next]
            word = content.split(None, 1)[0] if kind == "action" and content.split() else ""
            if word in ("else", "end"):
                if not inside:
                    raise _fail(f"unexpected {{{{{word}}}}}")
                return found
            self._next += 1
            if kind == "text":
                found.append(("text", content))
            elif word in _BLOCKS:
                found.append(self._block(word, content.split(None, 1)[1:]))
            elif not content.lstrip().startswith("/*"):
                found.append(("show", _pipeline(content)))
        if inside:
            raise _fail("unexpected EOF")
        return found

    def _block(self, word: str, rest: list[str]) -> Node:
        if not rest:
            raise _fail(f"missing value for {word}")
        condition = _pipeline(rest[0])
        body, other = self.nodes(inside=True), []
        ending = self._parts[self._next][1].split(None, 1)
        self._next += 1
        if ending[0] == "else":
            if len(ending) > 1 and ending[1].split(None, 1)[0] == "if":
                other = [self._block("if", ending[1].split(None, 1)[1:])]
                return (word, condition, body, other)
            other = self.nodes(inside=True)
            self._next += 1
        return (word, condition, body, other)


def _parts(text: str) -> list[tuple[str, str]]:
    found, position, trim = [], 0, False
    for match in _ACTION.finditer(text):
        before = text[position : match.start()]
        before = before.lstrip() if trim else before
        before = before.rstrip() if match[1] else before
        if before:
            found.append(("text", before))
        found.append(("action", match[2].strip()))
        position, trim = match.end(), bool(match[3])
    rest = text[position:]
    if "{{" in rest:
        raise _fail("unclosed action")
    rest = rest.lstrip() if trim else rest
    if rest:
        found.append(("text", rest))
    return found


def _pipeline(text: str) -> list[list[Node]]:
    """Commands, each a list of operands."""
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if not match:
            raise _fail(f"unexpected {text[position:].strip()[:1]!r} in command".replace("'", '"'))
        tokens.append((match.lastgroup or "", match[match.lastgroup or ""]))
        position = match.end()
    commands, rest = _commands(tokens, 0)
    if rest != len(tokens):
        raise _fail('unexpected ")" in command')
    return commands


def _commands(tokens: list[tuple[str, str]], position: int) -> tuple[list[list[Node]], int]:
    commands: list[list[Node]] = [[]]
    while position < len(tokens):
        kind, value = tokens[position]
        if value == ")" and kind == "sign":
            break
        position += 1
        if kind == "sign" and value == "|":
            commands.append([])
        elif kind == "sign":
            inner, position = _commands(tokens, position)
            if position >= len(tokens):
                raise _fail("unclosed left paren")
            position += 1
            commands[-1].append(("pipe", inner))
        elif kind == "string":
            commands[-1].append(("value", value[1:-1].encode().decode("unicode_escape")))
        elif kind == "raw":
            commands[-1].append(("value", value[1:-1]))
        elif kind == "number":
            commands[-1].append(("value", int(value)))
        elif kind == "word" and value in ("true", "false"):
            commands[-1].append(("value", value == "true"))
        elif kind == "word":
            if value not in FUNCTIONS:
                raise _fail(f'function "{value}" not defined')
            commands[-1].append(("call", value))
        else:
            commands[-1].append(("path", value))
    if not all(commands):
        raise _fail("missing value for command")
    return commands, position


def _run(nodes: list[Node], dot: Any, root: dict[str, Any]) -> str:
    out = []
    for node in nodes:
        if node[0] == "text":
            out.append(node[1])
            continue
        value = _evaluate(node[1], dot, root)
        if node[0] == "show":
            out.append(text_of(value))
        elif not truth(value):
            out.append(_run(node[3], dot, root))
        elif node[0] == "range":
            items = [value[key] for key in sorted(value)] if isinstance(value, dict) else list(value)
            out += [_run(node[2], item, root) for item in items]
        else:
            out.append(_run(node[2], value if node[0] == "with" else dot, root))
    return "".join(out)


def _evaluate(commands: list[list[Node]], dot: Any, root: dict[str, Any]) -> Any:
    value: Any = None
    for number, command in enumerate(commands):
        piped = [value] if number else []
        first = command[0]
        if first[0] != "call":
            if len(command) > 1 or piped:
                raise _fail(f"can't give argument to non-function {first[1]}")
            value = _operand(first, dot, root)
            continue
        arguments = [_operand(operand, dot, root) for operand in command[1:]] + piped
        try:
            value = FUNCTIONS[first[1]](*arguments)
        except Exception as error:
            name = first[1]
            text = f'template: log-tag:1:2: executing "log-tag" at <{name}>: error calling {name}: {error}'
            raise LogOptionError(text) from None
    return value


def _operand(node: Node, dot: Any, root: dict[str, Any]) -> Any:
    kind, value = node
    if kind == "value":
        return value
    if kind == "pipe":
        return _evaluate(value, dot, root)
    if kind == "call":
        return FUNCTIONS[value]()
    found = root if value.startswith("$") else dot
    for name in filter(None, value.lstrip("$").split(".")):
        if isinstance(found, dict) and (name in found or found is not root):
            found = found.get(name, "")
            continue
        kind_name = "*logger.Info" if found is root else "string"
        raise LogOptionError(
            f'template: log-tag:1:2: executing "log-tag" at <{value}>: '
            f"can't evaluate field {name} in type {kind_name}"
        )
    return found
