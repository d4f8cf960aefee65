"""Builds by the classic door, `POST /build`: contexts, requests, and what comes back, as tests see it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conformance import images
from conformance.engine import LABEL, Engine
from conformance.wire import Answer

Files = Mapping[str, bytes | str]

_ID = re.compile(r"\b(?:sha256:)?(?:[0-9a-f]{64}|[0-9a-f]{12})\b")


@dataclass
class Build:
    """What an engine answers: its status, and either all messages of the stream or one error."""

    status: int
    messages: list[dict[str, Any]] = field(default_factory=list)
    message: str = ""

    @property
    def text(self) -> str:
        """All of the `stream` messages."""
        return "".join(str(one.get("stream", "")) for one in self.messages)

    @property
    def error(self) -> str:
        """The error of the stream, or the one instead of it; "" for none."""
        return self.message or next((str(one["error"]) for one in self.messages if "error" in one), "")

    @property
    def code(self) -> int:
        """The code in `errorDetail`; 0 for none."""
        found = [one["errorDetail"] for one in self.messages if "errorDetail" in one]
        return int(found[0].get("code", 0)) if found else 0

    @property
    def ids(self) -> list[str]:
        """The image IDs that `aux` messages tell, in their order."""
        return [str(one["aux"]["ID"]) for one in self.messages if "aux" in one]

    @property
    def image(self) -> str:
        """The image that came out. Raises AssertionError when none did."""
        assert not self.error and self.ids, self
        return self.ids[-1]

    @property
    def lines(self) -> list[str]:
        """The lines of the text, every ID in them replaced by `ID`."""
        return masked(self.text)


def masked(text: str) -> list[str]:
    """Lines with every ID in them replaced by `ID`, and one word for the two ways of telling a removal."""
    plain = _ID.sub("ID", text)
    return plain.replace(
        "Removing intermediate container", " ---> Removed intermediate container"
    ).splitlines()


def context(dockerfile: str | bytes | None, files: Files | None = None) -> bytes:
    """A plain tar: a Dockerfile (unless None) and these files; names that end in / are folders."""
    tar = images.Tar()
    for name, data in {**({} if dockerfile is None else {"Dockerfile": dockerfile}), **(files or {})}.items():
        if name.endswith("/"):
            tar.add(name.rstrip("/"))
        else:
            tar.add(name, data)
    return tar.bytes()


def build(
    engine: Engine,
    dockerfile: str | bytes | None,
    files: Files | None = None,
    /,
    *,
    body: Any = None,
    api: str = "",
    headers: Mapping[str, str] | None = None,
    **query: Any,
) -> Build:
    """A build of this context, or of `body` where given; `t` as a tuple. The images are this run's."""
    data = context(dockerfile, files) if body is None else body
    labels = {**query.pop("labels", {}), LABEL: engine.run_id}
    return parsed(
        engine.wire.request(
            "POST",
            "/build",
            data,
            version=api,
            headers={"Content-Type": "application/x-tar", **(headers or {})},
            parameters={"labels": labels, **query},
        )
    )


def parsed(answer: Answer) -> Build:
    """An answer of /build."""
    if answer.status != 200:
        return Build(answer.status, message=answer.message)
    return Build(answer.status, [json.loads(line) for line in answer.body.splitlines() if line.strip()])
