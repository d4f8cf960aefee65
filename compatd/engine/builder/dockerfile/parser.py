"""Bytes of a Dockerfile → its lines as nodes: keyword, flags, arguments, heredocs, where it is.

Source: the Dockerfile reference ("Format", "Parser directives", "Here-documents"); texts of errors:
moby/buildkit frontend/dockerfile/parser. Linear in the size of the file; run it off the event loop.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from compatd.engine.builder.dockerfile import directives, words
from compatd.engine.builder.dockerfile.errors import EMPTY, DockerfileError, Lines
from compatd.engine.builder.dockerfile.instructions import Heredoc, Pair
from compatd.engine.builder.dockerfile.text import BLANKS, SPACE

MAX_SIZE = 4 << 20  # of the file; BuildKit has no bound of its own
MAX_LINE = 65535
MAX_INSTRUCTION = 1 << 20  # of an instruction's lines joined, heredocs aside
MAX_INSTRUCTIONS = 2000

_WITH_HEREDOCS = ("add", "copy", "run")


@dataclass(slots=True)
class Node:
    """An instruction as written. `arguments` by its keyword: words, one text, or `pairs` for ENV and LABEL.

    `json` tells that the arguments came as a JSON array; `comments` are the lines above it.
    """

    keyword: str
    original: str
    flags: list[str]
    arguments: list[str]
    pairs: list[Pair] = field(default_factory=list)
    json: bool = False
    lines: Lines = (0, 0)
    comments: tuple[str, ...] = ()
    heredocs: list[Heredoc] = field(default_factory=list)
    trigger: "Node | None" = None  # of ONBUILD


@dataclass(slots=True)
class Dockerfile:
    """What was read. `empty_continuations`: the last lines of instructions with empty lines within them."""

    source: str
    name: str
    escape: str = "\\"
    nodes: list[Node] = field(default_factory=list)
    empty_continuations: list[int] = field(default_factory=list)

    def check(self) -> str:
        """The value of `# check=`, "" for none."""
        found = directives.find("check", self.source)
        return found.word if found else ""


def parse(text: bytes, name: str = "Dockerfile") -> Dockerfile:
    """Read a Dockerfile (or one ONBUILD trigger). Raises DockerfileError."""
    if not text:
        raise DockerfileError(EMPTY)
    if len(text) > MAX_SIZE:
        raise DockerfileError(f"Dockerfile is larger than {MAX_SIZE} bytes")
    # Bytes that are no UTF-8 stay what they are, in heredocs above all.
    parser = _Parser(text.decode("utf-8", "surrogateescape"), name)
    try:
        parser.run()
    except DockerfileError as error:
        error.syntax = True
        raise
    return parser.result


class _Parser:
    def __init__(self, source: str, name: str) -> None:
        self.result = Dockerfile(source, name)
        self.directives = directives.Reader()
        self.number = 0  # lines taken
        self.too_long = False
        self.lines = self._lines()
        self.comments: list[str] = []

    def _lines(self) -> Iterator[str]:
        """Lines with their ends. A line that is too long ends the file, which is told at the end."""
        source, begin = self.result.source, 0
        while begin < len(source):
            end = source.find("\n", begin) + 1 or len(source)
            line = source[begin:end]
            if len(line) > MAX_LINE // 4:
                length = len(line.removesuffix("\n").encode("utf-8", "surrogateescape"))
                if length > MAX_LINE:
                    self.too_long = True
                    return
            yield line
            begin = end

    def run(self) -> None:
        for line in self.lines:
            line = line.removeprefix(directives.BOM) if self.number == 0 else line
            joined = self._begin(line)
            if joined is not None:
                self._instruction(*joined)
        if not self.result.nodes:
            raise DockerfileError("file with no instructions", [(self.number, self.number)])
        if self.too_long:
            raise DockerfileError(
                f"dockerfile line greater than max allowed size of {MAX_LINE}", [(self.number, self.number)]
            )

    def _directive(self, text: str) -> bool:
        try:
            found = self.directives.read(text)
            if found and found.name == "escape":
                if found.value not in ("`", "\\"):
                    raise DockerfileError(f"invalid escape token '{found.value}' does not match ` or \\")
                self.result.escape = found.value
        except DockerfileError as error:
            raise error.at((self.number, self.number)) from None
        return found is not None

    def _begin(self, line: str) -> tuple[str, int] | None:
        """The instruction that begins in this line, its lines joined, and the number of its first."""
        text = line.rstrip("\r\n").lstrip(SPACE)
        if text.startswith("#"):
            comment = line[1:].strip(SPACE)
            if comment:
                self.comments.append(comment)
            else:
                self.comments = []
        if self._directive(text):
            del self.comments[-1:]
        self.number += 1
        first = self.number
        text, ended = self._continued("" if text.startswith("#") else text)
        if ended and not text:
            return None
        parts, empty, size = [text], False, len(text)
        while not ended and (following := next(self.lines, None)) is not None:
            text = following.rstrip("\r\n")
            self._directive(text)
            self.number += 1
            if following.lstrip(SPACE).startswith("#"):
                continue
            if not text.lstrip(SPACE):
                empty = True
                continue
            text, ended = self._continued(text)
            parts.append(text)
            size += len(text)
            if size > MAX_INSTRUCTION:
                raise DockerfileError(f"instruction is longer than {MAX_INSTRUCTION} characters",
                                      [(first, self.number)])  # fmt: skip
        if empty:
            self.result.empty_continuations.append(self.number)
        return "".join(parts), first

    def _continued(self, text: str) -> tuple[str, bool]:
        """Without an escape at the end, and whether there was none: then the instruction ends."""
        escape, trimmed = self.result.escape, text.rstrip(" \t")
        if trimmed.endswith(escape) and trimmed[-2:-1] != escape:
            return trimmed[:-1], False
        return text, True

    def _instruction(self, line: str, first: int) -> None:
        try:
            node = node_of(line, self.result.escape)
            if "<<" in line and _may_have_heredocs(node):
                node.heredocs = [self._heredoc(found) for found in words.heredocs(line)]
        except DockerfileError as error:
            raise error.at((first, self.number)) from None
        node.lines, node.comments = (first, self.number), tuple(self.comments)
        self.comments = []
        self.result.nodes.append(node)
        if len(self.result.nodes) > MAX_INSTRUCTIONS:
            raise DockerfileError(f"more than {MAX_INSTRUCTIONS} instructions", [node.lines])

    def _heredoc(self, heredoc: Heredoc) -> Heredoc:
        content: list[str] = []
        for line in self.lines:
            self.number += 1
            text = line.rstrip("\r\n")
            if (text.lstrip("\t") if heredoc.chomp else text) == heredoc.name:
                return replace(heredoc, content="".join(content))
            content.append(line)
        raise DockerfileError("unterminated heredoc")


def _may_have_heredocs(node: Node) -> bool:
    node = node.trigger or node
    return node.keyword.lower() in _WITH_HEREDOCS and not node.json


def node_of(line: str, escape: str) -> Node:
    """The node of one instruction, its lines joined. Raises DockerfileError."""
    keyword, flags, rest = words.split_command(line, escape)
    node = Node(keyword, line, flags, [])
    name = keyword.lower()
    if name in ("env", "label"):
        node.pairs = words.pairs(rest, name.upper(), escape)
    elif name == "arg":
        node.arguments = words.split_words(rest, escape)
    elif name in ("expose", "from"):
        node.arguments = BLANKS.split(rest) if rest else []
    elif name in ("maintainer", "stopsignal", "user", "workdir"):
        node.arguments = [rest] if rest else []
    elif name in ("add", "copy", "volume"):
        found = words.json_words(rest)
        node.json = found is not None
        node.arguments = found if found is not None else BLANKS.split(rest) if rest else []
    elif name in ("cmd", "entrypoint", "run", "shell"):
        node.arguments, node.json = _command(rest)
    elif name == "healthcheck" and rest:
        kind = rest.split(maxsplit=1)[0]
        command, node.json = _command(rest[len(kind) :].lstrip(SPACE))
        node.arguments = [kind, *command]
    elif name == "onbuild" and rest:
        node.trigger = _trigger(rest, escape)
        node.arguments = [node.trigger.keyword]
    return node


def _command(rest: str) -> tuple[list[str], bool]:
    found = words.json_words(rest)
    if found is not None:
        return found, True
    return ([rest] if rest else []), False


def _trigger(rest: str, escape: str) -> Node:
    if rest[:7].lower() == "onbuild" and rest[7:8] in SPACE:
        # Refused later; not read, since a line full of them would nest as deep.
        return Node(rest[:7], rest, [], [])
    return node_of(rest, escape)
