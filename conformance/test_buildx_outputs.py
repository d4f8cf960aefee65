"""What comes of a build beside an image of the engine's, by the real clients."""

import io
import tarfile
from pathlib import Path

import pytest

from conformance.engine import Engine
from conformance.kits import Kit, make

BOTH = ("Grpc", "Session", "ImageBuild")

pytestmark = pytest.mark.since("1.45")


@pytest.fixture(params=("buildx", "20.10"))
def kit(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Kit:
    """Each way to build."""
    made = make(engine, tmp_path, buildx=request.param == "buildx")
    made.files(
        f"FROM {engine.image} AS made\n"
        "RUN mkdir -p /out/d && echo text > /out/d/file && ln -s file /out/d/link\n"
        "FROM scratch\nCOPY --from=made /out /\n"
    )
    return made


@pytest.mark.operation(*BOTH)
def test_a_folder(kit: Kit) -> None:
    target = kit.folder.parent / "target"
    kit("--output", f"type=local,dest={target}")
    assert (target / "d/file").read_text() == "text\n"
    assert (target / "d/link").readlink() == Path("file")


@pytest.mark.operation(*BOTH)
def test_a_tar(kit: Kit) -> None:
    target = kit.folder.parent / "out.tar"
    kit("--output", f"type=tar,dest={target}")
    with tarfile.open(target) as tar:
        assert sorted(name.strip("/") for name in tar.getnames()) == ["d", "d/file", "d/link"]
        file = tar.extractfile("d/file")
        assert file and file.read() == b"text\n"


@pytest.mark.operation(*BOTH)
def test_a_tar_on_stdout(kit: Kit) -> None:
    said = kit("--output", "-", progress="plain").result.raw_out
    with tarfile.open(fileobj=io.BytesIO(said)) as tar:
        assert "d/file" in [name.strip("/") for name in tar.getnames()]
