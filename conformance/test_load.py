"""load: docker-archives and OCI layouts, packed and plain; what layers may hold."""

import bz2
import gzip
import json
import lzma
import tarfile
from collections.abc import Callable

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.images import Image, Tar, docker_archive, oci_layout

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def tagged(engine: Engine, layers: list[bytes] | None = None) -> tuple[str, Image]:
    image = engine.base(Labels={"own": engine.name()})
    image.layers += layers or []
    return engine.name("load") + ":1", image


@pytest.mark.operation("ImageLoad")
def test_docker_archive(engine: Engine, cli: Cli) -> None:
    tag, image = tagged(engine)
    out = cli("load", stdin=docker_archive({tag: image})).out
    assert out.endswith(f"Loaded image: {tag}\n")
    assert engine.wire.get(f"/images/{tag}/json")["Id"] == image.id
    assert cli.text("run", "--rm", tag, "echo", "loaded") == "loaded"


@pytest.mark.operation("ImageLoad")
def test_without_a_tag(engine: Engine) -> None:
    _, image = tagged(engine)
    text = engine.load(docker_archive({"": image}))
    assert f"Loaded image ID: {image.id}" in text
    assert not engine.wire.get(f"/images/{image.id}/json")["RepoTags"]


@pytest.mark.operation("ImageLoad")
def test_several_images_with_shared_layers(engine: Engine) -> None:
    first, second = tagged(engine), tagged(engine, [Tar().add("more", "x").bytes()])
    text = engine.load(docker_archive(dict([first, second])))
    for tag, image in (first, second):
        assert f"Loaded image: {tag}" in text
        assert engine.wire.get(f"/images/{tag}/json")["Id"] == image.id


@pytest.mark.operation("ImageLoad")
def test_a_tag_that_moves(engine: Engine) -> None:
    tag, old = tagged(engine)
    _, new = tagged(engine)
    engine.load(docker_archive({tag: old}))
    engine.load(docker_archive({tag: new}))
    assert engine.wire.get(f"/images/{tag}/json")["Id"] == new.id
    assert not engine.wire.get(f"/images/{old.id}/json")["RepoTags"]


@pytest.mark.operation("ImageLoad")
@pytest.mark.parametrize("packing", ["gzip", "bzip2", "xz"])
def test_packed(engine: Engine, packing: str) -> None:
    image = engine.base(Labels={"own": packing})
    image.layers = [Tar().add("file", packing).bytes()]
    tag = engine.name("packed") + ":1"
    pack = PACKERS[packing]
    engine.load(pack(docker_archive({tag: image})))
    assert engine.wire.get(f"/images/{tag}/json")["Id"] == image.id


@pytest.mark.operation("ImageLoad")
def test_progress(engine: Engine) -> None:
    tag, image = tagged(engine, [Tar().add("big", b"\0" * 300_000).bytes()])
    answer = engine.wire.post("/images/load", docker_archive({tag: image}), status=200, quiet=False)
    assert answer.headers["content-type"] == "application/json"
    messages = [json.loads(line) for line in answer.body.splitlines()]
    assert messages[-1]["stream"] == f"Loaded image: {tag}\n"
    bars = [m for m in messages if m.get("status") == "Loading layer"]
    assert bars and all(m["progressDetail"]["total"] > 0 and m["id"] for m in bars)


@pytest.mark.operation("ImageLoad")
@pytest.mark.since("1.52")  # graph drivers do not load them; containerd's store is the default of release 29
@pytest.mark.parametrize("packing", ["", "gzip", "zstd"])
def test_oci_layout(engine: Engine, cli: Cli, packing: str) -> None:
    tag, image = tagged(engine, [Tar().add("more", packing or "plain").bytes()])
    cli("load", stdin=oci_layout({"docker.io/library/" + tag: image}, packing))
    assert (
        engine.wire.get(f"/images/{tag}/json")["RootFS"]["Layers"]
        == json.loads(image.document())["rootfs"]["diff_ids"]
    )
    assert cli.text("run", "--rm", tag, "cat", "/more") == (packing or "plain")


@pytest.mark.operation("ImageLoad")
def test_not_an_archive(engine: Engine, cli: Cli) -> None:
    failed = cli("load", stdin=b"this is no archive at all, whatever one may say\n" * 100, check=False)
    assert failed.code == 1
    failed = cli("load", stdin=Tar().add("file", "x").bytes(), check=False)
    assert failed.code == 1


@pytest.mark.operation("ImageLoad")
def test_wrong_layer_is_refused(engine: Engine) -> None:
    """A layer that is not what the configuration says."""
    tag, image = tagged(engine)
    # Nobody has this layer yet: an engine that knew it would not look at the archive's.
    image.layers = [Tar().add("good", tag).bytes()]
    lie = Image([Tar().add("evil", tag).bytes()], image.config)
    lie.document = image.document  # type: ignore[method-assign]
    answer = engine.wire.request("POST", "/images/load", docker_archive({tag: lie}), quiet=True)
    assert b"error" in answer.body or answer.status >= 400
    assert engine.wire.request("GET", f"/images/{tag}/json").status == 404
    engine.load(docker_archive({tag: image}))


@pytest.mark.operation("ImageLoad")
def test_what_a_layer_may_hold(engine: Engine) -> None:
    layer = (
        Tar()
        .add("dir", mode=0o2750, uid=1000, gid=2000)
        .add("dir/file", "data", mode=0o4755, uid=7, gid=8)
        .link("dir/soft", "../dir/file")
        .add("dir/hard", type=tarfile.LNKTYPE, linkname="dir/file", mode=0o4755, uid=7, gid=8)
        .link("absolute", "/etc/passwd")
        .add("fifo", type=tarfile.FIFOTYPE, mode=0o600)
        .add("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
        .add("name with späces", "x")
        .add("long/" + "n" * 150, "long")
        .bytes()
    )
    tag = engine.make_image("holds", more=[layer])
    script = """
    stat -c '%n %A %u %g %h %Y' /dir /dir/file /dir/soft /fifo /null
    readlink /dir/soft /absolute 2>/dev/null || { readlink /dir/soft; readlink /absolute; }
    [ /dir/file -ef /dir/hard ] && echo same
    ls /long | wc -c
    cat "/name with späces"
    stat -c '%t:%T' /null
    """
    out = engine.sh(script, Image=tag).out.splitlines()
    assert out[0].split()[:4] == ["/dir", "drwxr-s---", "1000", "2000"]
    assert out[1] == "/dir/file -rwsr-xr-x 7 8 2 1700000000"
    assert out[2].split()[:2] == ["/dir/soft", "lrwxrwxrwx"]
    assert out[3].split()[:2] == ["/fifo", "prw-------"]
    assert out[4].split()[:2] == ["/null", "crw-rw-rw-"]
    assert out[5:] == ["../dir/file", "/etc/passwd", "same", "151", "x1:3"]


@pytest.mark.operation("ImageLoad")
def test_whiteouts(engine: Engine) -> None:
    base = (
        Tar()
        .add("d")
        .add("d/gone", "x")
        .add("d/kept", "x")
        .add("o")
        .add("o/old", "x")
        .add("f", "file")
        .bytes()
    )
    upper = (
        Tar()
        .add("d")
        .add("d/.wh.gone", "")
        .add("o")
        .add("o/.wh..wh..opq", "")
        .add("o/new", "x")
        .add(".wh.f", "")
        .add("f2")
        .bytes()
    )
    tag = engine.make_image("whiteouts", more=[base, upper])
    assert engine.sh("ls -A /d; ls -A /o; ls /f", Image=tag).out == "kept\nnew\n"


@pytest.mark.operation("ImageLoad")
def test_a_file_becomes_a_folder_and_back(engine: Engine) -> None:
    base = Tar().add("a", "file").add("b").add("b/inner", "x").bytes()
    upper = Tar().add("a").add("a/inner", "y").add("b", "file").bytes()
    tag = engine.make_image("kinds", more=[base, upper])
    assert engine.sh("cat /a/inner; cat /b", Image=tag).out == "yfile"


@pytest.mark.operation("ImageLoad")
@pytest.mark.parametrize("name", ["../escape", "a/../../escape", "/../escape"])
def test_names_do_not_leave_the_root(engine: Engine, name: str) -> None:
    """Such a layer is refused, or the file lands within."""
    tag = engine.name("escape") + ":1"
    image = engine.base(Labels={"own": tag})
    image.layers.append(Tar().add(name, "out").bytes())
    answer = engine.wire.request("POST", "/images/load", docker_archive({tag: image}), quiet=True)
    if engine.wire.request("GET", f"/images/{tag}/json").status == 200:
        assert engine.sh("cat /escape", Image=tag).out == "out"
    else:
        assert b"error" in answer.body or answer.status >= 400


@pytest.mark.operation("ImageLoad")
def test_symlinks_are_not_followed_out(engine: Engine) -> None:
    """A link to the outside and then a file through it: within the image's root, or refused."""
    layer = Tar().link("etc/out", "/../../../../../../tmp").add("etc/out/" + engine.prefix, "x").bytes()
    tag = engine.name("links") + ":1"
    image = engine.base(Labels={"own": tag})
    image.layers.append(layer)
    engine.wire.request("POST", "/images/load", docker_archive({tag: image}), quiet=True)
    if engine.wire.request("GET", f"/images/{tag}/json").status == 200:
        assert engine.sh(f"cat /tmp/{engine.prefix} /etc/out/{engine.prefix}", Image=tag).out.startswith("x")
    if engine.root is not None:
        from pathlib import Path

        assert not Path("/tmp", engine.prefix).exists()
