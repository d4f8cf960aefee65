"""The journald driver and the journal's reader against a real systemd-journald in a /run of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JOURNALD = "/lib/systemd/systemd-journald"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.access(JOURNALD, os.X_OK), reason="systemd-journald is missing"),
]

# journald ends with the shell: it is killed in any case.
_SCRIPT = f"""
set -e
mount -t tmpfs run /run
mkdir -p /run/systemd/journal /run/log/journal
{JOURNALD} & journald=$!
trap 'kill $journald; wait $journald || true' EXIT
for n in $(seq 300); do [ -S /run/systemd/journal/socket ] && break; sleep 0.1; done
"$0" -c "$1"
"""

_PROGRAM = """
import asyncio, subprocess
from compatd.engine.containers.logentries import LogQuery
from compatd.engine.logdrivers import journal, servers
from runtime.shim.log import open_log
from runtime.shim.loop import Loop

server = {"network": "unixgram", "address": servers.JOURNAL_SOCKET}
fields = {"CONTAINER_ID_FULL": "c" * 64, "CONTAINER_NAME": "n", "TEAM": "two\\nlines"}
log = open_log({"driver": "journald", "server": server, "fields": fields, "cache": None}, Loop())
log.write(1, b"one\\n" + b"x" * 40000 + b"\\n")
log.write(2, b"err\\n")
log.close()
subprocess.run(["journalctl", "--sync"], check=True)

async def read(follow=False, **query):
    ended = asyncio.get_running_loop().create_future() if follow else None
    found = b""
    async for piece in journal.read("c" * 64, LogQuery(follow=follow, **query), framed=False, ended=ended):
        found += piece
        if ended is not None and not ended.done():
            ended.set_result((0, ""))
    return found

whole = b"one\\n" + b"x" * 40000 + b"\\nerr\\n"
assert asyncio.run(read()) == whole
assert asyncio.run(read(follow=True)) == whole
assert asyncio.run(read(stdout=False)) == b"err\\n"
assert asyncio.run(read(tail=1)) == b"err\\n"
assert asyncio.run(read(tail=0)) == b""
assert asyncio.run(read(since=4_000_000_000 * 10**9)) == b""
assert asyncio.run(read(tail=1, details=True)) == b"TEAM=two%0Alines err\\n"
print("all is well")
"""


def test_entries_are_read_back() -> None:
    command = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "bash",
        "-c",
        _SCRIPT,
        sys.executable,
        _PROGRAM,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=False, capture_output=True, timeout=120, env=environment)
    assert done.returncode == 0 and b"all is well" in done.stdout, done.stderr.decode(errors="replace")
