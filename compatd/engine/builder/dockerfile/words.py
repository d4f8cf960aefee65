"""How the line of an instruction is parted: flags, words, name=value pairs, JSON, heredocs."""

import json
import re

from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.expand import Lexer
from compatd.engine.builder.dockerfile.instructions import Heredoc, Pair
from compatd.engine.builder.dockerfile.text import BLANKS, SPACE, quote

NOT_STRINGS = "when using JSON array syntax, arrays must be comprised of strings only"


def split_command(line: str, escape: str) -> tuple[str, list[str], str]:
    """Keyword, flags and the rest of a line."""
    keyword, *rest = BLANKS.split(line.strip(SPACE), maxsplit=1)
    if not rest:
        return keyword, [], ""
    flags, arguments = _flags(rest[0], escape)
    return keyword, flags, arguments.strip(SPACE)


def _flags(line: str, escape: str) -> tuple[list[str], str]:
    """The words that begin with `--` (quotes and escapes taken away), and what follows them."""
    flags: list[str] = []
    position = 0
    while True:
        while position < len(line) and line[position] in SPACE:
            position += 1
        if not line.startswith("--", position):
            return flags, line[position:]
        word, position = _flag(line, position, escape)
        if word == "--":
            return flags, line[position:]
        if word:
            flags.append(word)


def _flag(line: str, position: int, escape: str) -> tuple[str, int]:
    word: list[str] = []
    mark = ""
    while position < len(line):
        char = line[position]
        if not mark and char in SPACE:
            break
        position += 1
        if not mark and char in "'\"":
            mark = char
        elif char == mark:
            mark = ""
        elif char == escape:
            word.append(line[position : position + 1])
            position += 1
        else:
            word.append(char)
    return "".join(word), position


def split_words(text: str, escape: str) -> list[str]:
    """Words parted at spaces outside of quotes; quotes and escapes stay in them."""
    words: list[str] = []
    word: list[str] = []
    mark, position = "", 0
    while position < len(text):
        char = text[position]
        position += 1
        if not mark and char in SPACE:
            if word:
                words.append("".join(word))
            word = []
            continue
        if not mark and char in "'\"":
            mark = char
        elif char == mark:
            mark = ""
        if char == escape and mark != "'":
            if position == len(text):
                break  # an escape at the end means nothing
            word.append(char)
            char = text[position]
            position += 1
        word.append(char)
    if word:
        words.append("".join(word))
    return words


def pairs(text: str, keyword: str, escape: str) -> list[Pair]:
    """`a=b c="d e"`, or the old `name value`. Raises DockerfileError."""
    words = split_words(text, escape)
    if not words:
        return []
    if "=" not in words[0]:
        name, *value = BLANKS.split(text, maxsplit=1)
        if not value:
            raise DockerfileError(f"{keyword} must have two arguments")
        return [Pair(name, value[0], spaced=True)]
    found = []
    for word in words:
        name, equals, value_ = word.partition("=")
        if not equals:
            raise DockerfileError(
                f"Syntax error - can't find = in {quote(word)}. Must be of the form: name=value"
            )
        found.append(Pair(name, value_))
    return found


def json_words(text: str) -> list[str] | None:
    """`["a", "b"]` as words; None for what is no JSON array. Raises DockerfileError for other items."""
    text = text.lstrip(SPACE)
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(word, str) for word in found):
        raise DockerfileError(NOT_STRINGS)
    return [word.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for word in found]


def _no_constant(name: str) -> None:
    raise ValueError(name)


def heredocs(line: str) -> list[Heredoc]:
    """The heredocs that a line opens, without content. Raises DockerfileError."""
    try:
        words = Lexer(raw_quotes=True, raw_escapes=True, keep_unset=True).words(line, {})
    except DockerfileError:
        return []
    return [found for word in words if (found := heredoc(word))]


def heredoc(word: str) -> Heredoc | None:
    """`<<EOF`, `3<<-"EOF"`; None for any other word. Raises DockerfileError for open quotes."""
    match = re.match(r"([0-9]*)<<(-?)", word)
    rest = word[match.end() :].lstrip("\t\n\f\r ") if match else ""
    if not match or not rest or "<" in rest:
        return None
    words = Lexer(keep_unset=True).words(rest, {})
    if len(words) != 1:
        return None
    raw = Lexer(keep_unset=True, raw_quotes=True).words(rest, {})[0]
    expand = _quotes(words[0]) == _quotes(raw)
    descriptor = int(match[1] or 0) if len(match[1]) < 10 else 0
    return Heredoc(words[0], expand=expand, chomp=bool(match[2]), descriptor=descriptor)


def is_heredoc(word: str) -> Heredoc | None:
    """Like `heredoc`, without errors."""
    try:
        return heredoc(word)
    except DockerfileError:
        return None


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')
