"""Ways of the daemon's life that systemd takes part in, without a systemd."""

import asyncio
import os

import pytest

from compatd import notify, supervision


def test_the_watchdog_is_fed_while_the_loop_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(notify, "send", said.append)
    monkeypatch.setenv("WATCHDOG_USEC", "4000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))

    async def feed() -> None:
        task = asyncio.ensure_future(supervision.feed_watchdog())
        while len(said) < 3:
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(asyncio.wait_for(feed(), 60))
    assert set(said) == {"WATCHDOG=1"}


@pytest.mark.parametrize(("interval", "pid"), [("", ""), ("x", ""), ("4000", "1")])
def test_nobody_asks(monkeypatch: pytest.MonkeyPatch, interval: str, pid: str) -> None:
    monkeypatch.setattr(notify, "send", pytest.fail)
    monkeypatch.setenv("WATCHDOG_USEC", interval)
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", pid)
    asyncio.run(asyncio.wait_for(supervision.feed_watchdog(), 60))


def test_idle_only_after_the_last_request() -> None:
    async def run() -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        asked: list[None] = []

        def last() -> float | None:
            asked.append(None)
            return None if len(asked) < 4 else begun  # a stream that ends after a while

        await supervision.wait_idle(0.2, last, lambda: "")
        return loop.time() - begun

    # Three looks found a request under way, at 0, 0.05 and 0.1 s at the earliest; then the time begins.
    assert asyncio.run(asyncio.wait_for(run(), 60)) >= 0.3


def test_idle_but_needed() -> None:
    reasons = ["web has a restart policy", "web has a restart policy", ""]
    asyncio.run(asyncio.wait_for(supervision.wait_idle(0.01, lambda: 0.0, lambda: reasons.pop(0)), 60))
    assert reasons == []
