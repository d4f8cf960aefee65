"""What names a git repository: cases of BuildKit's own tables, and wrong ones."""

import pytest

from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.gitref import GitRef, classic, parse
from compatd.engine.builder.sources import kind


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("https://example.com/", None),
        ("https://example.com/foo", None),
        ("https://example.com/foo.git", GitRef("https://example.com/foo.git")),
        ("https://example.com/foo.git/", None),
        ("https://example.com/foo.git#a/b:c/../d", GitRef("https://example.com/foo.git", "a/b", "d")),
        ("HTTP://u:p@example.com/foo.git#x", GitRef("http://u:p@example.com/foo.git", "x")),
        ("git://example.com/foo", GitRef("git://example.com/foo")),
        ("ssh://git@example.com:22/foo.git", GitRef("ssh://git@example.com:22/foo.git")),
        ("git@github.com:a/b.git#x:/y/", GitRef("git@github.com:a/b.git", "x", "y")),
        ("github.com/a/b", GitRef("github.com/a/b", local=True)),
        ("./foo.git", None),
        ("../foo.git", None),
        ("foo.git", None),
        ("file:///x.git", None),
        ("ext://x.git", None),
        (".git", None),
        ("https://h/r.git?ref=v1&subdir=d", GitRef("https://h/r.git", "v1", "d")),
        ("https://h/r.git?tag=v1", GitRef("https://h/r.git", "refs/tags/v1")),
        ("https://h/r.git?branch=refs/heads/b", GitRef("https://h/r.git", "refs/heads/b")),
        ("https://h/r.git?commit=ab12", GitRef("https://h/r.git", checksum="ab12")),
        ("https://h/r.git?keep-git-dir", GitRef("https://h/r.git", keep_git_dir=True)),
        ("https://h/r.git?submodules=0&mtime=commit",
         GitRef("https://h/r.git", submodules=False, mtime="commit")),
        ("git@h:r.git?fetch-by-commit=true&ref=x", GitRef("git@h:r.git", "x", fetch_by_commit=True)),
    ],
)  # fmt: skip
def test_references(text: str, ref: GitRef | None) -> None:
    assert parse(text) == ref


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("ref=a#b", 'ref conflicts: "b" vs "a"'),
        ("ref=", 'query "ref" has no value'),
        ("ref=a&ref=b", 'query "ref" has multiple values'),
        ("what=1", 'unexpected query "what"'),
        ("tag=a&branch=b", "branch conflicts with tag"),
        ("submodules=maybe", 'invalid submodules value: "maybe"'),
        ("mtime=now", 'invalid mtime value: "now" (must be "checkout" or "commit")'),
    ],
)
def test_wrong_queries(query: str, message: str) -> None:
    with pytest.raises(DockerfileError) as raised:
        parse(f"https://h/r.git?{query}")
    assert raised.value.message == message


def test_kinds_of_sources() -> None:
    assert kind("git@h:r.git") == "git" and kind("https://h/r.git#x") == "git"
    assert kind("https://h/r.git/x") == "http" and kind("github.com/a/b") == "local" and kind("a") == "local"


def test_the_classic_builders_idea() -> None:
    assert classic("https://h/r.git") == GitRef("https://h/r.git", "master")
    assert classic("github.com/a/b#x:y") == GitRef("https://github.com/a/b", "x", "y")
    assert classic("git@h:r#:d") == GitRef("git@h:r", "master", "d")
    assert classic("http://h/context.tar") is None and classic("file:///r.git") is None
    with pytest.raises(DockerfileError, match="invalid refspec: --upload-pack=x"):
        classic("git://h/r#--upload-pack=x")
