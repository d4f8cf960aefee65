"""What both builders say of a RUN that fails, as the real ones do (26.1)."""

import asyncio

from compatd.engine.builder.running import failures
from compatd.engine.builder.running.model import Run
from compatd.engine.builder.running.runs import End, Runs
from compatd.engine.builder.snapshots import Snapshot


def run(*args: str) -> Run:
    return Run(Snapshot("a" * 64, ()), args, [])


def test_an_exit_code() -> None:
    error = failures.ended(run("/bin/sh", "-c", 'echo "x"; exit 3'), End(3))
    assert (
        error.message
        == 'process "/bin/sh -c echo \\"x\\"; exit 3" did not complete successfully: exit code: 3'
    )
    assert error.classic_text == "The command '/bin/sh -c echo \"x\"; exit 3' returned a non-zero code: 3"
    assert error.code == 3


def test_out_of_memory() -> None:
    error = failures.ended(run("a"), End(137, oom=True))
    assert error.message == 'process "a" did not complete successfully: cannot allocate memory'
    assert error.classic_text == "The command 'a' returned a non-zero code: 137"


def test_no_such_program() -> None:
    text = 'unable to start container process: exec: "nope": executable file not found in $PATH'
    error, logged = failures.not_started(run("nope", "a b"), text)
    assert logged == f"runc run failed: {text}\n".encode()
    assert error.message == 'process "nope a b" did not complete successfully: exit code: 1'
    assert error.classic_text == (
        "failed to create task for container: failed to create shim task: OCI runtime create failed: "
        f"runc create failed: {text}: unknown"
    )


def test_no_such_user() -> None:
    text = "unable to find user nobodyknows: no matching entries in passwd file"
    error, logged = failures.not_started(run("id"), text)
    assert error.message == f'process "id" did not complete successfully: {text}'
    assert (error.classic_text, logged) == (text, b"")


def test_news_of_a_run() -> None:
    async def scenario() -> None:
        runs = Runs()
        end = runs.begin("a")
        assert not runs.hear("b", {"event": "exit", "code": 0})
        assert runs.hear("a", {"event": "oom"})
        assert runs.hear("a", {"event": "exit", "code": 137, "oom": False})
        assert await end == End(137, oom=True)
        assert runs.hear("a", {"event": "exit", "code": 0})
        runs.over("a")
        assert "a" not in runs
        lost = runs.begin("c")
        runs.hear("c", {"event": "lost"})
        assert await lost == End(137)

    asyncio.run(scenario())
