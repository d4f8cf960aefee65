"""What makes steps the same, and what does not."""

from typing import Any

import pytest

from compatd.engine.builder import cachekeys
from compatd.engine.builder.running import resolve
from compatd.engine.images.platform import Platform
from tests.unit.builder.test_evaluate import body

PARENT = "sha256:parent"


def key(
    lines: str, *, network: str = "default", content: str = "", around: Any = None, **options: Any
) -> str:
    """The key of the last step with a layer."""
    steps, _ = body(lines, **options)
    step = [one for one in steps if one.layer][-1]
    one: Any = step.instruction
    if step.kind == "run":
        mounts = [
            (mount, content if mount.mount.type == "bind" else "") for mount in resolve(one.mounts, "/")
        ]
        return cachekeys.run_key(PARENT, step, mounts, network, around or {})
    if step.kind == "workdir":
        return cachekeys.workdir_key(PARENT, step)
    return cachekeys.transfer_key(PARENT, step, content)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("RUN a", "RUN b"),
        ("RUN a", 'RUN ["a"]'),
        ("RUN a", "ENV E=1\nRUN a"),
        ("RUN a", "ARG E=1\nRUN a"),
        ("RUN a", "USER 1\nRUN a"),
        ("RUN a", "WORKDIR /w\nRUN a"),
        ("RUN a", 'SHELL ["/x", "-c"]\nRUN a'),
        ("RUN a", "RUN --mount=type=cache,target=/c a"),
        ("RUN --mount=type=cache,target=/c a", "RUN --mount=type=cache,target=/c,sharing=locked a"),
        ("RUN --mount=type=cache,target=/c a", "RUN --mount=type=cache,target=/c,id=x a"),
        ("RUN --mount=type=secret,id=a a", "RUN --mount=type=secret,id=b a"),
        ("RUN --mount=target=/c a", "RUN --mount=target=/c,rw a"),
        ("RUN <<E\n#!/bin/sh\n1\nE\n", "RUN <<E\n#!/bin/sh\n2\nE\n"),
        ("COPY a /x", "ADD a /x"),
        ("COPY a /x", "COPY a /y"),
        ("COPY a /x", "COPY b /x"),
        ("COPY a /x", "COPY --chown=1 a /x"),
        ("COPY a /x", "COPY --chmod=700 a /x"),
        ("COPY a /x", "COPY --link a /x"),
        ("COPY a /x", "COPY --parents a /x"),
        ("COPY a /x", "COPY --exclude=*.o a /x"),
        ("ADD a /x", "ADD --unpack=false a /x"),
        ("WORKDIR /a", "WORKDIR /b"),
        ("WORKDIR /a", "USER 1\nWORKDIR /a"),
    ],
)
def test_different(one: str, other: str) -> None:
    assert key(one) != key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("RUN a", "LABEL a=b\nRUN a"),
        ("RUN a", 'CMD ["x"]\nRUN a'),
        ("RUN a", "HEALTHCHECK NONE\nRUN a"),
        ("RUN a", "EXPOSE 80\nRUN a"),
        ("RUN a", "ARG E\nRUN a"),
        ("COPY a /x", "ENV E=1\nCOPY a /x"),
        ("COPY a /x", "WORKDIR /\nCOPY a x"),
        ("ENV A=1 B=2\nRUN a", "ENV B=2 A=1\nRUN a"),
    ],
)
def test_the_same(one: str, other: str) -> None:
    assert key(one) == key(other)


def test_content_and_surroundings() -> None:
    assert key("COPY a /x", content="1") != key("COPY a /x", content="2")
    bind = "RUN --mount=target=/c a"
    assert key(bind, content="1") != key(bind, content="2")
    assert key("RUN a", network="host") != key("RUN a")
    assert key("RUN a", around={"hosts": ["a:1"]}) != key("RUN a")
    arguments = {"build_args": {"https_proxy": "http://secret@proxy", "HTTP_PROXY": "x"}}
    assert key("RUN a", **arguments) == key("RUN a"), "proxies are for the command, and not for the key"
    assert key("ARG E\nRUN a", build_args={"E": "1"}) != key("ARG E\nRUN a")
    assert key("RUN a", build_args={"E": "1"}) == key("RUN a"), "nobody has declared it"


def test_bases_are_their_layers() -> None:
    here, there = Platform("linux", "amd64"), Platform("linux", "arm64")
    assert cachekeys.base_key(["a", "b"], here) == cachekeys.base_key(["x", "b"], here)
    assert cachekeys.base_key(["a"], here) != cachekeys.base_key(["b"], here)
    assert cachekeys.base_key([], here) != cachekeys.base_key([], there), "scratch of another platform"
    assert cachekeys.record_key("k", ["a"]) != cachekeys.record_key("k", ["b"])


def test_the_classic_builder_compares_the_whole_config() -> None:
    """CVE-2024-24557: HEALTHCHECK and ONBUILD were no part of it, nor was what scratch is."""
    document = {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["x"]}, "history": [1]}
    same = {**document, "history": [2], "created": "now", "rootfs": {}}
    assert cachekeys.image_key("p", "RUN x", document) == cachekeys.image_key("p", "RUN x", same)
    for changed in (
        {**document, "config": {"Cmd": ["x"], "Healthcheck": {"Test": ["NONE"]}}},
        {**document, "config": {"Cmd": ["x"], "OnBuild": ["RUN y"]}},
        {**document, "architecture": "arm64"},
    ):
        assert cachekeys.image_key("p", "RUN x", document) != cachekeys.image_key("p", "RUN x", changed)
    assert cachekeys.image_key("p", "RUN x", document) != cachekeys.image_key("q", "RUN x", document)
