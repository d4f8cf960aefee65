"""Dockerfiles and clients that want more of the daemon than there is: bounded, refused, ended."""

import contextlib
import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.daemon import ApiError, Daemon, UnixConnection, running_daemon, wait_until
from tests.integration.loadkit import rss

MEMORY = 40 << 10  # KiB that the daemon may grow by, far below what comes in


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon() as made:
        made.image()
        list(messages(made, "FROM box\nRUN true\n"))  # whatever is loaded at first use
        yield made


def context(dockerfile: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(dockerfile)
        tar.addfile(info, io.BytesIO(dockerfile.encode()))
    return buffer.getvalue()


@contextlib.contextmanager
def building(daemon: Daemon, dockerfile: str, query: str = "") -> Iterator[Any]:
    """The answer to a build, with its head read; the connection is closed at the end."""
    connection = UnixConnection(daemon.socket)
    try:
        connection.request(
            "POST", f"/build?{query}", context(dockerfile), {"Content-Type": "application/x-tar"}
        )
        yield connection.getresponse()
    finally:
        connection.close()


def messages(daemon: Daemon, dockerfile: str, query: str = "") -> Iterator[Any]:
    with building(daemon, dockerfile, query) as response:
        for line in response:
            yield json.loads(line)


def grown(daemon: Daemon, before: int) -> int:
    return rss(daemon.pid) - before


def test_output_that_nobody_reads(daemon: Daemon) -> None:
    """The command waits for its client, in memory that does not grow; and ends with it."""
    census, memory = daemon.at_rest(), rss(daemon.pid)
    with building(daemon, f"FROM box\nRUN yes {'x' * 1000}\n") as response:
        assert response.read(1 << 20).count(b"xxx") > 1000
        time.sleep(2)  # dockerd's pipe would take some gigabytes meanwhile
        assert grown(daemon, memory) < MEMORY
    assert daemon.at_rest() == census


def test_endless_output_that_is_read(daemon: Daemon) -> None:
    memory, size = rss(daemon.pid), 0
    with building(daemon, f"FROM box\nRUN yes {'x' * 1000} | head -c 150000000\n") as response:
        while data := response.read(1 << 20):
            size += len(data)
    assert size > 150_000_000
    assert grown(daemon, memory) < MEMORY


def test_output_of_a_stage_that_waits_for_others(daemon: Daemon) -> None:
    """Stages run side by side; what the second says is kept until the first is done, within bounds."""
    memory = rss(daemon.pid)
    dockerfile = (
        f"FROM box AS one\nRUN while ! [ -e /dev/none ] && sleep 3; do break; done\n"
        f"FROM box AS two\nRUN yes {'y' * 1000} | head -c 60000000\nFROM scratch\nCOPY --from=one /etc /etc\n"
    )
    text = "".join(one.get("stream", "") for one in messages(daemon, dockerfile))
    assert text.index("FROM box AS one") < text.index("FROM box AS two") < text.index("COPY --from=one")
    assert "Successfully built" in text
    if "output clipped" in text:  # the machine was quick enough
        assert 8 << 20 < text.count("y") < 40 << 20
    assert grown(daemon, memory) < 2 * MEMORY


def test_a_storm_of_processes(daemon: Daemon) -> None:
    """All that a command has begun ends with it, also when the client goes away in between."""
    census = daemon.at_rest()
    storm = "i=0; while [ $i -lt 200 ]; do (sleep 1000 & sleep 1000) & i=$((i+1)); done; echo stormy; wait"
    with building(daemon, f"FROM box\nRUN {storm}\n") as response:
        while b"stormy\\n" not in response.readline():
            pass
        assert len(daemon.processes()) > 200
    wait_until(lambda: len(daemon.processes()) < 20, "all processes to end")
    assert daemon.at_rest() == census
    failed = list(
        messages(daemon, "FROM box\nRUN i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; false\n")
    )
    assert failed[-1]["errorDetail"]["code"] == 1
    assert daemon.at_rest() == census


def test_a_build_that_is_cancelled_by_its_id(daemon: Daemon) -> None:
    census, found = daemon.at_rest(), list[Any]()
    with building(daemon, "FROM box\nRUN echo here; sleep 1000\n", "buildid=own") as response:
        reader = threading.Thread(target=lambda: found.extend(json.loads(line) for line in response))
        reader.start()
        wait_until(lambda: any(one.get("stream") == "here\n" for one in found), "the command")
        daemon.call("POST", "/build/cancel?id=own")
        reader.join(60)
        assert not reader.is_alive()
    assert "cancel" in found[-1]["error"]
    assert daemon.at_rest() == census


@pytest.mark.parametrize(
    ("dockerfile", "text"),
    [
        ("FROM box\n" + "#" * (5 << 20), "Dockerfile is larger than 4194304 bytes"),
        ("FROM box\n" + "ENV a=b\n" * 2001, "more than 2000 instructions"),
        ("FROM box\n" * 1001, "more than 1000 stages"),
        ("FROM box\nRUN " + "x" * 70_000, "dockerfile line greater than max allowed size of 65535"),
        ("FROM box\nRUN " + ("x" * 60_000 + "\\\n") * 20, "longer than 1048576 characters"),
        ("FROM box\nENV a=x\n" + "ENV a=${a}${a}${a}${a}\n" * 40, "longer than 4194304 characters"),
    ],
    ids=["size", "instructions", "stages", "line", "continued", "expansion"],
)
def test_files_that_are_too_large(daemon: Daemon, dockerfile: str, text: str) -> None:
    memory = rss(daemon.pid)
    try:
        last = list(messages(daemon, dockerfile))[-1]
        said = str(last.get("error") or last.get("message"))
    except ApiError as error:
        said = str(error)
    assert text in said
    assert grown(daemon, memory) < 3 * MEMORY


def test_documents_that_grow_with_every_step(daemon: Daemon) -> None:
    """Each image has the history of all before it: of 2,000 labels, gigabytes in the daemon's memory."""
    memory = rss(daemon.pid)
    labels = "".join(f"LABEL x{number}={'x' * 4000}\n" for number in range(200))
    *_, last = messages(daemon, f"FROM box\n{labels}")
    assert "take more than" in last["error"]
    assert grown(daemon, memory) < 8 * MEMORY
    deleted = daemon.call("POST", "/images/prune")
    assert deleted["ImagesDeleted"]
