"""python -m conformance.differential REAL OURS: 0 when the two differ in nothing but what is allowed."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from conformance.differential.allowed import ALLOWED
from conformance.differential.compare import differences
from conformance.differential.recorder import Recorder
from conformance.differential.script import PARTS

API = "1.45"
"""What dockerd 26.1 speaks at most."""


def record(host: str) -> dict[str, Any]:
    """Run the whole script against one engine."""
    recorder = Recorder(host, API)
    try:
        for part in PARTS:
            recorder.part = part.__name__
            part(recorder)
        recorder.events()
    finally:
        recorder.clean()
    return recorder.steps


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    with ThreadPoolExecutor(2) as pool:
        real, ours = pool.map(record, sys.argv[1:])
    folder = os.environ.get("DIFFERENTIAL_RECORDS")
    if folder:
        for name, steps in (("real", real), ("ours", ours)):
            Path(folder, f"{name}.json").write_text(json.dumps(steps, indent=1, sort_keys=True))
    failed, used = 0, set()
    for found in differences(real, ours):
        entry = next((number for number, allowed in enumerate(ALLOWED) if allowed.covers(found)), None)
        if entry is None:
            failed += 1
            print(found)
        else:
            used.add(entry)
    for number, allowed in enumerate(ALLOWED):
        if number not in used:
            failed += 1
            print(f"allowed, and not met: {allowed}")
    print(f"{len(real)} steps compared; {len(used)} of {len(ALLOWED)} allowed differences; {failed} others")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
