"""Builds whose daemon is killed, whose client goes, whose disk is full: nothing is left, and the next one
works.
"""

import contextlib
import os
import random
import shutil
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from compatd.fsck.command import check
from tests.integration.daemon import ApiError, Daemon, daemon_on_a_disk, running_daemon, wait_until
from tests.integration.postkit import begin, build, tar_of

pytestmark = pytest.mark.root

KILLS = 5
SEED = int(os.environ.get("COMPATD_SEED", "20261128"))

FILES = {f"f{number}": bytes([number]) * 50_000 for number in range(20)}
ONE = """
FROM box:latest AS one
RUN {cache} head -c 3000000 /dev/urandom >/one; mkdir -p /d/e; ln -s one /d/e/link; echo x >/d/f
COPY f1 f2 /c/
WORKDIR /w/x
RUN rm -r /d/e; echo two >>/c/f1
FROM box:latest AS two
RUN head -c 2000000 /dev/urandom >/two
ADD f3 f4 f5 /a/
FROM box:latest
COPY --from=one /one /c /x/
COPY --from=two /two /a /x/
ENV A=1
RUN {cache} cat /x/f3 >/y
"""


def dockerfile(version: int) -> str:
    return ONE.replace("{cache}", "--mount=type=cache,target=/m" if version == 2 else "")


def leftovers(daemon: Daemon) -> list[str]:
    """What builds have below the data root while they run."""
    root = daemon.data_root / "compatd"
    return sorted(path.name for folder in ("rw", "tmp") for path in (root / folder).iterdir())


def counted(daemon: Daemon) -> dict[str, Any]:
    """The census at rest, of which daemon it is aside."""
    found = daemon.at_rest()
    return {**found, "processes": len(found["processes"])}


@pytest.mark.parametrize("version", [1, 2])
def test_kills_at_random_moments(version: int) -> None:
    print(f"COMPATD_SEED={SEED}")
    source = random.Random(SEED + version)  # noqa: S311 - moments, no secrets
    context = tar_of(dockerfile(version), FILES)
    with running_daemon() as daemon:
        daemon.image()
        at_first = counted(daemon)
        began = time.monotonic()
        build(daemon, context, version=version, nocache=1)
        usual = time.monotonic() - began
        for number in range(KILLS):
            delay = source.uniform(0.02, usual)
            with contextlib.suppress(ApiError, OSError):
                connection = begin(daemon, context, version=version, nocache=1)
                time.sleep(delay)
                connection.close() if number % 2 else None
            daemon.kill()
            daemon.start()
            wait_until(lambda: not leftovers(daemon), "what was half done to go")
            assert counted(daemon) == at_first, f"after {delay:.3f} s"
        daemon.stop()
        report = check(daemon.data_root, "overlay2", deep=True, repair=False)
        assert not report.problems, [problem.line() for problem in report.problems]
        daemon.start()
        assert build(daemon, context, version=version, t="x").image


@pytest.mark.parametrize("version", [1, 2])
def test_a_client_that_goes(version: int) -> None:
    """All stages end at once, and with them what they run."""
    text = "".join(
        f"FROM box:latest AS s{n}\nRUN touch /begun{n}; (sleep 1000 &) ; sleep 1000\n" for n in range(3)
    )
    text += "FROM box:latest\n" + "".join(f"COPY --from=s{n} /begun{n} /{n}\n" for n in range(3))
    with running_daemon() as daemon:
        daemon.image()
        before = daemon.at_rest()
        connection = begin(daemon, tar_of(text), version=version)
        rw = daemon.data_root / "compatd/rw"
        wait_until(lambda: len(list(rw.glob("*/diff/begun*"))) == 3, "three commands")
        connection.close()
        assert connection.sock is None
        wait_until(lambda: not leftovers(daemon), "the snapshots to go")
        assert daemon.at_rest() == before


@pytest.mark.parametrize("version", [1, 2])
def test_cancelled_by_its_id(version: int) -> None:
    with running_daemon() as daemon:
        daemon.image()
        context = tar_of("FROM box:latest\nRUN touch /begun; sleep 1000\n")
        connection = begin(daemon, context, version=version, buildid="b1")
        rw = daemon.data_root / "compatd/rw"
        wait_until(lambda: list(rw.glob("*/diff/begun")), "the command")
        daemon.call("POST", "/build/cancel?id=b1")
        assert b"errorDetail" in connection.getresponse().read()
        connection.close()
        wait_until(lambda: not leftovers(daemon), "the snapshot to go")


@pytest.fixture(params=["overlay2", "vfs"])
def small(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A daemon whose data root is a tmpfs of 32 MiB."""
    with daemon_on_a_disk(32 << 20, request.param) as made:
        yield made


def test_a_full_disk(small: Daemon) -> None:
    for version in (1, 2):
        full = build(
            small, tar_of("FROM box:latest\nRUN dd if=/dev/zero of=/x bs=1M count=48\n"), version=version
        )
        assert "exit code: 1" in full.error or "non-zero code: 1" in full.error
        assert b"No space left on device" in full.told
        wait_until(lambda: not leftovers(small), "the snapshot to go")
        context = tar_of("FROM box:latest\nCOPY large /\n", {"large": bytes(40 << 20)})
        try:
            error = build(small, context, version=version).error
        except ApiError as refused:
            error = str(refused)
        assert "no space left on device" in error.lower()
        wait_until(lambda: not leftovers(small), "the context to go")
        assert build(small, tar_of(f"FROM box:latest\nRUN echo {version} >/x\n"), version=version).image


def test_one_step_of_two_builds_is_done_once() -> None:
    mount = "--mount=type=cache,target=/m,sharing=locked"
    text = f"FROM box:latest\nRUN {mount} echo once >>/m/count; sleep 1\n"
    with running_daemon() as daemon:
        daemon.image()
        found: list[Any] = []

        def one(number: int) -> None:
            found.append(build(daemon, tar_of(f"{text}LABEL n={number}\n"), version=2).image)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 3
        counted = build(daemon, tar_of(f"FROM box:latest\nRUN {mount} wc -l </m/count\n"), version=2)
        assert counted.image and b"1\n" in counted.told and b"3\n" not in counted.told


def test_the_disk_is_given_back() -> None:
    """Layers of the cache outlive the image, and go with the records."""
    with running_daemon() as daemon:
        daemon.image()
        layers = daemon.data_root / "compatd/layers"
        base = {path.name for path in layers.iterdir()}
        image = build(daemon, tar_of("FROM box:latest\nRUN echo x >/x\n"), version=2).image
        both = {path.name for path in layers.iterdir()}
        assert len(both - base) == 1
        daemon.call("DELETE", f"/images/{image}")
        daemon.kill()
        daemon.start()
        assert {path.name for path in layers.iterdir()} == both, "also after a start"
        freed = daemon.call("POST", "/build/prune?all=1")
        assert freed["SpaceReclaimed"] == 2 and len(freed["CachesDeleted"]) >= 2
        assert {path.name for path in layers.iterdir()} == base
        shutil.rmtree(daemon.data_root / "compatd/build", ignore_errors=True)


def test_what_is_too_much_is_collected() -> None:
    config = {"builder": {"gc": {"policy": [{"all": True, "maxUsedSpace": "1B"}]}}}
    with running_daemon(config=config) as daemon:
        daemon.image()
        image = build(daemon, tar_of("FROM box:latest\nRUN head -c 9000 /dev/zero >/x\n"), version=2).image
        daemon.call("DELETE", f"/images/{image}")
        large = build(daemon, tar_of("FROM box:latest\nRUN head -c 8000 /dev/zero >/y\n"), version=2).image
        daemon.call("DELETE", f"/images/{large}")
        layers = daemon.data_root / "compatd/layers"
        wait_until(lambda: len(list(layers.iterdir())) == 1, "the collector")
