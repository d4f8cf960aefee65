"""What makes a build fail that is no fault of the Dockerfile's language."""

import asyncio
from collections.abc import Sequence

from compatd.engine.builder.dockerfile.errors import EMPTY, DockerfileError, Lines
from compatd.engine.errors import EngineError


class BuildError(EngineError):
    """A step failed. `code` is the exit code of RUN's command (0 where that is not why).

    `locations` are the lines of the step, `classic_text` is what the classic door says.
    """

    def __init__(
        self, text: str, *, code: int = 0, classic: str = "", locations: Sequence[Lines] = ()
    ) -> None:
        super().__init__(text)
        self.code = code
        self.classic_text = classic or text
        self.locations: list[Lines] = list(locations)
        self.vertex = ""


_REASONS = {
    "unknown instruction": "unknown_instruction_error",
    "target stage": "build_target_not_reachable_error",
    "ONBUILD": "missing_onbuild_arguments_error",
}


def reason(error: BaseException) -> str:
    """Why a build failed, by the labels of dockerd's metric `builder_builds_failed`."""
    if isinstance(error, asyncio.CancelledError):
        return "build_canceled"
    if isinstance(error, DockerfileError):
        if error.message == EMPTY:
            return "dockerfile_empty_error"
        for start, label in _REASONS.items():
            if error.message.startswith(start):
                return label
        if error.syntax:
            return "dockerfile_syntax_error"
    return "error_processing_commands_error"
