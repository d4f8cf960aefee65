"""`--mount`s with their defaults, and what of them is refused: BuildKit's rules and texts."""

from pathlib import Path

import pytest

from compatd.engine.builder import mountrules
from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.mounts import parse_mount
from compatd.engine.builder.mountrules import ResolvedMount
from compatd.engine.builder.snapshots import Folder

HERE = Folder(Path("/context"))


def resolve(*texts: str, cwd: str = "/work", namespace: str = "") -> list[ResolvedMount]:
    mounts = [parse_mount(text, str) for text in texts]
    return mountrules.resolve(mounts, cwd, [HERE] * len(mounts), namespace)


@pytest.mark.parametrize(
    ("text", "target", "id", "source"),
    [
        ("target=/a", "/a", "", "/"),
        ("target=a/../b,source=x/", "/work/b", "", "/x"),
        ("target=/a/,source=../../up", "/a", "", "/up"),
        ("type=cache,target=/root/.cache/", "/root/.cache", "//root/.cache", "/"),
        ("type=cache,target=rel", "/work/rel", "/rel", "/"),
        ("type=cache,target=/a,id=../../x", "/a", "/../../x", "/"),
        ("type=secret,id=a/b", "/run/secrets/b", "a/b", "/"),
        ("type=secret,source=tok", "/run/secrets/tok", "tok", "/"),
        ("type=secret,target=/etc/key", "/etc/key", "key", "/"),
        ("type=secret,id=x,env=TOK", "", "x", "/"),
        ("type=secret,id=x,env=TOK,target=f", "/work/f", "x", "/"),
        ("type=ssh", "/run/buildkit/ssh_agent.0", "default", "/"),
        ("type=ssh,id=other,target=/s", "/s", "other", "/"),
        ("type=tmpfs,target=/t", "/t", "", "/"),
    ],
)
def test_defaults(text: str, target: str, id: str, source: str) -> None:
    (found,) = resolve(text)
    assert (found.target, found.id, found.source) == (target, id, source)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("target=/", 'invalid mount target "/"'),
        ("type=cache,target=/a/..", 'invalid mount target "/a/.."'),
        ("type=tmpfs,target=/", 'invalid mount target "/"'),
        ("type=ssh,source=/x", "ssh does not support source"),
    ],
)
def test_refused(text: str, error: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        mountrules.check([parse_mount(text, str)], "/")
    assert caught.value.message == error


def test_without_a_target_it_is_the_working_folder() -> None:
    (found,) = resolve("type=bind,source=x")
    assert found.target == "/work"
    with pytest.raises(DockerfileError, match='invalid mount target ""'):
        resolve("type=bind", cwd="/")


def test_parents_come_first_and_agents_are_counted() -> None:
    found = resolve("target=/a/b", "type=ssh", "target=/a", "type=ssh,id=second")
    assert [one.target for one in found] == [
        "/a", "/a/b", "/run/buildkit/ssh_agent.0", "/run/buildkit/ssh_agent.1",
    ]  # fmt: skip


def test_where_files_come_from() -> None:
    bind, cache, seeded, tmpfs = resolve(
        "target=/a", "type=cache,target=/b", "type=cache,target=/c,from=x", "type=tmpfs,target=/d"
    )
    assert (bind.tree, cache.tree, seeded.tree, tmpfs.tree) == (HERE, None, HERE, None)


def test_a_namespace_parts_caches() -> None:
    (found,) = resolve("type=cache,target=/a", namespace="team")
    assert found.id == "team//a"


def test_an_empty_env_is_the_secrets_name() -> None:
    (found,) = resolve("type=secret,id=TOKEN,env=")
    assert found.mount.env == "TOKEN"
