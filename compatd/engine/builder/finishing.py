"""The config of the image that came of a build, as BuildKit's exporter in dockerd writes it.

Source: moby builder-next/exporter (keys in the order of the alphabet, times of history entries).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compatd.engine import gojson, timestamps
from compatd.engine.builder.request import BuildRequest, PlatformResult
from compatd.engine.images.platform import Platform

if TYPE_CHECKING:
    from compatd.engine.builder.planning import Program
    from compatd.engine.builder.stand import Stand

Json = dict[str, Any]


_DOCUMENT = ("author", "os.version", "os.features", "variant")
_CONFIG = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal",
    "ArgsEscaped", "Healthcheck", "OnBuild", "StopTimeout", "Shell",
)  # fmt: skip


def _config(config: Json) -> Json:
    """What an OCI image's config has, and Docker's additions to it; the classic builder's base had more."""
    return {key: config[key] for key in _CONFIG if config.get(key)}


def known_times(document: Mapping[str, Any]) -> tuple[int, ...]:
    """When each entry of an image's history was made, ns; 0 where it does not say."""
    return tuple(_time(entry.get("created")) for entry in document.get("history") or ())


def _time(text: Any) -> int:
    try:
        return timestamps.from_rfc3339(str(text or ""))
    except ValueError:
        return 0


def filled(times: Sequence[int]) -> list[int]:
    """Entries without a layer take the time of the one before; the first of them that of the layer after it.

    0 stays where no entry has a time at all.
    """
    last, missing = 0, False
    for one in times:
        if one:
            last = one
            if missing:
                break
        else:
            missing = True
    found, missing = [], False
    for one in times:
        if one:
            last = one if missing else last
        else:
            missing = True
        found.append(one or last)
    return found


def result(
    program: "Program", request: BuildRequest, stand: "Stand", platform: Platform, diff_ids: list[str]
) -> PlatformResult:
    """What the target came to."""
    state = stand.state
    assert state is not None
    epoch = request.source_date_epoch
    times = filled(stand.times)
    if epoch is not None:
        times = [one if at < stand.inherited else epoch * 1_000_000_000 for at, one in enumerate(times)]
    history = [
        {"created": timestamps.rfc3339(moment), **{k: v for k, v in entry.items() if k != "created"}}
        if moment
        else dict(entry)
        for moment, entry in zip(times, state.image.get("history") or (), strict=True)
    ]
    document: Json = {key: state.image[key] for key in _DOCUMENT if state.image.get(key)}
    document |= {
        "architecture": state.image.get("architecture") or "",
        "config": _config(state.config),
        "os": state.image.get("os") or "",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    if history:
        document["history"] = history
    if any(times):
        document["created"] = timestamps.rfc3339([one for one in times if one][-1])
    config = gojson.dumps(dict(sorted(document.items())))
    stage = program.plan.stages[program.plan.target]
    return PlatformResult(
        platform=state.platform,
        config=config,
        chain_ids=stand.chain_ids,
        history=history,
        steps=stand.steps,
        bases=stand.bases,
        target=stage.name,
        parent=stand.image,
    )
