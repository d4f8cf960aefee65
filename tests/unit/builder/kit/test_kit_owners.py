"""With `own`, what somebody else's session lends is out of a build's reach, wherever it is asked for."""

import asyncio
from typing import Any, cast

import pytest

from compatd.config.access import OWN
from compatd.engine.builder.buildkit.jobs import Job
from compatd.engine.builder.buildkit.limits import Peer
from compatd.engine.builder.buildkit.posted import Posted
from compatd.engine.builder.buildkit.wire import sessions
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError
from compatd.engine.builder.service import Builder
from tests.unit.builder.kit.scene import CONTROL, SESSION, Scene, control, scene
from tests.unit.builder.kit.test_kit_builds import COPY, by_function, folder
from tests.unit.builder.wire.ends import run

ME = Peer(frozenset({OWN}), "uid:1")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "WAIT", 0.01)


async def becomes(one: Scene, owner: str) -> None:
    """The session is somebody's from now on."""
    (await one.kit.sessions.get(SESSION, 30)).owner = owner


def test_a_build_with_somebody_elses_session() -> None:
    async def play() -> None:
        async with scene({COPY: folder()}, ME) as one:
            await becomes(one, "uid:2")
            with pytest.raises(GrpcError, match="no active session for session1"):
                await by_function(one, {})
            assert not one.builder.requests

    run(play())


def test_all_that_is_lent() -> None:
    refused: list[str] = []

    async def play() -> None:
        async with scene({COPY: folder()}, ME) as one:
            await becomes(one, "uid:1")

            async def work(request: Any, observer: Any) -> None:
                await becomes(one, "uid:2")
                job = Job("other", control("SolveRequest", Session=SESSION), ME)
                context: Any = one.kit.image_context(job, "x", "docker-image", "y")
                for name, asked in (
                    ("secret", request.secrets.get("x")),
                    ("ssh", request.ssh.connect("default")),
                    ("credentials", request.auth.credentials("example.com")),
                    ("files", request.context.load(["a.txt"])),
                    ("exports", one.kit.client(job)),
                    ("an image's credentials", context._task.auth.credentials("example.com")),
                ):
                    with pytest.raises(GrpcError, match="no active session"):
                        await asked
                    refused.append(name)
                await becomes(one, "uid:1")

            one.builder.work = work
            await by_function(one, {})
            keys = [key for _, key in one.builder.contexts.keys]
            assert all(key.startswith("uid:1:") for key in keys)

    run(play())
    assert len(refused) == 6


def test_what_the_rule_refuses() -> None:
    async def play() -> None:
        async with scene({COPY: folder()}, ME) as one:
            for name, request in (
                ("Prune", control("PruneRequest")),
                ("Solve", control("SolveRequest", Ref="job", Entitlements=["security.insecure"])),
            ):
                with pytest.raises(GrpcError) as caught:
                    await one.client.unary(f"{CONTROL}{name}", request)
                assert caught.value.code == Code.PERMISSION_DENIED
            assert not one.builder.pruned

    run(play())


def test_builds_of_others_are_not_cancelled_by_their_ids() -> None:
    """An ID is the client's word: who guesses it, or gives the same, neither ends a build nor feeds it."""

    async def play() -> None:
        builder = Builder.__new__(Builder)
        posted = Posted(cast(Any, None))
        for cancel, running in ((builder.cancel, {}), (posted.cancel, posted._running)):
            tasks = {owner: asyncio.ensure_future(asyncio.sleep(3600)) for owner in ("uid:1", "uid:2")}
            running.update({(owner, "id"): task for owner, task in tasks.items()})
            builder._builds, builder._ended = cast(Any, running), set()
            assert not cancel("id", "uid:3")
            assert not cancel("other")
            assert cancel("id", "uid:2")
            await asyncio.wait([tasks["uid:2"]])
            assert not tasks["uid:1"].done()
            assert cancel("id")  # by somebody without limits
            await asyncio.wait([tasks["uid:1"]])
        assert posted._slot(("uid:1", "id")) is not posted._slot(("uid:2", "id"))

    run(play())
