"""What buildx's `--output` makes: images, pushes, archives, folders, for one platform and for several.

Archives, several platforms and attestations are marked with 1.52, dockerd 29.0, whose image store is
containerd's: before that buildx refuses them for a dockerd by itself.
"""

import gzip
import io
import json
import os
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from conformance import netns
from conformance.engine import Engine
from conformance.images import OCI_INDEX, OCI_MANIFEST, Image, Tar, digest, docker_archive
from conformance.kits import Kit, make
from conformance.registry import PASSWORD, USER, Registry

GRPC = ("Grpc", "Session")
STORE = pytest.mark.since("1.52")

pytestmark = pytest.mark.since("1.45")


@pytest.fixture
def buildx(engine: Engine, tmp_path: Path) -> Kit:
    return make(engine, tmp_path, buildx=True)


def layout(files: dict[str, bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the index of a layout names (descriptor), and that document; blobs are what they are called."""
    for name, data in files.items():
        if name.startswith("blobs/"):
            assert digest(data) == name.removeprefix("blobs/").replace("/", ":"), name
    (target,) = json.loads(files["index.json"])["manifests"]
    return target, blob(files, target)


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> dict[str, Any]:
    data = files[f"blobs/{descriptor['digest'].replace(':', '/')}"]
    assert len(data) == descriptor["size"]
    found: dict[str, Any] = json.loads(data)
    return found


def of_tar(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}  # type: ignore[union-attr]


def of_folder(path: Path) -> dict[str, bytes]:
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()}


def metadata(buildx: Kit, *options: str) -> dict[str, Any]:
    """Build, and what `--metadata-file` tells."""
    path = buildx.folder.parent / "metadata.json"
    buildx(*options, "--metadata-file", str(path))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def remove(buildx: Kit, image: str) -> None:
    assert buildx.engine.wire.request("DELETE", f"/images/{image}", force=True).status == 200


SCRATCH = "FROM scratch\nCOPY a /d/a\n"


# Files ----------------------------------------------------------------------------------------------------


@pytest.mark.operation(*GRPC)
def test_a_folder_and_a_tar(buildx: Kit) -> None:
    buildx.files(
        f"FROM {buildx.engine.image}\nWORKDIR /made\n"
        "RUN echo -n one > file && ln file same && ln -s ../../etc/passwd link && mkfifo pipe &&"
        " chmod 4750 file && mkdir -m 1777 d && chown 7:8 d && rm /etc/group\n"
    )
    folder, archive = buildx.folder.parent / "out", buildx.folder.parent / "out.tar"
    built = buildx("-o", f"type=local,dest={folder}")
    assert any(line.startswith("copying files") for line in built.steps["exporting to client directory"])
    assert "sending tarball" in buildx("-o", f"type=tar,dest={archive}").steps["exporting to client tarball"]
    made = folder / "made"
    assert (made / "file").read_text() == "one"
    assert (made / "file").stat().st_ino == (made / "same").stat().st_ino
    assert str((made / "link").readlink()) == "../../etc/passwd"
    assert stat.S_ISFIFO((made / "pipe").lstat().st_mode)
    assert stat.S_IMODE((made / "file").lstat().st_mode) == 0o4750
    assert stat.S_IMODE((made / "d").lstat().st_mode) == 0o1777
    assert not (folder / "etc/group").exists() and (folder / "bin/busybox").exists()
    with tarfile.open(archive) as tar:
        found = {one.name: one for one in tar}
    assert found["made/same"].islnk() and found["made/same"].linkname == "made/file"
    assert found["made/link"].linkname == "../../etc/passwd" and found["made/pipe"].isfifo()
    assert (found["made/d"].uid, found["made/d"].gid, found["made/d"].mode) == (7, 8, 0o1777)
    assert "etc/group" not in found and found["made/file"].mode == 0o4750
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert names == set(found)


@pytest.mark.operation(*GRPC)
def test_a_tar_to_stdout(buildx: Kit) -> None:
    buildx.files(SCRATCH, {"a": "content"})
    built = buildx("-o", "-")
    with tarfile.open(fileobj=io.BytesIO(built.result.raw_out)) as tar:
        assert [one.name for one in tar] == ["d", "d/a"]
        assert tar.extractfile("d/a").read() == b"content"  # type: ignore[union-attr]


@pytest.mark.operation(*GRPC)
def test_many_and_large_files_into_a_folder(buildx: Kit) -> None:
    large = os.urandom(3_000_000)
    buildx.files(
        f"FROM {buildx.engine.image} AS made\n"
        "RUN mkdir /m && cd /m && for n in $(seq 1500); do echo $n > f$n; done\n"
        "FROM scratch\nCOPY --from=made /m /m\nCOPY large /\n",
        {"large": large},
    )
    folder = buildx.folder.parent / "out"
    buildx("-o", str(folder))
    assert (folder / "large").read_bytes() == large
    assert {int(path.read_text()) for path in (folder / "m").iterdir()} == set(range(1, 1501))


@pytest.mark.operation(*GRPC)
def test_the_only_output_is_the_cache(buildx: Kit) -> None:
    buildx.files(SCRATCH, {"a": ""})
    found = metadata(buildx, "-o", "type=cacheonly")
    assert not {"containerimage.digest", "image.name"} & found.keys()


# Images ---------------------------------------------------------------------------------------------------


@pytest.mark.operation(*GRPC)
def test_an_image_for_another_platform(buildx: Kit) -> None:
    buildx.files(
        "FROM --platform=$BUILDPLATFORM scratch\nARG TARGETARCH TARGETVARIANT BUILDOS\n"
        "LABEL target=$TARGETARCH$TARGETVARIANT build=$BUILDOS\nCOPY a /$TARGETARCH\n",
        {"a": ""},
    )
    config = buildx.config(buildx.image("--platform", "linux/arm/v7"))
    labels = config["Config"]["Labels"]
    assert (config["Os"], labels["target"], labels["build"]) == ("linux", "armv7", "linux")
    buildx.files("FROM scratch\nCOPY a /\n")
    config = buildx.config(buildx.image("--platform", "linux/arm64"))
    assert config["Architecture"] == "arm64" and not config.get("Parent")


@pytest.mark.operation(*GRPC)
def test_programs_of_another_platform(buildx: Kit) -> None:
    """Without a handler for them the kernel refuses them."""
    program = bytearray(Path("/bin/busybox").read_bytes())
    program[18:20] = (0xF3, 0) if program[18] != 0xF3 else (0x3E, 0)  # e_machine: RISC-V
    layer = Tar().add("bin").add("bin/sh", bytes(program), mode=0o755).bytes()
    name = f"{buildx.engine.name('riscv')}:1"
    image = Image([layer], {"Labels": buildx.engine.labels}, "riscv64")
    buildx.engine.load(docker_archive({name: image}))
    buildx.files(f"FROM {name}\nRUN true\n")
    err = buildx.fails("--platform", "linux/riscv64").err
    assert "exec /bin/sh: exec format error" in err
    assert 'process "/bin/sh -c true" did not complete successfully: exit code: ' in err


@pytest.mark.operation(*GRPC)
def test_times_by_source_date_epoch(buildx: Kit) -> None:
    buildx.files(f"FROM {buildx.engine.image}\nRUN true\nENV a=b\n")
    image = buildx.image(env={"SOURCE_DATE_EPOCH": "1700000000"})
    assert buildx.config(image)["Created"] == "2023-11-14T22:13:20Z"
    history = buildx.engine.wire.get(f"/images/{image}/history")
    assert [one["Created"] for one in history[:2]] == [1700000000] * 2


@STORE
@pytest.mark.operation(*GRPC)
def test_the_same_bytes_twice(buildx: Kit) -> None:
    buildx.files(f"FROM {buildx.engine.image}\nRUN echo x > /x\nCOPY a /\n", {"a": ""})
    digests = set()
    for number in (1, 2):
        os.utime(buildx.folder / "a", (1_800_000_000 + number, 1_800_000_000 + number))
        path = buildx.folder.parent / f"{number}.tar"
        output = f"type=oci,dest={path},rewrite-timestamp=true"
        buildx("--no-cache", "--provenance=false", "-o", output, env={"SOURCE_DATE_EPOCH": "1700000000"})
        digests.add(digest(path.read_bytes()))
        files = of_tar(path)
        _, manifest = layout(files)
        for layer in manifest["layers"][-2:]:
            data = files[f"blobs/{layer['digest'].replace(':', '/')}"]
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as tar:
                assert {one.mtime for one in tar} <= {1700000000}
    assert len(digests) == 1


@pytest.mark.operation(*GRPC, "ImagePush", "ImageCreate")
def test_pushed_under_several_names(buildx: Kit, registry: Registry) -> None:
    buildx.files(f"FROM {buildx.engine.image}\nRUN echo {buildx.unique}\n")
    repository = buildx.engine.name("p")
    names = [f"{registry.address}/{repository}:{tag}" for tag in ("1", "2")]
    found = metadata(buildx, "--push", "-t", names[0], "-t", names[1])
    assert found["image.name"] == ",".join(names)
    assert registry.manifest(repository, "1") == registry.manifest(repository, "2")
    image = buildx.config(names[0])["Id"]
    for name in names:
        remove(buildx, name)
    pulled = subprocess.run(
        [buildx.cli.path, "pull", "-q", names[1]], env=buildx.env, capture_output=True, text=True, check=False
    )
    assert pulled.returncode == 0, pulled.stderr
    assert buildx.config(names[1])["Id"] == image
    shown = subprocess.run(
        [
            *netns.prefix(),
            buildx.cli.path,
            "buildx",
            "imagetools",
            "inspect",
            names[1],
            "--format",
            "{{json .}}",
        ],
        env=buildx.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["image"]["architecture"] == buildx.config(names[1])["Architecture"]


@pytest.mark.operation(*GRPC, "ImagePush")
def test_pushed_with_the_clients_credentials(buildx: Kit, guarded_registry: Registry) -> None:
    buildx.files(SCRATCH, {"a": buildx.unique})
    name = f"{guarded_registry.address}/{buildx.engine.name('p')}:1"
    refused = buildx.fails("--push", "-t", name).err
    assert "no basic auth credentials" in refused or "401 Unauthorized" in refused
    subprocess.run(
        [buildx.cli.path, "login", "-u", USER, "--password-stdin", guarded_registry.address],
        input=PASSWORD.encode(),
        env=buildx.env,
        check=True,
        capture_output=True,
    )
    buildx("--push", "-t", name)
    buildx.files(f"FROM {name}\nCOPY a /b\n")
    remove(buildx, name)
    buildx("--pull")  # a base comes by the session's credentials, too


@pytest.mark.operation(*GRPC, "ImageGet", "ImageLoad")
def test_saved_and_loaded(buildx: Kit) -> None:
    buildx.files(f"FROM {buildx.engine.image}\nRUN echo {buildx.unique} > /made\n")
    tag = f"{buildx.engine.name('kit')}:1"
    image = buildx.image("-t", tag)
    saved = buildx.engine.wire.request("GET", f"/images/{tag}/get").body
    remove(buildx, tag)
    buildx.engine.load(saved)
    assert buildx.config(tag)["Id"] == image
    assert buildx.run(tag, "cat", "/made") == f"{buildx.unique}\n"


# Archives -------------------------------------------------------------------------------------------------


@STORE
@pytest.mark.operation(*GRPC, "ImageLoad")
def test_an_archive_for_docker_load(buildx: Kit) -> None:
    buildx.files(f"FROM {buildx.engine.image}\nRUN echo {buildx.unique} > /made\n")
    path, tag = buildx.folder.parent / "out.tar", f"{buildx.engine.name('kit')}:1"
    found = metadata(buildx, "-o", f"type=docker,dest={path},name={tag}")
    files = of_tar(path)
    target, manifest = layout(files)
    assert found["containerimage.digest"] == target["digest"]
    assert found["containerimage.config.digest"] == manifest["config"]["digest"]
    assert (
        found["image.name"] == f"docker.io/library/{tag}" and found["containerimage.descriptor"]["platform"]
    )
    (shown,) = json.loads(files["manifest.json"])
    assert shown["RepoTags"] == [tag] and shown["Config"] in files
    buildx.engine.load(path.read_bytes())
    assert buildx.run(tag, "cat", "/made") == f"{buildx.unique}\n"


@STORE
@pytest.mark.operation(*GRPC)
@pytest.mark.parametrize(
    ("given", "ending"), [("zstd", ".tar+zstd"), ("uncompressed", ".tar"), ("gzip", ".tar+gzip")]
)
def test_a_layout_as_a_folder(buildx: Kit, given: str, ending: str) -> None:
    buildx.files(f"FROM {buildx.engine.image}\nRUN echo {buildx.unique}\n")
    folder = buildx.folder.parent / "out"
    output = f"type=oci,dest={folder},tar=false,compression={given},force-compression=true"
    buildx("--provenance=false", "-o", output)
    target, manifest = layout(of_folder(folder))
    assert target["mediaType"] == OCI_MANIFEST
    assert all(layer["mediaType"].endswith(ending) for layer in manifest["layers"])
    # The layout is a context, too
    buildx.files("FROM base\nRUN test -d /bin\n")
    buildx("--build-context", f"base=oci-layout://{folder}")


@STORE
@pytest.mark.operation(*GRPC)
def test_annotations(buildx: Kit) -> None:
    buildx.files(SCRATCH, {"a": ""})
    path = buildx.folder.parent / "out.tar"
    buildx("--provenance=false", "--annotation", "one=1", "--annotation", "manifest-descriptor:two=2",
           "-o", f"type=oci,dest={path}")  # fmt: skip
    target, manifest = layout(of_tar(path))
    assert manifest["annotations"] == {"one": "1"} and target["annotations"]["two"] == "2"


@STORE
@pytest.mark.operation(*GRPC)
def test_several_platforms(buildx: Kit) -> None:
    buildx.files("FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n", {"amd64": "1", "arm64": "2"})
    asked = ("--platform", "linux/amd64,linux/arm64")
    folder, path = buildx.folder.parent / "out", buildx.folder.parent / "out.tar"
    buildx(*asked, "-o", str(folder))
    assert {str(p.relative_to(folder)): p.read_text() for p in folder.glob("*/*")} == {
        "linux_amd64/arch": "1",
        "linux_arm64/arch": "2",
    }
    buildx(*asked, "-o", f"type=tar,dest={path}")
    with tarfile.open(path) as tar:
        assert tar.getnames() == ["linux_amd64", "linux_amd64/arch", "linux_arm64", "linux_arm64/arch"]
    buildx(*asked, "--provenance=false", "-o", f"type=oci,dest={path}")
    files = of_tar(path)
    target, index = layout(files)
    assert target["mediaType"] == OCI_INDEX
    configs = [blob(files, blob(files, one)["config"]) for one in index["manifests"]]
    assert [one["platform"]["architecture"] for one in index["manifests"]] == ["amd64", "arm64"]
    assert [one["architecture"] for one in configs] == ["amd64", "arm64"]
    assert configs[0]["rootfs"] != configs[1]["rootfs"]
    err = buildx.fails(*asked, "-o", f"type=docker,dest={path}").err
    assert "docker exporter does not support exporting manifest lists" in err


@STORE
@pytest.mark.operation(*GRPC)
def test_platforms_into_one_folder(buildx: Kit) -> None:
    buildx.files("FROM scratch\nARG TARGETARCH\nCOPY a /$TARGETARCH\n", {"a": ""})
    asked = ("--platform", "linux/amd64,linux/arm64")
    folder = buildx.folder.parent / "out"
    buildx(*asked, "-o", f"type=local,dest={folder},platform-split=false")
    assert sorted(path.name for path in folder.iterdir()) == ["amd64", "arm64"]


@STORE
@pytest.mark.operation(*GRPC)
def test_provenance(buildx: Kit) -> None:
    buildx.files(f"FROM {buildx.engine.image}\nARG A\nRUN true\n")
    path = buildx.folder.parent / "out.tar"
    buildx("--provenance", "mode=min", "--build-arg", "A=b", "-o", f"type=oci,dest={path}")
    files = of_tar(path)
    target, index = layout(files)
    image, attestation = index["manifests"]
    assert attestation["annotations"] == {
        "vnd.docker.reference.digest": image["digest"],
        "vnd.docker.reference.type": "attestation-manifest",
    }
    (layer,) = blob(files, attestation)["layers"]
    statement = blob(files, layer)
    assert statement["_type"].startswith("https://in-toto.io/Statement/")
    assert statement["predicateType"].startswith("https://slsa.dev/provenance/")
    assert "A=b" not in json.dumps(statement["predicate"]).replace("build-arg:", "")
    buildx("--provenance=false", "-o", f"type=oci,dest={path}")
    assert layout(of_tar(path))[0]["mediaType"] == OCI_MANIFEST
    assert target["mediaType"] == OCI_INDEX
    folder = buildx.folder.parent / "out"
    buildx("--provenance=true", "-o", str(folder))
    about = json.loads((folder / "provenance.json").read_text())
    subjects = {one["name"]: one["digest"]["sha256"] for one in about["subject"]}
    assert f"sha256:{subjects['bin/busybox']}" == digest((folder / "bin/busybox").read_bytes())
