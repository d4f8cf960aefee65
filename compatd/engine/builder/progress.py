"""What happens in a build, told while it happens: both doors render it.

Source: moby/buildkit solver/types (Vertex, VertexStatus, VertexLog, VertexWarning).
"""

from dataclasses import dataclass
from typing import Any

from compatd.engine.builder.dockerfile.errors import Lines

Json = dict[str, Any]

STDOUT, STDERR = 1, 2


@dataclass(slots=True)
class Vertex:
    """One line of progress. `started` and `completed` are ns since 1970, 0 for not yet.

    The same object is handed over each time that something of it has changed. `inputs` are digests of
    others, `error` is the text of what failed it; `group` is what it is shown below ("" for none).
    """

    digest: str
    name: str
    inputs: tuple[str, ...] = ()
    started: int = 0
    completed: int = 0
    cached: bool = False
    error: str = ""
    group: str = ""


@dataclass(slots=True)
class Status:
    """A part of a vertex with a progress of its own (bytes, mostly): a layer, a transfer."""

    vertex: str
    id: str
    current: int = 0
    total: int = 0
    started: int = 0
    completed: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """Output of a step; `stream` is STDOUT or STDERR."""

    vertex: str
    stream: int
    data: bytes
    time: int


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning of a build check, or of a step."""

    vertex: str
    rule: str
    short: str
    detail: tuple[str, ...] = ()
    url: str = ""
    lines: Lines = (0, 0)
    level: int = 1


@dataclass(frozen=True, slots=True)
class StepEvent:
    """What the classic text shows, in the order of a stage; stages interleave: each event has its own.

    `kind`: "begin" (number, total and text are set: `Step 1/3 : FROM busybox`), "running", "removed" (`id`:
    what the text calls the intermediate container), "cached", "done" (`image` is set: the ID of the image so
    far), "triggers" (`number` ONBUILD triggers follow: steps without a "begin"), "note" (`text`). The numbers
    count all instructions of all stages that are built, in the order of the Dockerfile.
    """

    kind: str
    stage: int
    number: int = 0
    total: int = 0
    text: str = ""
    id: str = ""
    image: str = ""
    vertex: str = ""


class Observer:
    """Hears all of one build, on the event loop; this one does nothing. The async ones give back-pressure."""

    def vertex(self, vertex: Vertex) -> None:
        """A line has come, or something of it has changed."""

    def status(self, status: Status) -> None:
        """A part of a line has come, or has moved on."""

    async def log(self, log: Log) -> None:
        """Output of a step."""

    def warning(self, notice: Notice) -> None:
        """A warning."""

    async def step(self, event: StepEvent) -> None:
        """For the classic text."""

    async def pulled(self, message: Json) -> None:
        """A message of a pull, as the API has them: for the classic text."""
