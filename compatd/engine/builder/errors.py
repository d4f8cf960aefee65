"""What makes a build fail that is no fault of the Dockerfile's language."""

from collections.abc import Sequence

from compatd.engine.builder.dockerfile.errors import Lines
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
