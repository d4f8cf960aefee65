"""COPY and ADD as data: what the workers are told, and the parts of that with a language of their own."""

from typing import Any

import pytest

from compatd.engine.builder.copying import owner
from compatd.engine.builder.copying.actions import Work, cleaned, work
from compatd.engine.builder.dockerfile import chmod
from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.parser import parse
from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.evaluate import evaluate
from compatd.engine.builder.graph import Options, plan
from compatd.engine.images.platform import Platform
from runtime.storage.buildaction import changed


def told(line: str, *names: str, classic: bool = False) -> Work:
    """What the workers get for a line."""
    text = f"FROM scratch\nWORKDIR /w\n{line}\n"
    found = plan(parse(text.encode(), "Dockerfile"), Options(), build_platform=Platform("linux", "amd64"))
    steps, _ = evaluate(found, found.target, None)
    return work(steps[-1], classic=classic, names=list(names))


def only(line: str, *names: str, classic: bool = False) -> dict[str, Any]:
    (action,) = told(line, *names, classic=classic).actions
    return action


def test_a_local_source() -> None:
    action = only("COPY a/../b/ c/")
    assert (action["path"], action["target"]) == ("/b", "/w/c/")
    assert action["follow"] and action["contents"] and not action["wildcards"] and not action["unpack"]
    assert only("COPY ../../x /y")["path"] == "/x"
    assert only("COPY *.c /y")["wildcards"]
    assert only("ADD a /y")["unpack"] and not only("ADD --unpack=false a /y")["unpack"]


def test_parents() -> None:
    action = only("COPY --parents x/./a/b.txt /y")
    assert (action["path"], action["include"], action["required"]) == ("/x", ["a/b.txt"], ["/x/a/b.txt"])
    action = only("COPY --parents a/*.txt /y")
    assert (action["path"], action["include"], action["required"]) == ("/", ["a/*.txt"], [])


def test_sources_are_named_once() -> None:
    found = told("COPY a b <<x <<y /d/\none\nx\ntwo\ny")
    assert found.sources == ["local", {"files": {"x": "one\n"}}, {"files": {"y": "two\n"}}]
    assert [action["source"] for action in found.actions] == [0, 0, 1, 2]


def test_what_is_fetched() -> None:
    found = told("ADD http://h/f.tar https://h/r.git local /d/", "f.tar", "")
    assert found.sources == [0, 1, "local"]
    assert [action["path"] for action in found.actions] == ["/f.tar", "/", "/local"]
    assert [action["unpack"] for action in found.actions] == [False, False, True]
    assert only("ADD --unpack http://h/f.tar /d/", "f.tar")["unpack"]


def test_classic_sources_stay_as_they_are_written() -> None:
    assert only("COPY ../a /b", classic=True)["path"] == "../a"
    assert only("COPY /./a /b", classic=True)["path"] == "a"
    assert only("ADD http://h/f /b", "f", classic=True) == {"source": 0, "path": "f", "target": "/b"}


@pytest.mark.parametrize(
    ("path", "clean"),
    [("/", "/"), ("/a//b/", "/a/b/"), ("/a/../..", "/"), ("/a/.", "/a/."), ("/a/..//.", "/."), ("//a", "/a")],
)
def test_destinations(path: str, clean: str) -> None:
    assert cleaned(path) == clean


@pytest.mark.parametrize(
    ("text", "mode", "folder", "result"),
    [
        ("640", 0o755, False, 0o640),
        ("07777", 0, False, 0o7777),
        ("u+x", 0o644, False, 0o744),
        ("go-rwx", 0o755, False, 0o700),
        ("a=r", 0o4755, False, 0o444),
        ("+X", 0o644, False, 0o644),
        ("+X", 0o644, True, 0o755),
        ("+X", 0o744, False, 0o755),
        ("u=rwx,go=rX", 0o600, True, 0o755),
        ("g=u", 0o640, False, 0o660),
        ("go=u-w", 0o755, False, 0o755),
        ("u+s,g+s,+t", 0o755, False, 0o7755),
        ("o+s", 0o755, False, 0o755),
        ("-x", 0o755, False, 0o644),
        ("u=", 0o755, False, 0o055),
        ("o=g-r", 0o750, False, 0o751),
    ],
)
def test_modes(text: str, mode: int, folder: bool, result: int) -> None:
    parsed = chmod.parse(text)
    changes: Any = parsed if isinstance(parsed, int) else [list(change) for change in parsed]
    assert changed(mode, changes, folder=folder) == result


@pytest.mark.parametrize("text", ["8", "10000", "99999999999999999999", "0x7", ""])
def test_modes_that_are_no_octal_number(text: str) -> None:
    expected = f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
    with pytest.raises(DockerfileError) as raised:
        chmod.parse(text)
    assert raised.value.message == expected


@pytest.mark.parametrize("text", ["u", "rw", "u+q", "u+x,", "z+x", "+x+"])
def test_modes_without_meaning(text: str) -> None:
    if text == "+x+":  # an operation may come without permissions
        assert chmod.parse(text)
        return
    with pytest.raises(DockerfileError, match=r"^invalid syntax$"):
        chmod.parse(text)


@pytest.mark.parametrize(
    ("text", "user", "group"),
    [("alice", "alice", None), ("1:2", 1, 2), ("alice:", "alice", 0), (":staff", 0, "staff"),
     ("-1", -1, None),
     ("1:2:3", 1, "2:3"), ("99999999999999999999", "99999999999999999999", None)],
)  # fmt: skip
def test_owners(text: str, user: Any, group: Any) -> None:
    assert owner.parse(text, classic=False) == {"user": user, "group": group, "strict": False}


def test_owners_of_the_classic_builder() -> None:
    assert owner.parse("a:", classic=True) == {"user": "a", "group": "", "strict": True}
    with pytest.raises(BuildError, match="invalid chown string format: 1:2:3"):
        owner.parse("1:2:3", classic=True)
    assert owner.parse("", classic=True) is None
    assert owner.named({"user": 1, "group": "x"}) and not owner.named({"user": 1, "group": None})
