"""RUN by the classic door: what a command sees, and what of its work is kept."""

import re
from typing import Any

import pytest

from conformance import builds
from conformance.engine import Engine

pytestmark = pytest.mark.operation("ImageBuild")


def said(engine: Engine, dockerfile: str, **query: Any) -> list[str]:
    """The lines of a build that no other line explains: its commands' output."""
    lines = builds.build(engine, dockerfile, **query).lines
    known = ("Step ", " ---> ", "Successfully ", "Removing ")
    return [line for line in lines if not line.startswith(known)]


def test_volumes_are_not_kept(engine: Engine) -> None:
    dockerfile = f"""FROM {engine.image}
RUN mkdir /data && echo old > /data/old && chown 5:6 /data
VOLUME ["/data", "/new/place"]
RUN echo x > /data/file; echo x > /new/place/file; rm /data/old; ls /data /new/place; stat -c %u:%g /data
RUN ls -A /data /new/place
"""
    assert said(engine, dockerfile) == [
        *("/data:", "file", "", "/new/place:", "file", "5:6"),
        *("/data:", "old", "", "/new/place:"),
    ]


def test_proxies_are_seen_as_they_are_given(engine: Engine) -> None:
    arguments = {"http_proxy": "http://one:1", "NO_PROXY": "here", "other": "x"}
    dockerfile = f"FROM {engine.image}\nRUN env | grep -E -i 'proxy|other' | sort\n"
    built = builds.build(engine, dockerfile, buildargs=arguments)
    assert [line for line in built.lines if re.match(r"\w+=", line)] == [
        "NO_PROXY=here",
        "http_proxy=http://one:1",
    ]
    history = engine.wire.get(f"/images/{built.image}/history")
    assert any(step["CreatedBy"].startswith("|0 /bin/sh -c env") for step in history)


def test_hosts_and_names(engine: Engine) -> None:
    command = "hostname; cat /etc/hostname; cat /etc/hosts; ls -a / | grep dockerenv"
    found = said(engine, f"FROM {engine.image}\nRUN {command}\n", extrahosts=("db:10.1.2.3",))
    assert found[:2] == ["ID", "ID"]
    assert found[2] == "127.0.0.1\tlocalhost"
    assert "10.1.2.3\tdb" in found
    assert re.fullmatch(r"172\.\d+\.\d+\.\d+\tID", found[-2])
    assert found[-1] == ".dockerenv"


def test_who_it_runs_as(engine: Engine) -> None:
    head = f"FROM {engine.image}\n"
    assert said(engine, head + "USER user\nRUN id -u; echo $HOME; pwd\n") == ["1000", "/home/user", "/"]
    assert builds.build(engine, head + "USER nobodyknows\nRUN id\n").error == (
        "unable to find user nobodyknows: no matching entries in passwd file"
    )


def test_it_ends_with_its_first_process(engine: Engine) -> None:
    found = said(engine, f"FROM {engine.image}\nRUN (sleep 600; echo never) & echo first\n")
    assert found == ["first"]


def test_what_cannot_be_started(engine: Engine) -> None:
    built = builds.build(engine, f'FROM {engine.image}\nRUN ["nope", "a b"]\n')
    assert built.error.endswith('exec: "nope": executable file not found in $PATH: unknown')
    assert built.code == 0
