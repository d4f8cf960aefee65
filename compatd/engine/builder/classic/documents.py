"""Image documents as the classic builder writes them: one for each step, on that of the step before.

Source: moby image (NewChildImage), images saved by a real engine (fields and their order).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from compatd import VERSION
from compatd.engine import gojson, timestamps
from compatd.engine.images.changes import empty_config, ordered

Json = dict[str, Any]

_SHELL = ("/bin/sh", "-c")
_NOP = "#(nop) "
_ORDER = (
    "architecture", "author", "config", "container", "container_config", "created", "docker_version",
    "history", "os", "os.version", "os.features", "rootfs", "variant",
)  # fmt: skip


def config_of(config: Mapping[str, Any], parent: str) -> Json:
    """A config as an image has it: all fields, in Docker's order, `Image` the image that it was made from."""
    always = empty_config()
    own = {key: value for key, value in config.items() if value or key in always}
    own.pop("ArgsEscaped", None)  # the classic builder's is for Windows only
    found = ordered({**always, **own, "Image": parent})
    for key in ("OnBuild", "Volumes", "Labels", "Env"):
        found[key] = found[key] or None
    return found


def command(created_by: str, shell: Sequence[str] | None) -> list[str]:
    """The words that are one text in the history: the shell, and what follows it."""
    words = list(shell or _SHELL)
    rest = created_by.removeprefix(" ".join(words) + " ")
    if rest == created_by:
        return [created_by]
    if rest.startswith(_NOP + " "):
        return [*words, _NOP, rest.removeprefix(_NOP + " ")]
    return [*words, rest]


def child(
    parent: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    created_by: str,
    created: int,
    parent_id: str = "",
    author: str = "",
    container: str = "",
    diff_id: str | None = None,
) -> bytes:
    """The document of the image after a step.

    `parent` is that of the image before it (for scratch: its platform alone), `config` the one after it.
    `created` in ns; `container` what the text calls the step's container, "" for COPY and ADD; `diff_id` of
    the step's layer, None where it made none.
    """
    moment = timestamps.rfc3339(created)
    entry: Json = {"created": moment, "created_by": created_by}
    if author:
        entry["author"] = author
    diff_ids = list((parent.get("rootfs") or {}).get("diff_ids") or [])
    if diff_id is None:
        entry["empty_layer"] = True
    else:
        diff_ids.append(diff_id)
    own = config_of(config, parent_id)
    ran = own | {"Hostname": container[:12], "Cmd": command(created_by, config.get("Shell"))}
    document: Json = {
        "architecture": parent.get("architecture") or "",
        "author": author,
        "config": own,
        "container": container,
        "container_config": ran,
        "created": moment,
        "docker_version": VERSION,
        "history": [*(parent.get("history") or []), entry],
        "os": parent.get("os") or "linux",
        "os.version": parent.get("os.version"),
        "os.features": parent.get("os.features"),
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "variant": parent.get("variant"),
    }
    kept = {key: document[key] for key in _ORDER if document[key] or key == "architecture"}
    return bytes(gojson.dumps(kept))
