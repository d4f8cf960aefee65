"""A build whose client goes away ends, with all that runs for it, and leaves nothing."""

import contextlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.builds import build, context
from conformance.engine import LABEL, Engine
from conformance.until import until

BUILD = "ImageBuild"

pytestmark = pytest.mark.local  # looks for processes


def processes(marker: str) -> list[int]:
    """Those that have this word in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if marker.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


@contextlib.contextmanager
def building(engine: Engine, dockerfile: str, **query: Any) -> Iterator[Any]:
    """The answer to a build while it runs; the connection is closed at the end."""
    # dockerd sees a client go away only when it has read all of the body: nothing behind the archive's end
    tar = context(f"FROM {engine.image}\n{dockerfile}").rstrip(b"\0")
    tar += bytes(-len(tar) % 512 + 1024)
    headers = {"Content-Type": "application/x-tar"}
    response = engine.wire.open(
        "POST", "/build", tar, headers=headers, labels={LABEL: engine.run_id}, **query
    )
    try:
        yield response
    finally:
        response.close()


def read_until(response: Any, text: str) -> None:
    """Messages up to one of a command with this text."""
    for line in response:
        said = json.loads(line).get("stream", "")
        if text in said and not said.startswith("Step "):
            return
    raise AssertionError(f"no {text!r}")


@pytest.mark.operation(BUILD)
def test_closing_the_connection(engine: Engine) -> None:
    marker = f"9{secrets.randbelow(10**8):08}"
    images = {image["Id"] for image in engine.wire.get("/images/json", all=True)}
    text = f"RUN for i in 1 2 3 4 5; do sleep {marker} & done; echo now; wait\nRUN echo never\n"
    with building(engine, text) as response:
        read_until(response, "now")
        assert until(lambda: len(processes(marker)) == 5, "the command")
    until(lambda: not processes(marker), "all that ran is killed")
    until(lambda: not _containers(engine), "no container is left")
    now = {image["Id"] for image in engine.wire.get("/images/json", all=True)}
    assert now == images


def _containers(engine: Engine) -> list[Any]:
    filters = {"label": [f"{LABEL}={engine.run_id}"]}
    found = engine.wire.get("/containers/json", all=True, filters=filters)
    return [one for one in found if one["Id"] not in engine.keep]


@pytest.mark.operation(BUILD)
def test_a_client_that_stops_reading_holds_the_command_back(engine: Engine) -> None:
    marker = f"9{secrets.randbelow(10**8):08}"
    text = f"RUN sleep {marker} & yes {'x' * 50}\n"
    with building(engine, text) as response:
        read_until(response, "xxx")
        assert processes(marker)
    until(lambda: not processes(marker), "all that ran is killed")
    assert "<5>" in build(engine, f"FROM {engine.image}\nRUN echo '<5>'\n").lines


@pytest.mark.operation(BUILD)
def test_a_failure_ends_what_was_left_running(engine: Engine) -> None:
    marker = f"9{secrets.randbelow(10**8):08}"
    failed = build(engine, f"FROM {engine.image}\nRUN sleep {marker} & exit 3\n")
    assert failed.code == 3
    until(lambda: not processes(marker), "all that ran is killed")
    done = build(engine, f"FROM {engine.image}\nRUN (setsid sleep {marker} >/dev/null 2>&1 &) ; echo well\n")
    assert not done.error
    until(lambda: not processes(marker), "all that ran is killed")
