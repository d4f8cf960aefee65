"""`kill -9` of the daemon at random moments of pull, load, push, rmi and prune: 100 times in all.

After the start `compatd fsck` finds nothing wrong, and the same done again ends right. The moments come from
a seed, which is printed: COMPATD_SEED=NUMBER takes another one.
"""

import contextlib
import gzip
import http.client
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from compatd.fsck.command import check
from tests.integration.daemon import ApiError, Daemon, running_daemon
from tests.integration.killkit import registry_process
from tests.integration.test_storage_images import archive_of, config_of, layer_tar

pytestmark = pytest.mark.root

KILLS = 20
SEED = int(os.environ.get("COMPATD_SEED", "20261127"))
LEAST = 0.06  # what is removed goes on being removed after the answer (seconds)
ABORTED = (ApiError, OSError, http.client.HTTPException)


def layers_of(source: random.Random) -> list[bytes]:
    """Four layers of many small files and a large one."""
    found = []
    for number in range(4):
        small = {f"f{number}x{n}": source.randbytes(500 + n * 20) for n in range(40)}
        found.append(layer_tar(**{f"big{number}": source.randbytes(600_000)}, **small))
    return found


def archive(layers: list[bytes], *names: str) -> bytes:
    """What `docker save` writes; every other layer compressed."""
    files = {f"{n}.tar": gzip.compress(data, 1) if n % 2 else data for n, data in enumerate(layers)}
    manifest = json.dumps([{"Config": "c.json", "RepoTags": [*names], "Layers": [*files]}]).encode()
    return archive_of({"c.json": config_of(*layers), **files, "manifest.json": manifest})


LAYERS = layers_of(random.Random(1))  # noqa: S311 - content, no secret
IMAGE = archive(LAYERS, "a:1")


class Work:
    """Something to kill the daemon at: made ready by `prepare`, done by `run`, looked at by `ended_right`."""

    def __init__(self, daemon: Daemon, registry: str, source: random.Random) -> None:
        self.daemon = daemon
        self.registry = registry
        self.source = source

    def prepare(self) -> None:
        """Bring about what it begins with; of what an earlier one left, too."""
        for image in self.daemon.call("GET", "/images/json?all=1"):
            self.daemon.call("DELETE", f"/images/{image['Id']}?force=1")

    def run(self) -> None:
        """Do it. Raises ApiError, AssertionError."""
        raise NotImplementedError

    def ended_right(self) -> None:
        """Fails when it did not."""
        assert len(self.daemon.call("GET", "/images/a:1/json")["RootFS"]["Layers"]) == len(LAYERS)
        assert len(self.daemon.call("GET", "/images/a:1/get")) > len(LAYERS) * 600_000

    def stream(self, path: str, data: bytes | None = None) -> None:
        """A call that answers with progress; its errors are raised."""
        answer = str(self.daemon.call("POST", path, data=data))
        assert "errorDetail" not in answer, answer[-500:]


class Pull(Work):
    def run(self) -> None:
        self.stream(f"/images/create?fromImage={self.registry}/a/b&tag=1")
        self.daemon.call("POST", f"/images/{self.registry}/a/b:1/tag?repo=a&tag=1")


class Load(Work):
    def run(self) -> None:
        self.stream("/images/load", IMAGE)


class Push(Work):
    """Of an image that the registry has never seen."""

    tag = ""

    def prepare(self) -> None:
        super().prepare()
        self.tag = f"t{self.source.getrandbits(48):x}"
        own = [layer_tar(own=self.source.randbytes(900_000)) for _ in range(3)]
        self.stream("/images/load", archive(own, f"{self.registry}/a/b:{self.tag}"))

    def run(self) -> None:
        self.stream(f"/images/{self.registry}/a/b/push?tag={self.tag}")

    def ended_right(self) -> None:
        name = f"{self.registry}/a/b:{self.tag}"
        pushed = self.daemon.call("GET", f"/images/{name}/json")["Id"]
        Work.prepare(self)
        self.stream(f"/images/create?fromImage={self.registry}/a/b&tag={self.tag}")
        assert self.daemon.call("GET", f"/images/{name}/json")["Id"] == pushed


class Remove(Work):
    def prepare(self) -> None:
        super().prepare()
        self.stream("/images/load", IMAGE)

    def run(self) -> None:
        for image in self.daemon.call("GET", "/images/json?all=1"):
            self.daemon.call("DELETE", f"/images/{image['Id']}?force=1")

    def ended_right(self) -> None:
        assert self.daemon.call("GET", "/images/json?all=1") == []
        assert list((self.daemon.data_root / "compatd/layers").iterdir()) == []


class Prune(Remove):
    def prepare(self) -> None:
        super().prepare()
        for number in range(2, 6):
            self.stream("/images/load", archive(LAYERS[number % 4 :], f"b:{number}"))

    def run(self) -> None:
        self.daemon.call("POST", '/images/prune?filters={"dangling":["false"]}')


@dataclass
class Lab:
    """A daemon, and a registry in its network."""

    daemon: Daemon
    registry: str


@pytest.fixture
def lab() -> Iterator[Lab]:
    with running_daemon() as daemon:
        packed = [gzip.compress(layer, 1) for layer in LAYERS]
        fill = config_of(*LAYERS)
        with registry_process(lambda made: made.add(packed, fill, tag="1"), daemon.name) as host:
            yield Lab(daemon, host)


def killed_amid(work: Work, delay: float) -> bool:
    """Run it and kill the daemon after `delay` seconds; whether it was still at it."""
    ended = threading.Event()

    def run() -> None:
        with contextlib.suppress(*ABORTED, AssertionError):
            work.run()
            ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(delay)
    amid = not ended.is_set()
    work.daemon.kill()
    thread.join()
    return amid


def timed(action: Callable[[], None]) -> float:
    """How many seconds it takes."""
    start = time.monotonic()
    action()
    return time.monotonic() - start


@pytest.mark.parametrize("kind", [Pull, Load, Push, Remove, Prune])
def test_killed_at_random(lab: Lab, kind: type[Work]) -> None:
    name = kind.__name__
    source = random.Random(f"{SEED} {name}")  # noqa: S311 - moments, no secret
    daemon = lab.daemon
    work = kind(daemon, lab.registry, source)
    work.prepare()
    took = timed(work.run)
    work.ended_right()
    amid = 0
    for number in range(KILLS):
        work.prepare()
        delay = source.uniform(0, max(took, LEAST) * 1.1)
        amid += killed_amid(work, delay)
        print(f"seed {SEED}, {name} {number}: killed after {delay * 1000:.1f} of {took * 1000:.1f} ms")
        daemon.start()
        assert daemon.stop() == 0
        report = check(daemon.data_root, "overlay2", deep=True, repair=False)
        assert [problem.line() for problem in report.problems] == []
        daemon.start()
        took = timed(work.run)
        work.ended_right()
    print(f"{name}: {amid} of {KILLS} amid")
