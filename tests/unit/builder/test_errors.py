"""Failed builds by the labels of dockerd's metric."""

import asyncio

import pytest

from compatd.engine import metrics
from compatd.engine.builder.dockerfile.errors import EMPTY, DockerfileError
from compatd.engine.builder.dockerfile.parser import parse
from compatd.engine.builder.errors import BuildError, reason
from compatd.engine.errors import NotFound


@pytest.mark.parametrize(
    ("error", "label"),
    [
        (asyncio.CancelledError(), "build_canceled"),
        (DockerfileError(EMPTY), "dockerfile_empty_error"),
        (DockerfileError("unknown instruction: FRM"), "unknown_instruction_error"),
        (DockerfileError('target stage "x" could not be found'), "build_target_not_reachable_error"),
        (BuildError("process failed", code=1), "error_processing_commands_error"),
        (NotFound("no such image"), "error_processing_commands_error"),
    ],
)
def test_why_a_build_failed(error: BaseException, label: str) -> None:
    assert reason(error) == label and label in metrics.builds_failed.values


def test_a_file_that_is_no_dockerfile() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(b"FROM x\nENV a\n RUN <<EOF\n")
    assert reason(caught.value) == "dockerfile_syntax_error"
