"""Where a stage has come to: what the next step stands on."""

from dataclasses import dataclass, replace

from compatd.engine.builder.bases import Base
from compatd.engine.builder.context import Context
from compatd.engine.builder.request import StepRecord
from compatd.engine.builder.snapshots import LayerTree
from compatd.engine.builder.state import State


@dataclass(frozen=True, slots=True)
class Stand:
    """`key` is the cache key so far, `record` the cache record on top ("" for none), `vertex` the line of
    progress that brought it here. `times` has one entry for each of the history: ns, or 0 for those that take
    their neighbours'; the first `inherited` of them are the base's. `image` is the classic builder's image so
    far, or the local base. `context`: the stage is no image but a client's folder.
    """

    key: str
    chain_ids: tuple[str, ...] = ()
    inherited: int = 0
    times: tuple[int, ...] = ()
    state: State | None = None
    record: str = ""
    vertex: str = ""
    image: str = ""
    steps: tuple[StepRecord, ...] = ()
    bases: tuple[Base, ...] = ()
    context: Context | None = None

    @property
    def place(self) -> Context | LayerTree:
        """Where COPY --from finds its files."""
        return self.context or LayerTree(self.chain_ids)

    def after(self, state: State, time: int = 0) -> "Stand":
        """With what a step has done to the config; a new entry of the history is of that time."""
        added = len(state.image.get("history") or ()) - len(self.times)
        return replace(self, state=state, times=(*self.times, *[time] * max(added, 0)))
