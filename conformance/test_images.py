"""images: list, inspect, history, tag, rmi and its in-use rules, import, save, commit's absence."""

import bz2
import gzip
import io
import json
import lzma
import re
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.images import Tar, busybox_root, digest, docker_archive

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def members(archive: bytes) -> dict[str, bytes]:
    """The files of a tar archive."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for info in tar:
            if info.isfile():
                stream = tar.extractfile(info)
                assert stream
                found[info.name] = stream.read()
    return found


def small(engine: Engine, hint: str, **config: Any) -> str:
    """An image of one small file, its tag."""
    tag = engine.name(hint) + ":1"
    image = engine.base(**config)
    image.layers = [Tar().add("file", tag).bytes()]
    engine.load(docker_archive({tag: image}))
    return tag


@pytest.mark.operation("ImageInspect")
def test_inspect(engine: Engine) -> None:
    found = engine.wire.get(f"/images/{engine.image}/json")
    image = engine.base()
    assert found["Id"] == image.id
    assert engine.image in found["RepoTags"]
    assert found["Architecture"] == "amd64" and found["Os"] == "linux"
    assert found["Created"] == "2023-11-14T22:13:20Z"
    assert found["Config"]["Cmd"] == ["sh"]
    assert found["Config"]["Labels"] == engine.labels
    assert found["Config"]["Env"] == image.config["Env"]
    assert found["RootFS"] == {"Type": "layers", "Layers": [digest(busybox_root())]}
    assert found["Size"] >= 1_000_000
    assert found["GraphDriver"]["Name"] == engine.info["Driver"]
    assert found["Metadata"]["LastTagTime"]


@pytest.mark.operation("ImageInspect")
def test_inspect_by_every_name(engine: Engine) -> None:
    full = engine.base().id
    for reference in (full, full[7:], full[7:19], engine.image, "docker.io/" + engine.image):
        assert engine.wire.get(f"/images/{reference}/json")["Id"] == full, reference
    answer = engine.wire.request("GET", f"/images/{engine.prefix}/nope/json")
    assert answer.status == 404 and answer.message.lower().startswith(f"no such image: {engine.prefix}/nope")


@pytest.mark.operation("ImageList")
def test_list(engine: Engine) -> None:
    (found,) = (i for i in engine.wire.get("/images/json") if engine.image in (i["RepoTags"] or []))
    assert found["Id"] == engine.base().id
    assert found["Created"] == 1700000000
    assert found["Labels"] == engine.labels
    assert found["Size"] == engine.wire.get(f"/images/{engine.image}/json")["Size"]
    assert found["SharedSize"] == -1 and found["Containers"] >= -1


@pytest.mark.operation("ImageList")
def test_list_filters(engine: Engine) -> None:
    first = small(engine, "first", Labels={"kind": engine.prefix})
    second = small(engine, "second", Labels={"kind": engine.prefix, "two": "2"})

    def tags(**filters: list[str]) -> set[str]:
        return {
            tag
            for image in engine.wire.get("/images/json", filters=filters)
            for tag in image["RepoTags"] or []
        }

    assert tags(label=[f"kind={engine.prefix}"]) == {first, second}
    assert tags(label=[f"kind={engine.prefix}", "two"]) == {second}
    assert tags(reference=[first]) == {first}
    assert tags(reference=[engine.prefix + "-first-*"]) == {first}
    assert tags(reference=[engine.prefix + "-*"]) >= {first, second}
    assert first not in tags(dangling=["true"]) and first in tags(dangling=["false"])
    answer = engine.wire.request("GET", "/images/json", filters={"bogus": ["x"]})
    assert answer.status == 400
    assert answer.message.lower() == "invalid filter 'bogus'"


@pytest.mark.operation("ImageTag")
def test_tag(engine: Engine) -> None:
    tag = small(engine, "tag")
    repository = engine.name("other")
    assert engine.wire.post(f"/images/{tag}/tag", status=201, repo=repository, tag="x").body == b""
    found = engine.wire.get(f"/images/{repository}:x/json")
    assert set(found["RepoTags"]) == {tag, f"{repository}:x"}
    engine.wire.post(f"/images/{tag}/tag", status=201, repo=repository)
    assert f"{repository}:latest" in engine.wire.get(f"/images/{tag}/json")["RepoTags"]


@pytest.mark.operation("ImageTag")
def test_tag_moves(engine: Engine) -> None:
    """A tag that is taken goes to the new image; the old one is left without."""
    first, second = small(engine, "first"), small(engine, "second")
    old = engine.wire.get(f"/images/{first}/json")["Id"]
    repository, _, name = first.partition(":")
    engine.wire.post(f"/images/{second}/tag", status=201, repo=repository, tag=name)
    assert engine.wire.get(f"/images/{first}/json")["Id"] == engine.wire.get(f"/images/{second}/json")["Id"]
    assert not engine.wire.get(f"/images/{old}/json")["RepoTags"]
    dangling = engine.wire.get("/images/json", filters={"dangling": ["true"]})
    assert old in [image["Id"] for image in dangling]


@pytest.mark.operation("ImageTag")
def test_tag_errors(engine: Engine) -> None:
    answer = engine.wire.request("POST", f"/images/{engine.prefix}-nope/tag", repo="x", tag="y")
    assert answer.status == 404 and f"No such image: {engine.prefix}-nope" in answer.message
    answer = engine.wire.request("POST", f"/images/{engine.image}/tag", repo="UPPER", tag="y")
    refused = engine.pick({"1.24": 500, "1.42": 400})
    assert (
        answer.status == refused
        and "repository name" in answer.message
        and "must be lowercase" in answer.message
    )
    answer = engine.wire.request("POST", f"/images/{engine.image}/tag", repo="x", tag="bad tag")
    assert (answer.status, "invalid" in answer.message) == (refused, True)


@pytest.mark.operation("ImageDelete")
def test_rmi_untags_then_deletes(engine: Engine) -> None:
    tag = small(engine, "rmi")
    identity = engine.wire.get(f"/images/{tag}/json")["Id"]
    other = engine.name("rmi")
    engine.wire.post(f"/images/{tag}/tag", status=201, repo=other, tag="2")
    answer = engine.wire.request("DELETE", f"/images/{tag}")
    assert (answer.status, answer.json()) == (200, [{"Untagged": tag}])
    answer = engine.wire.request("DELETE", f"/images/{other}:2")
    assert answer.status == 200
    assert answer.json()[0] == {"Untagged": f"{other}:2"}
    assert {"Deleted": identity} in answer.json()
    assert engine.wire.request("GET", f"/images/{identity}/json").status == 404


@pytest.mark.operation("ImageDelete")
def test_rmi_by_id(engine: Engine) -> None:
    tag = small(engine, "rmi")
    identity = engine.wire.get(f"/images/{tag}/json")["Id"]
    other = engine.name("rmi")
    engine.wire.post(f"/images/{tag}/tag", status=201, repo=other, tag="2")
    answer = engine.wire.request("DELETE", f"/images/{identity}")
    assert answer.status == 409
    assert (
        "image is referenced in multiple repositories" in answer.message
        and "must be forced" in answer.message
    )
    answer = engine.wire.request("DELETE", f"/images/{identity}", force=True)
    assert answer.status == 200
    untagged = {item["Untagged"] for item in answer.json() if "Untagged" in item}
    assert {tag, f"{other}:2"} <= untagged
    assert engine.wire.request("GET", f"/images/{identity}/json").status == 404


@pytest.mark.operation("ImageDelete")
def test_rmi_in_use_by_a_stopped_container(engine: Engine) -> None:
    tag = small(engine, "used")
    identity = engine.wire.get(f"/images/{tag}/json")["Id"]
    container = engine.create("x", Image=tag)
    answer = engine.wire.request("DELETE", f"/images/{tag}")
    assert answer.status == 409
    # The first is said by engines with image stores of their own, the second by those with containerd's.
    assert re.search(
        f'conflict: unable to (remove repository reference "{tag}" \\(must force\\)|'
        f"delete {tag} \\(must be forced\\))"
        f" - container {container[:12]} is using its referenced image",
        answer.message,
    )
    answer = engine.wire.request("DELETE", f"/images/{identity}")
    assert answer.status == 409
    assert f"image is being used by stopped container {container[:12]}" in answer.message
    # By force the tag goes, but the image stays for the container.
    answer = engine.wire.request("DELETE", f"/images/{tag}", force=True)
    assert answer.status == 200
    assert {"Untagged": tag} in answer.json()
    assert engine.inspect(container)["Image"] == identity


@pytest.mark.operation("ImageDelete")
def test_rmi_in_use_by_a_running_container(engine: Engine) -> None:
    tag = engine.make_image("running", Labels={"own": "running"})
    identity = engine.wire.get(f"/images/{tag}/json")["Id"]
    container = engine.sleeper(Image=tag)
    for force in (False, True):
        answer = engine.wire.request("DELETE", f"/images/{identity}", force=force)
        assert answer.status == 409
        assert (
            f"(cannot be forced) - image is being used by running container {container[:12]}"
            in answer.message
        )


@pytest.mark.operation("ImageDelete")
def test_rmi_of_a_second_tag_in_use(engine: Engine) -> None:
    """A tag may go while another stays, whoever uses the image."""
    tag = small(engine, "two")
    other = engine.name("two")
    engine.wire.post(f"/images/{tag}/tag", status=201, repo=other, tag="2")
    engine.create("x", Image=tag)
    answer = engine.wire.request("DELETE", f"/images/{other}:2")
    assert (answer.status, answer.json()) == (200, [{"Untagged": f"{other}:2"}])


@pytest.mark.operation("ImageDelete")
def test_rmi_missing(engine: Engine) -> None:
    answer = engine.wire.request("DELETE", f"/images/{engine.prefix}-nope")
    assert (answer.status, answer.message.split(": ", 1)[0].lower()) == (404, "no such image")
    assert engine.prefix + "-nope" in answer.message


@pytest.mark.operation("ImageDelete", "ImageTag", "ImageList")
def test_by_cli(engine: Engine, cli: Cli) -> None:
    tag = small(engine, "cli")
    other = engine.name("cli") + ":2"
    cli("tag", tag, other)
    identity = engine.wire.get(f"/images/{tag}/json")["Id"]
    assert cli.text("images", "-q", "--no-trunc", other) == identity
    assert (
        cli.text("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", other)
        == f"{other} {identity[7:19]}"
    )
    assert cli.text("rmi", tag) == f"Untagged: {tag}"
    lines = cli.text("rmi", other).splitlines()
    assert lines[0] == f"Untagged: {other}" and f"Deleted: {identity}" in lines
    failed = cli("rmi", other, check=False)
    assert (failed.code, "No such image: " + other in failed.err) == (1, True)


@pytest.mark.operation("ImageHistory")
def test_history(engine: Engine) -> None:
    tag = engine.make_image("history", more=[Tar().add("second", "x" * 1000).bytes()])
    found = engine.wire.get(f"/images/{tag}/history")
    assert [layer["CreatedBy"] for layer in found] == ["layer 1", "layer 0"]
    assert found[0]["Id"] == engine.wire.get(f"/images/{tag}/json")["Id"]
    assert found[1]["Id"] == "<missing>"
    assert found[0]["Tags"] == [tag] and found[1]["Tags"] is None
    assert found[0]["Created"] == 1700000000
    assert found[0]["Size"] >= 1000 and found[1]["Size"] > 500_000


@pytest.mark.operation("ImageCreate")
def test_import(engine: Engine, cli: Cli) -> None:
    repository = engine.name("import")
    label = "LABEL " + "=".join(next(iter(engine.labels.items())))
    identity = cli.text(
        "import",
        "-c",
        'CMD ["cat","/etc/passwd"]',
        "-c",
        label,
        "-c",
        "ENV A=b",
        "-m",
        "said",
        "-",
        f"{repository}:5",
        stdin=busybox_root(),
    )
    assert re.fullmatch("sha256:[0-9a-f]{64}", identity)
    found = engine.wire.get(f"/images/{repository}:5/json")
    assert found["Id"] == identity
    assert found["Config"]["Cmd"] == ["cat", "/etc/passwd"]
    assert found["Config"]["Labels"] == engine.labels
    assert "A=b" in found["Config"]["Env"]
    assert found["Comment"] == "said"
    assert len(found["RootFS"]["Layers"]) == 1
    assert cli.text("run", "--rm", f"{repository}:5").startswith("root:x:0:0:")


@pytest.mark.operation("ImageCreate")
@pytest.mark.parametrize("packing", ["gzip", "bzip2", "xz"])
def test_import_packed(engine: Engine, packing: str) -> None:
    data = PACKERS[packing](Tar().add("file", "x").bytes())
    repository = engine.name("import")
    label = "LABEL " + "=".join(next(iter(engine.labels.items())))
    answer = engine.wire.post("/images/create", data, status=200, fromSrc="-", repo=repository, changes=label)
    status = json.loads(answer.body.splitlines()[-1])["status"]
    assert engine.wire.get(f"/images/{repository}/json")["Id"] == status
    layer = engine.wire.get(f"/images/{repository}/json")["RootFS"]["Layers"][0]
    assert layer == digest(Tar().add("file", "x").bytes())


@pytest.mark.operation("ImageGet")
def test_save(engine: Engine, cli: Cli) -> None:
    tag = engine.make_image("save", more=[Tar().add("extra", "kept").bytes()])
    files = members(cli("save", tag).raw_out)
    (entry,) = json.loads(files["manifest.json"])
    assert entry["RepoTags"] == [tag]
    config = files[entry["Config"]]
    assert digest(config) == engine.wire.get(f"/images/{tag}/json")["Id"]
    layers = [files[name] for name in entry["Layers"]]
    assert [digest(layer) for layer in layers] == json.loads(config)["rootfs"]["diff_ids"]
    repository, _, name = tag.partition(":")
    assert json.loads(files["repositories"])[repository][name]


@pytest.mark.operation("ImageGet")
@pytest.mark.since("1.44")
def test_save_holds_an_oci_layout(engine: Engine) -> None:
    files = members(engine.wire.request("GET", f"/images/{engine.image}/get").body)
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files["index.json"])
    assert index["manifests"]
    for descriptor in index["manifests"]:
        assert digest(files["blobs/" + descriptor["digest"].replace(":", "/")]) == descriptor["digest"]


@pytest.mark.operation("ImageGetAll", "ImageLoad")
def test_save_several_and_load_again(engine: Engine) -> None:
    first, second = small(engine, "several"), small(engine, "several")
    archive = engine.wire.request("GET", "/images/get", names=first).body
    both = _get(engine, f"/images/get?names={first}&names={second}")
    assert {tag for entry in json.loads(members(both)["manifest.json"]) for tag in entry["RepoTags"]} == {
        first,
        second,
    }
    assert len(json.loads(members(archive)["manifest.json"])) == 1
    ids = [engine.wire.get(f"/images/{tag}/json")["Id"] for tag in (first, second)]
    for tag in (first, second):
        assert engine.wire.request("DELETE", f"/images/{tag}").status == 200
    engine.load(both)
    assert [engine.wire.get(f"/images/{tag}/json")["Id"] for tag in (first, second)] == ids


def _get(engine: Engine, path: str) -> bytes:
    """A GET whose query has a name twice."""
    answer = engine.wire.raw(f"GET {path} HTTP/1.0\r\nHost: d\r\n\r\n".encode())
    assert answer.status == 200
    return answer.body


@pytest.mark.operation("ImageGet")
def test_save_missing(engine: Engine, cli: Cli) -> None:
    failed = cli("save", engine.prefix + "/nope", check=False)
    assert failed.code == 1
    assert "No such image" in failed.err or "reference does not exist" in failed.err


@pytest.mark.operation("ImagePrune")
def test_prune(engine: Engine) -> None:
    tag = small(engine, "prune", Labels={"prune": engine.run_id})
    identity = engine.wire.get(f"/images/{tag}/json")["Id"]
    filters = {"label": [f"prune={engine.run_id}"], "dangling": ["false"]}
    answer = engine.wire.post("/images/prune", status=200, filters=filters).json()
    assert {"Untagged": tag} in answer["ImagesDeleted"] and {"Deleted": identity} in answer["ImagesDeleted"]
    assert answer["SpaceReclaimed"] >= 0
