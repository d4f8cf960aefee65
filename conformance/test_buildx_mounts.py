"""What clients lend to RUN: secrets, ssh agents; and caches that stay."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.engine import Engine
from conformance.kits import Kit, make

BOTH = ("Grpc", "Session", "ImageBuild")

pytestmark = pytest.mark.since("1.45")


@pytest.fixture(params=("buildx", "20.10"))
def kit(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Kit:
    """Each way to build."""
    return make(engine, tmp_path, buildx=request.param == "buildx")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """The socket of an ssh agent that has no keys."""
    path = tmp_path / "agent"
    command = ["ssh-agent", "-D", "-a", str(path)]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        pytest.skip("ssh-agent is missing (package openssh-client)")
    with process:
        assert process.stdout
        process.stdout.readline()  # it listens when it says where
        try:
            yield str(path)
        finally:
            process.kill()


@pytest.mark.operation(*BOTH)
def test_secrets(kit: Kit) -> None:
    text = kit.engine.name("secret")
    kit.files(
        f"FROM {kit.engine.image}\n"
        "RUN --mount=type=secret,id=one --mount=type=secret,id=two,target=/two,mode=0444,uid=1000 "
        "stat -c %a:%u /run/secrets/one /two > /seen; cat /run/secrets/one /two | wc -c >> /seen\n"
        "RUN --mount=type=secret,id=none test ! -e /run/secrets/none\n"
    )
    path = kit.folder.parent / "secret"
    path.write_text(text)
    image = kit.image("--secret", f"id=one,src={path}", "--secret", "id=two,env=TWO", env={"TWO": "22"})
    assert kit.run(image, "cat", "/seen") == f"400:0\n444:1000\n{len(text) + 2}\n"
    history = kit.engine.wire.get(f"/images/{image}/history")
    assert text not in json.dumps(history) + json.dumps(kit.config(image))
    assert kit.run(image, "sh", "-c", "ls /run/secrets /two 2>/dev/null; true") == ""


@pytest.mark.operation(*BOTH)
def test_other_secrets_are_no_other_step(kit: Kit) -> None:
    kit.files(f"FROM {kit.engine.image}\nRUN --mount=type=secret,id=s cat /run/secrets/s | wc -c\n")
    first = kit("--no-cache", "--secret", "id=s,env=S", env={"S": "one"})
    step = next(name for name in first.steps if name.endswith("| wc -c"))
    assert "3" in first.steps[step]
    assert kit("--secret", "id=s,env=S", env={"S": "another"}).steps[step] == ["CACHED"]


@pytest.mark.operation(*BOTH)
def test_a_secret_that_must_be_there(kit: Kit) -> None:
    kit.files(f"FROM {kit.engine.image}\nRUN --mount=type=secret,id=gone,required=true true\n")
    assert "secret gone: not found" in kit.fails("--no-cache").err


@pytest.mark.operation(*BOTH)
def test_an_ssh_agent(kit: Kit, agent: str) -> None:
    kit.files(
        f"FROM {kit.engine.image}\n"
        "RUN --mount=type=ssh,uid=1000,mode=0640 "
        "test -S $SSH_AUTH_SOCK && stat -c %a:%u $SSH_AUTH_SOCK > /s\n"
        "RUN test -z $SSH_AUTH_SOCK\n"
    )
    image = kit.image("--ssh", f"default={agent}")
    assert kit.run(image, "cat", "/s") == "640:1000\n"


@pytest.mark.operation(*BOTH)
def test_an_agent_that_must_be_there(kit: Kit) -> None:
    kit.files(f"FROM {kit.engine.image}\nRUN --mount=type=ssh,id=mine,required=true true\n")
    assert "unset ssh forward key mine" in kit.fails("--no-cache").err or "no SSH key" in kit.fails().err


@pytest.mark.operation(*BOTH)
def test_caches_stay(kit: Kit) -> None:
    name = kit.engine.name("cache")
    mount = f"--mount=type=cache,id={name},target=/c"
    kit.files(f"FROM {kit.engine.image}\nARG N\nRUN {mount} echo $N >> /c/all && cp /c/all /all\n")
    assert kit.run(kit.image("--build-arg", "N=1"), "cat", "/all") == "1\n"
    image = kit.image("--build-arg", "N=2")
    assert kit.run(image, "sh", "-c", "cat /all; test ! -e /c/all") == "1\n2\n"
