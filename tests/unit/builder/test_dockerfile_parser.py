"""Lines of Dockerfiles: directives, comments, continuations, heredocs, JSON, errors and their places."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compatd.engine.builder.dockerfile import directives, parser
from compatd.engine.builder.dockerfile.errors import DockerfileError, excerpt, suggestion
from compatd.engine.builder.dockerfile.parser import Node, parse

# A loaded machine is slow, not wrong.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def one(text: str) -> Node:
    (node,) = parse(text.encode()).nodes
    return node


def fails(text: bytes | str) -> DockerfileError:
    with pytest.raises(DockerfileError) as caught:
        parse(text.encode() if isinstance(text, str) else text)
    return caught.value


def test_an_instruction_over_several_lines() -> None:
    nodes = parse(b"\n# hello\nFROM x\nRUN a \\\n # within\n\n  b \\\t\n c\nCMD d\n").nodes
    assert [node.lines for node in nodes] == [(3, 3), (4, 8), (9, 9)]
    assert nodes[0].comments == ("hello",)
    assert nodes[1].arguments == ["a   b  c"]
    assert nodes[1].original == "RUN a   b  c"


def test_empty_lines_within_an_instruction_are_told() -> None:
    assert parse(b"FROM x\nRUN a \\\n\n b\n").empty_continuations == [4]
    assert parse(b"FROM x\nRUN a \\\n b\n").empty_continuations == []


def test_a_byte_order_mark_and_line_ends_of_windows() -> None:
    nodes = parse(b"\xef\xbb\xbfFROM x\r\nRUN a \\\r\n b\r\n").nodes
    assert [node.arguments for node in nodes] == [["x"], ["a  b"]]


def test_the_escape_directive() -> None:
    found = parse(b"# escape=`\nFROM x\nRUN a `\n b\nENV p=c:\\ q=1\n")
    assert found.escape == "`"
    assert found.nodes[1].arguments == ["a  b"]
    assert [str(pair) for pair in found.nodes[2].pairs] == ["p=c:\\", "q=1"]


def test_directives_end_with_the_first_other_line() -> None:
    assert parse(b"# comment\n# escape=`\nFROM x\n").escape == "\\"
    assert parse(b"# Escape = `  \nFROM x\n").escape == "`"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# escape=x\nFROM a\n", "invalid escape token 'x' does not match ` or \\"),
        ("# escape=`\n# escape=`\nFROM a\n", "only one escape parser directive can be used"),
        ("# only\n", "file with no instructions"),
        ("", "the Dockerfile cannot be empty"),
        ("FROM a\nENV b\n", "ENV must have two arguments"),
        ("FROM a\nENV b=c d\n", 'Syntax error - can\'t find = in "d". Must be of the form: name=value'),
        ("FROM a\nLABEL b\n", "LABEL must have two arguments"),
        ("FROM a\nRUN <<EOF\nx\n", "unterminated heredoc"),
        (
            'FROM a\nCMD ["x", 1]\n',
            "when using JSON array syntax, arrays must be comprised of strings only",
        ),
        ("FROM a\n" + "x" * 65536, "dockerfile line greater than max allowed size of 65535"),
    ],
)
def test_errors(text: str, message: str) -> None:
    assert fails(text).message == message


def test_errors_know_their_lines() -> None:
    assert fails("FROM a\nENV \\\n b\n").locations == [(2, 3)]
    assert fails("FROM a\n\nRUN <<EOF\nx\n").locations == [(3, 4)]


def test_texts_of_the_classic_builder() -> None:
    assert fails("").classic("D") == "the Dockerfile (D) cannot be empty"
    assert fails("FROM a\nENV b").classic("D") == "failed to parse D: ENV must have two arguments"
    assert DockerfileError("x").classic("D") == "x"


def test_heredocs() -> None:
    node = one("RUN <<A cat <<-'B' 3<<\"C\"\n$x\n\tA\nA\n\tone\n\tB\n\x41\nC\n")
    first, second, third = node.heredocs
    assert (first.name, first.content, first.expand, first.chomp) == ("A", "$x\n\tA\n", True, False)
    assert (second.content, second.data, second.expand, second.chomp) == ("\tone\n", "one\n", False, True)
    assert (third.content, third.descriptor, third.expand) == ("A\n", 3, False)
    assert node.lines == (1, 8)


@pytest.mark.parametrize(
    "line", ["RUN cat <<<x", 'RUN echo "<<E"', 'RUN ["a", "<<E"]', "CMD <<E", "RUN a<<E'"]
)
def test_what_is_no_heredoc(line: str) -> None:
    assert one(line + "\n").heredocs == []


def test_heredocs_keep_bytes_that_are_no_text() -> None:
    (node,) = parse(b"COPY <<E /x\n\xff\xfe\r\nE\n").nodes
    assert node.heredocs[0].content.encode("utf-8", "surrogateescape") == b"\xff\xfe\r\n"


def test_flags() -> None:
    node = one("RUN --mount=type=cache,target=/a --x='b c' --y=d\\ e -- --z f\n")
    assert node.flags == ["--mount=type=cache,target=/a", "--x=b c", "--y=d e"]
    assert node.arguments == ["--z f"]


@pytest.mark.parametrize(
    ("line", "words", "json"),
    [
        ('CMD ["a", "b c"]', ["a", "b c"], True),
        ('CMD ["a", "\\u00e9\\ud83d\\ude00"]', ["a", "é😀"], True),
        ("CMD ['a']", ["['a']"], False),
        ('CMD ["a"', ['["a"'], False),
        ('CMD [NaN, "a"]', ['[NaN, "a"]'], False),
        ("CMD []", [], True),
        ("CMD", [], False),
        ('COPY ["a b", "c"]', ["a b", "c"], True),
        ("COPY a\t b   c", ["a", "b", "c"], False),
        ('HEALTHCHECK CMD ["a"]', ["CMD", "a"], True),
        ("ARG a b=c d='e f'", ["a", "b=c", "d='e f'"], False),
        ("VOLUME /a /b", ["/a", "/b"], False),
        ("USER a b ", ["a b"], False),
    ],
)
def test_arguments(line: str, words: list[str], json: bool) -> None:
    node = one(line + "\n")
    assert (node.arguments, node.json) == (words, json)


def test_pairs_in_both_forms() -> None:
    assert [(p.key, p.value) for p in one("ENV a=b c=\"d e\" f='g\\' h=i\\ j\n").pairs] == [
        ("a", "b"), ("c", '"d e"'), ("f", "'g\\'"), ("h", "i\\ j"),
    ]  # fmt: skip
    (pair,) = one("ENV a  b  c\n").pairs
    assert (pair.key, pair.value, pair.spaced) == ("a", "b  c", True)


def test_detecting_the_syntax() -> None:
    def word(text: str) -> str:
        found = directives.detect_syntax(text)
        return found.word if found else ""

    assert word("# syntax=docker/dockerfile:1 x\nFROM a") == "docker/dockerfile:1"
    assert word("#!/usr/bin/env x\n# syntax=b\nFROM a") == "b"
    assert word("// syntax = c\n") == "c"
    assert word('{"syntax": "d"}') == "d"
    assert word("FROM a\n# syntax=e") == ""


def test_the_excerpt_is_buildkits() -> None:
    source = "\n".join(f"l{number}" for number in range(1, 9))
    rule = "-" * 20
    middle = f"D:4\n{rule}\n" + "   2 |     l2\n   3 |     l3\n   4 | >>> l4\n   5 |     l5\n   6 |     l6\n"
    assert excerpt(source, (4, 4), "D") == middle + f"{rule}\n"
    two = f"D:4\n{rule}\n   3 |     l3\n   4 | >>> l4\n   5 | >>> l5\n   6 |     l6\n{rule}\n"
    assert excerpt(source, (4, 5), "D") == two
    assert excerpt("a", (1, 1), "D") == f"D:1\n{rule}\n   1 | >>> a\n{rule}\n"
    assert excerpt("a", (0, 0)) == excerpt("a", (3, 3)) == ""


def test_suggestions() -> None:
    assert suggestion("FRM", ["RUN", "FROM"], case=False) == "FROM"
    assert suggestion("frm", ["FROM"], case=False) == "from"
    assert suggestion("frm", ["FROM"]) == ""
    assert suggestion("from", ["from", "frim"]) == ""
    assert suggestion("x" * 10_000, ["y" * 10_000]) == ""


@patient
@given(st.binary(max_size=200), st.sampled_from([b"", b"# escape=`\n", b"FROM a\nRUN <<E\n", b"COPY --a "]))
def test_any_bytes_are_read_or_refused(text: bytes, start: bytes) -> None:
    try:
        found = parse(start + text)
    except DockerfileError:
        return
    lines = (start + text).count(b"\n") + 1
    assert all(1 <= node.lines[0] <= node.lines[1] <= lines for node in found.nodes)


@pytest.mark.parametrize(
    "text",
    [
        b"RUN " + b"<<" + b" " * 60_000 + b"<",
        b"#" + b" a=" + b" " * 60_000 + b"x\nFROM a",
        b"ONBUILD " * 8000 + b"x",
        b"# c\n" * 500_000 + b"FROM a",
        b"CMD " + b"[" * 60_000,
        b"ENV " + b"a=b " * 16_000,
        (b"RUN " + b"x" * 60_000 + b"\\\n") * 16,
        b"RUN " + b"<<E " * 15_000 + b"\nE" * 15_000,
    ],
)
def test_hostile_files_take_no_long(text: bytes) -> None:
    begin = time.process_time()
    try:
        parse(text)
    except DockerfileError:
        pass
    assert time.process_time() - begin < 20  # quadratic work would take minutes


def test_limits() -> None:
    assert "larger than" in fails(b"x" * (parser.MAX_SIZE + 1)).message
    assert "more than" in fails(b"RUN a\n" * (parser.MAX_INSTRUCTIONS + 1)).message
    assert "longer than" in fails((b"x" * 60_000 + b"\\\n") * 20).message
