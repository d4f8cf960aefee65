"""Git repositories as contexts: what never comes to git's command line."""

import asyncio
from typing import Any, cast

import pytest

from compatd.engine.builder.context import git
from compatd.engine.builder.dockerfile import gitref
from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.errors import EngineError


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/repo.git#--upload-pack=touch${IFS}x;:folder",
        "https://example.com/repo.git?ref=--upload-pack%3Dx",
        "git@example.com:repo#-x",
        "-oProxyCommand@example.com:repo",
    ],
)
def test_cve_2019_13139_refs_and_remotes_are_no_options(url: str) -> None:
    ref = gitref.parse(url)
    assert ref is not None
    with pytest.raises(EngineError, match="invalid git re"):
        asyncio.run(git.clone(cast(Any, None), ref))


def test_cve_2019_13139_by_the_classic_door() -> None:
    with pytest.raises(DockerfileError, match="invalid refspec: --upload-pack=x"):
        gitref.classic("https://example.com/repo.git#--upload-pack=x")
