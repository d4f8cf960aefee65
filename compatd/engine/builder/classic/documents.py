"""Image documents as the classic builder writes them: one for each step, on that of the step before.

Source: images saved by a real engine (fields and their order).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from compatd.engine import timestamps
from compatd.engine.images.changes import empty_config, ordered
from compatd.engine.images.child import document

Json = dict[str, Any]

_SHELL = ("/bin/sh", "-c")
_NOP = "#(nop) "


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
    entry: Json = {"created": timestamps.rfc3339(created), "created_by": created_by}
    if author:
        entry["author"] = author
    own = config_of(config, parent_id)
    ran = own | {"Hostname": container[:12], "Cmd": command(created_by, config.get("Shell"))}
    return document(
        parent, entry, own, author=author, container=container, container_config=ran, diff_id=diff_id
    )
