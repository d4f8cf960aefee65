"""SIGTERM, SIGINT and SIGHUP, in a process of their own."""

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, logging, sys
from compatd.signals import Signals
logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
reloads = []
async def reload():
    reloads.append(1)
    print("reload", len(reloads), flush=True)
    await asyncio.sleep(0.3)
    if len(reloads) == 2:
        raise ValueError("wrong")
async def main():
    signals = Signals()
    signals.on_reload(reload)
    print("ready", flush=True)
    await signals.stop.wait()
    print("stop", flush=True)
    await asyncio.sleep(3600 if "stubborn" in sys.argv else 0)
asyncio.run(main())
"""


def _start(*words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupt")])
def test_the_first_one_stops(number: signal.Signals, name: str) -> None:
    process = _start()
    process.send_signal(number)
    out, told = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "stop\n")
    assert told == f"Processing signal '{name}'\n"


def test_after_three_the_next_one_ends_at_once() -> None:
    process = _start("stubborn")
    assert process.stderr is not None
    for _ in range(4):
        process.send_signal(signal.SIGTERM)
        assert process.stderr.readline() == "Processing signal 'terminated'\n"
    told = process.stderr.read()  # communicate() would not see what readline() has read ahead
    assert process.wait(60) == 128 + signal.SIGTERM
    assert told == "Forcing docker daemon shutdown without cleanup; 3 interrupts received\n"


def test_reloads_come_one_after_another_and_none_is_lost() -> None:
    process = _start()
    assert process.stdout is not None
    process.send_signal(signal.SIGHUP)
    assert process.stdout.readline() == "reload 1\n"
    process.send_signal(signal.SIGHUP)
    assert process.stdout.readline() == "reload 2\n"
    process.send_signal(signal.SIGHUP)
    assert process.stdout.readline() == "reload 3\n"  # though the second one failed
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
