"""`compatd fsck`: each thing that can be wrong below a data root is named and repaired where it can be."""

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compatd.engine.builder.records import Record
from compatd.engine.images.model import Layer
from compatd.store import Store
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.postkit import build, tar_of

pytestmark = pytest.mark.root

COMPATD = str(Path(sys.executable).parent / "compatd")


def fsck(daemon: Daemon, *options: str) -> tuple[int, list[str]]:
    """(exit code, lines of stdout)."""
    command = [COMPATD, "fsck", "--data-root", str(daemon.data_root), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines() or done.stderr.splitlines()


def packed_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in (("etc/one", b"1" * 3000), ("etc/two", b"2")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), mtime=0)


@pytest.fixture(scope="module")
def stopped() -> Iterator[Daemon]:
    """A daemon with images (plain and compressed), a container, a volume and a build cache, stopped."""
    with running_daemon() as daemon:
        daemon.image()
        daemon.call("POST", "/images/create?fromSrc=-&repo=packed&tag=1", data=packed_tar())
        daemon.create(["true"], "one")
        daemon.call("POST", "/volumes/create", {"Name": "vol"})
        command = "RUN --mount=type=cache,target=/c head -c 300000 /dev/zero >/c/f; echo x >/x"
        built = build(daemon, tar_of(f"FROM box:latest\n{command}\n"), version=2)
        daemon.call("DELETE", f"/images/{built.image}")  # its layer is only the cache's now
        daemon.stop()
        yield daemon
        daemon.start()  # what was repaired must do for a daemon, too
        daemon.call("GET", "/images/json")


def test_nothing_is_wrong_and_every_byte_is_somebodys(stopped: Daemon) -> None:
    code, lines = fsck(stopped, "--deep")
    assert (code, lines[-1]) == (0, "nothing is wrong")
    sizes = {line.split()[0]: int(line.split()[-2]) for line in lines[:-1]}
    assert {"blobs", "build", "containers", "layers", "state", "volumes"} <= set(sizes)
    assert sizes["build"] >= 300_000
    seen = set()
    total = stopped.data_root.lstat().st_blocks * 512
    for folder, names, files in os.walk(stopped.data_root):
        for name in [*names, *files]:
            info = Path(folder, name).lstat()
            if (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                total += info.st_blocks * 512
    assert abs(sum(sizes.values()) - total) < 200_000  # the database's own files come and go


def test_another_programs_files_are_left_alone(stopped: Daemon) -> None:
    foreign = stopped.data_root / "overlay2"
    foreign.mkdir()
    (foreign / "file").write_bytes(b"x" * 100_000)
    try:
        code, lines = fsck(stopped, "--repair")
        assert code == 0
        other = next(line for line in lines if line.startswith("other"))
        assert int(other.split()[1]) >= 100_000
        assert (foreign / "file").exists()
    finally:
        (foreign / "file").unlink()
        foreign.rmdir()


def _root(daemon: Daemon) -> Path:
    return daemon.data_root / "compatd"


def _first(folder: Path) -> Path:
    return sorted(folder.iterdir())[0]


def _orphan_layer(daemon: Daemon) -> None:
    (_root(daemon) / "layers" / ("a" * 64) / "diff").mkdir(parents=True)


def _orphan_blob(daemon: Daemon) -> None:
    (_root(daemon) / "blobs/sha256" / ("b" * 64)).write_bytes(b"x")


def _orphan_rw(daemon: Daemon) -> None:
    (_root(daemon) / "rw" / ("c" * 64) / "diff").mkdir(parents=True)


def _orphan_container(daemon: Daemon) -> None:
    (daemon.data_root / "containers" / ("d" * 64)).mkdir()


def _half_work(daemon: Daemon) -> None:
    (_root(daemon) / "tmp/layer-1/diff").mkdir(parents=True)


def _orphan_link(daemon: Daemon) -> None:
    (_root(daemon) / "l/abc").symlink_to("../layers/x/diff")


def _missing_link(daemon: Daemon) -> None:
    _first(_root(daemon) / "l").unlink()


def _empty_volume(daemon: Daemon) -> None:
    (daemon.data_root / "volumes/empty/_data").mkdir(parents=True)


def _full_volume(daemon: Daemon) -> None:
    data = daemon.data_root / "volumes/full/_data"
    data.mkdir(parents=True)
    (data / "precious").write_text("kept")


def _missing_volume(daemon: Daemon) -> None:
    (daemon.data_root / "volumes/vol/_data").rmdir()


def _name_of_nothing(daemon: Daemon) -> None:
    store = Store(_root(daemon))
    store.tags.put("docker.io/library/ghost:1", {"Image": "sha256:" + "e" * 64})
    store.close()


def _unreadable_row(daemon: Daemon) -> None:
    store = Store(_root(daemon))
    with store.transaction():
        store.execute("INSERT INTO volumes (id, doc) VALUES (?, ?)", ("torn", b'{"Name'))
    store.close()


def _layer_of_no_image(daemon: Daemon) -> None:
    """All of a layer is there, and nobody has it."""
    name = "f" * 64
    root = _root(daemon)
    (root / "layers" / name / "diff").mkdir(parents=True)
    (root / "layers" / name / "recipe").touch()
    (root / "l" / name[:26]).symlink_to(f"../layers/{name}/diff")
    (root / "l" / f"{name[:26]}i").symlink_to(f"../layers/{name}/init")
    layer = Layer(f"sha256:{name}", f"sha256:{name}", "", 0, f"sha256:{name}", 0, 0, "")
    store = Store(root)
    store.layers.put(layer.chain_id, layer.document())
    store.close()


def _orphan_cache(daemon: Daemon) -> None:
    (_root(daemon) / "build/abc").mkdir()


def _record_without_its_layer(daemon: Daemon) -> None:
    store = Store(_root(daemon))
    store.build_cache.put("r", Record("k", "regular", "", ("sha256:" + "9" * 64,)).document())
    store.close()


def _record_without_its_folder(daemon: Daemon) -> None:
    store = Store(_root(daemon))
    store.build_cache.put("r", Record("k", "exec.cachemount", "", folder=True).document())
    store.close()


def _unreadable_record(daemon: Daemon) -> None:
    store = Store(_root(daemon))
    store.build_cache.put("r", {"Key": "k"})
    store.close()


def _stray_in_a_layer(daemon: Daemon) -> None:
    (_first(_root(daemon) / "layers") / "odd").mkdir()


def _stray_beside_a_root(daemon: Daemon) -> None:
    (_first(_root(daemon) / "rw") / "odd").write_text("x")


def _missing_work(daemon: Daemon) -> None:
    shutil.rmtree(_first(_root(daemon) / "rw") / "work")


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (
            _layer_of_no_image,
            f"orphan: layer sha256:{'f' * 64}, which no image, no container and no build has",
        ),
        (_orphan_cache, "orphan: folder build/abc of the build cache"),
        (
            _record_without_its_layer,
            f"missing: record r of the build cache: layer sha256:{'9' * 64} is missing",
        ),
        (_record_without_its_folder, "missing: record r of the build cache: its folder is missing"),
        (_unreadable_record, "damaged: record r of the build cache: it cannot be read"),
        (_stray_in_a_layer, "stray: layers/"),
        (_stray_beside_a_root, "stray: rw/"),
        (_missing_work, "missing: folder rw/"),
        (_orphan_layer, "orphan: folder layers/" + "a" * 64),
        (_orphan_blob, "orphan: blob " + "b" * 64),
        (_orphan_rw, "orphan: folder compatd/rw/" + "c" * 64),
        (_orphan_container, "orphan: folder containers/" + "d" * 64),
        (_half_work, "orphan: half work tmp/layer-1"),
        (_orphan_link, "orphan: link l/abc"),
        (_missing_link, "missing: link l/"),
        (_empty_volume, "orphan: empty volume empty"),
        (_full_volume, "orphan: volume full"),
        (_missing_volume, "missing: folder volumes/vol/_data"),
        (_name_of_nothing, "orphan: name docker.io/library/ghost:1 of no image"),
        (_unreadable_row, "damaged: the state's entry torn in volumes"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_named_then_repaired_then_gone(stopped: Daemon, harm: Callable[[Daemon], None], line: str) -> None:
    harm(stopped)
    code, lines = fsck(stopped, "--quiet")
    assert (code, len(lines)) == (4, 1), lines
    assert lines[0].startswith(line)
    code, lines = fsck(stopped, "--quiet", "--repair")
    assert (code, len(lines)) == (1, 1), lines
    assert lines[0].endswith("[repaired]")
    assert fsck(stopped, "--quiet") == (0, [])


@pytest.mark.parametrize("path", ["compatd/odd", "compatd/rw/odd", "containers/odd", "volumes/odd/odd"])
def test_a_file_of_nobody_s_is_named_and_left(stopped: Daemon, path: str) -> None:
    """Only a person can know what it is."""
    stray = stopped.data_root / path
    stray.mkdir(parents=True)
    (stray / "file").write_bytes(b"x" * 50_000)
    try:
        code, lines = fsck(stopped, "--repair")
        assert code == 4 and lines[0].startswith("stray: ") and lines[0].endswith(" [left]"), lines
        orphans = next(line for line in lines if line.startswith("orphans"))
        assert int(orphans.split()[1]) >= 50_000
        assert (stray / "file").exists()
    finally:
        shutil.rmtree(stray if stray.parent.name != "odd" else stray.parent)
    assert fsck(stopped, "--quiet") == (0, [])


def test_a_volume_with_content_is_never_removed(stopped: Daemon) -> None:
    data = stopped.data_root / "volumes/treasure/_data"
    data.mkdir(parents=True)
    (data / "precious").write_text("kept")
    assert fsck(stopped, "--quiet", "--repair")[0] == 1
    assert (data / "precious").read_text() == "kept"
    assert fsck(stopped, "--quiet") == (0, [])


@pytest.fixture
def damaged() -> Iterator[Daemon]:
    """A daemon of its own with one plain and one compressed image, stopped."""
    with running_daemon() as daemon:
        daemon.image()
        daemon.call("POST", "/images/create?fromSrc=-&repo=packed&tag=1", data=packed_tar())
        daemon.stop()
        yield daemon


def test_damaged_and_missing_content(damaged: Daemon) -> None:
    root = _root(damaged)
    plain, packed = None, None
    for folder in (root / "layers").iterdir():
        if (folder / "recipe").exists():
            plain = folder
        else:
            packed = folder
    assert plain and packed
    passwd = plain / "diff/etc/passwd"
    passwd.write_bytes(passwd.read_bytes().replace(b"root", b"evil"))
    (packed / "diff/etc/one").chmod(0o600)
    assert fsck(damaged, "--quiet") == (0, [])
    code, lines = fsck(damaged, "--quiet", "--deep")
    assert code == 4
    assert any(line == f"damaged: layer sha256:{plain.name}: its files have changed" for line in lines), lines
    assert any("/etc/one has changed in its files" in line for line in lines), lines
    blob = _first(root / "blobs/sha256")
    blob.write_bytes(blob.read_bytes()[:-1])
    assert any("bytes, not" in line for line in fsck(damaged, "--quiet")[1])
    blob.unlink()
    assert any(line.endswith("is missing") for line in fsck(damaged, "--quiet")[1])
    code, lines = fsck(damaged, "--quiet", "--deep", "--repair")
    assert code == 1 and all(line.endswith("[repaired]") for line in lines), lines
    assert fsck(damaged, "--quiet", "--deep") == (0, [])
    damaged.start()
    assert damaged.call("GET", "/images/json") == []
    damaged.image()  # the same again is whole again
    assert damaged.logs(_ran(damaged, ["cat", "/etc/group"])).startswith(b"root:")


def _ran(daemon: Daemon, command: list[str]) -> str:
    container = daemon.run(command)
    daemon.call("POST", f"/containers/{container}/wait")
    return container


def test_what_a_container_needs_is_left(damaged: Daemon) -> None:
    damaged.start()
    container = damaged.create(["true"])
    damaged.stop()
    layer = next(path for path in (_root(damaged) / "layers").iterdir() if (path / "recipe").exists())
    (layer / "recipe").unlink()
    code, lines = fsck(damaged, "--quiet", "--repair")
    assert code == 4
    assert any(f"container {container[:12]} needs it" in line and line.endswith("[left]") for line in lines)
    assert (layer / "diff").is_dir()


def test_it_refuses_while_a_daemon_runs(damaged: Daemon) -> None:
    damaged.start()
    code, lines = fsck(damaged)
    assert code == 8
    assert "is in use by another compatd" in lines[0]


def test_usage_and_roots_that_are_none(tmp_path: Path) -> None:
    def call(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([COMPATD, "fsck", *words], capture_output=True, text=True, check=False)

    assert call("--bogus").returncode == 16
    assert "exit codes" in call("--help").stdout and call("--help").returncode == 0
    none = call("--data-root", str(tmp_path))
    assert none.returncode == 8 and "it has no state of compatd's" in none.stderr
    assert list(tmp_path.iterdir()) == []
