"""images: what filters, platforms, parents and versions change in list, inspect, import, load, rmi, prune."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from conformance.engine import Engine
from conformance.images import Image, Tar, canonical, docker_archive

ARM = json.dumps({"os": "linux", "architecture": "arm64"})
AMD = json.dumps({"os": "linux", "architecture": "amd64"})


class Dated(Image):
    """An image made at a given time, without a history."""

    created = ""

    def document(self) -> bytes:
        document = json.loads(super().document())
        if self.created:
            return canonical({**document, "created": self.created})
        del document["created"]
        return canonical(document)


def dated(engine: Engine, hint: str, created: str, **labels: str) -> str:
    """A small image of that age; its tag."""
    tag = engine.name(hint) + ":1"
    image = Dated([Tar().add("file", tag).bytes()], {"Labels": {**engine.labels, **labels}})
    image.created = created
    engine.load(docker_archive({tag: image}))
    return tag


def listed(engine: Engine, **query: Any) -> set[str]:
    """The tags that a list shows."""
    return {tag for image in engine.wire.get("/images/json", **query) for tag in image["RepoTags"] or []}


@pytest.fixture(scope="module")
def ages(engine: Engine) -> Iterator[tuple[str, str, str]]:
    """Three tags, oldest first."""
    yield (
        dated(engine, "oldest", "2020-01-01T00:00:00Z", age="old"),
        dated(engine, "middle", "2021-01-01T00:00:00Z", age="old"),
        dated(engine, "newest", "2022-01-01T00:00:00Z", age="new"),
    )


@pytest.mark.operation("ImageList")
def test_before_and_since(engine: Engine, ages: tuple[str, str, str]) -> None:
    first, second, third = ages
    everything = set(ages)
    assert listed(engine, filters={"before": [second]}) & everything == {first}
    assert listed(engine, filters={"since": [second]}) & everything == {third}
    both = {"before": [third], "since": [first]}
    assert listed(engine, filters=both) & everything == {second}
    identity = engine.wire.get(f"/images/{second}/json")["Id"]
    assert listed(engine, filters={"since": [identity]}) & everything == {third}
    answer = engine.wire.request("GET", "/images/json", filters={"before": [engine.prefix + "-nope"]})
    assert answer.status == 404 and answer.message.lower().startswith("no such image")


@pytest.mark.operation("ImageList")
@pytest.mark.since("1.44")
def test_until(engine: Engine, ages: tuple[str, str, str]) -> None:
    first, second, _ = ages
    everything = set(ages)
    found = listed(engine, filters={"until": ["2021-06-01T00:00:00Z"]})
    assert found & everything == {first, second}
    answer = engine.wire.request("GET", "/images/json", filters={"until": ["whenever"]})
    assert answer.status == engine.pick({"1.44": 500, "1.55": 400})
    assert engine.pick({"1.44": '"whenever"', "1.55": "'until' filter"}) in answer.message


@pytest.mark.operation("ImageList")
def test_newest_first(engine: Engine, ages: tuple[str, str, str]) -> None:
    order = [tag for image in engine.wire.get("/images/json") for tag in image["RepoTags"] or []]
    assert [tag for tag in order if tag in ages] == list(reversed(ages))


@pytest.mark.operation("ImageList")
def test_dangling_is_a_boolean(engine: Engine) -> None:
    answer = engine.wire.request("GET", "/images/json", filters={"dangling": ["perhaps"]})
    assert answer.status == 400 and "dangling" in answer.message


@pytest.mark.operation("ImageList")
@pytest.mark.since("1.44")
def test_dangling_is_one_boolean(engine: Engine) -> None:
    answer = engine.wire.request("GET", "/images/json", filters={"dangling": ["true", "false"]})
    assert answer.status == 400 and "dangling" in answer.message


@pytest.mark.operation("ImageList")
@pytest.mark.since("1.42")
def test_shared_size(engine: Engine) -> None:
    shared = engine.make_image("shared", more=[Tar().add("own", "x" * 5000).bytes()])
    query: dict[str, Any] = {"filters": {"reference": [shared]}, "shared-size": True}
    (found,) = engine.wire.get("/images/json", **query)
    assert 0 < found["SharedSize"] <= found["Size"] - 5000
    (found,) = engine.wire.get("/images/json", filters={"reference": [shared]})
    assert found["SharedSize"] == -1


@pytest.mark.operation("ImageList")
@pytest.mark.since("1.54")
def test_identity_needs_manifests(engine: Engine) -> None:
    answer = engine.wire.request("GET", "/images/json", identity=True)
    assert (answer.status, answer.message) == (400, "conflicting options: identity requires manifests=1")
    assert engine.wire.request("GET", "/images/json", identity=True, manifests=True).status == 200


# Parents ---------------------------------------------------------------------------------------------------


def family(engine: Engine) -> tuple[str, str, str, str]:
    """(parent's tag and ID, child's tag and ID): the child was committed of a container of the parent."""
    parent = engine.make_image("parent", Labels={"own": engine.name()})
    ended = engine.sh("echo x > /changed", Image=parent)
    child = engine.name("child")
    answer = engine.wire.post("/commit", {}, status=201, container=ended.id, repo=child, tag="1")
    engine.remove(ended.id)
    return (
        parent,
        str(engine.wire.get(f"/images/{parent}/json")["Id"]),
        f"{child}:1",
        str(answer.json()["Id"]),
    )


@pytest.mark.operation("ImageInspect", "ImageHistory", "ImageList")
def test_a_child_knows_its_parent(engine: Engine) -> None:
    parent, parent_id, child, child_id = family(engine)
    assert engine.wire.get(f"/images/{child}/json")["Parent"] == parent_id
    history = engine.wire.get(f"/images/{child}/history")
    assert [row["Id"] for row in history] == [child_id, parent_id]
    assert history[1]["Tags"] == [parent]
    (row,) = engine.wire.get("/images/json", filters={"reference": [child]})
    assert row["ParentId"] == parent_id


@pytest.mark.operation("ImageList", "ImageDelete")
def test_an_untagged_parent_is_shown_with_all_only(engine: Engine) -> None:
    parent, parent_id, _, _ = family(engine)
    assert engine.wire.request("DELETE", f"/images/{parent}").json() == [{"Untagged": parent}]
    assert parent_id not in [image["Id"] for image in engine.wire.get("/images/json")]
    assert parent_id in [image["Id"] for image in engine.wire.get("/images/json", all=True)]
    answer = engine.wire.request("DELETE", f"/images/{parent_id}", force=True)
    assert answer.status == 409
    assert "(cannot be forced) - image has dependent child images" in answer.message


@pytest.mark.operation("ImageDelete")
@pytest.mark.parametrize("noprune", [False, True])
def test_an_untagged_parent_goes_along(engine: Engine, noprune: bool) -> None:
    parent, parent_id, child, child_id = family(engine)
    engine.wire.request("DELETE", f"/images/{parent}")
    records = engine.wire.request("DELETE", f"/images/{child}", noprune=noprune).json()
    assert records[0] == {"Untagged": child}
    assert {"Deleted": child_id} in records
    assert ({"Deleted": parent_id} in records) is not noprune
    left = engine.wire.request("GET", f"/images/{parent_id}/json").status
    assert left == (200 if noprune else 404)


@pytest.mark.operation("ImageGetAll", "ImageLoad")
def test_parents_come_back_with_a_load(engine: Engine) -> None:
    parent, parent_id, child, _ = family(engine)
    path = f"/images/get?names={child}&names={parent}"
    archive = engine.wire.raw(f"GET {path} HTTP/1.0\r\nHost: d\r\n\r\n".encode()).body
    for tag in (child, parent):
        engine.wire.request("DELETE", f"/images/{tag}")
    engine.load(archive)
    assert engine.wire.get(f"/images/{child}/json")["Parent"] == parent_id


# Versions --------------------------------------------------------------------------------------------------


@pytest.mark.operation("ImageInspect", "ImageList")
@pytest.mark.parametrize(("version", "shown"), [("1.41", True), ("1.43", True), ("1.44", False)])
def test_virtual_size_until_1_43(engine: Engine, version: str, shown: bool) -> None:
    if not engine.at_least(version):
        pytest.skip(f"this engine has {engine.api}")
    found = engine.wire.request("GET", f"/images/{engine.image}/json", version=version).json()
    assert ("VirtualSize" in found) is shown
    filters = {"reference": [engine.image]}
    (row,) = engine.wire.request("GET", "/images/json", version=version, filters=filters).json()
    assert ("VirtualSize" in row) is shown


@pytest.mark.operation("ImageInspect")
@pytest.mark.parametrize(("version", "shown"), [("1.41", True), ("1.44", True), ("1.45", False)])
def test_the_container_it_was_made_of_until_1_44(engine: Engine, version: str, shown: bool) -> None:
    if not engine.at_least(version):
        pytest.skip(f"this engine has {engine.api}")
    found = engine.wire.request("GET", f"/images/{engine.image}/json", version=version).json()
    assert ("ContainerConfig" in found) is shown


@pytest.mark.operation("ImageInspect", "ImageList")
def test_an_image_without_a_date(engine: Engine) -> None:
    tag = dated(engine, "undated", "")
    found = engine.wire.request("GET", f"/images/{tag}/json", version="1.41").json()
    assert found["Created"] == "0001-01-01T00:00:00Z"
    if engine.at_least("1.44"):
        assert "Created" not in engine.wire.request("GET", f"/images/{tag}/json", version="1.44").json()


# Platforms -------------------------------------------------------------------------------------------------


@pytest.mark.operation("ImageInspect")
@pytest.mark.since("1.49")
def test_inspect_of_a_platform(engine: Engine) -> None:
    path = f"/images/{engine.image}/json"
    assert engine.wire.request("GET", path, platform=AMD).status == 200
    answer = engine.wire.request("GET", path, platform=ARM)
    assert answer.status == 404 and "does not match the specified platform" in answer.message
    answer = engine.wire.request("GET", path, platform=AMD, manifests=True)
    text = "conflicting options: manifests and platform options cannot both be set"
    assert (answer.status, answer.message) == (400, text)


@pytest.mark.operation("ImageInspect", "ImageHistory", "ImageGet", "ImageLoad", "ImageDelete")
@pytest.mark.since("1.50")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "failed to parse platform"),
        ("{}", "both OS and Architecture must be provided"),
        ('{"os": "linux"}', "both OS and Architecture must be provided"),
        ('{"variant": "v8"}', "optional platform fields provided, but OS and Architecture are missing"),
    ],
)
def test_what_is_no_platform(engine: Engine, text: str, message: str) -> None:
    for method, path, name in (
        ("GET", f"/images/{engine.image}/json", "platform"),
        ("GET", f"/images/{engine.image}/history", "platform"),
        ("GET", f"/images/{engine.image}/get", "platform"),
        ("POST", "/images/load", "platform"),
        ("DELETE", f"/images/{engine.image}", "platforms"),
    ):
        query: dict[str, Any] = {name: text}
        answer = engine.wire.request(method, path, **query)
        assert answer.status == 400 and answer.message.startswith(message), (method, path)


@pytest.mark.operation("ImageDelete")
@pytest.mark.since("1.50")
def test_removal_of_a_platform(engine: Engine) -> None:
    tag = dated(engine, "platforms", "2020-01-01T00:00:00Z")
    answer = engine.wire.request("DELETE", f"/images/{tag}", platforms=ARM)
    assert answer.status == 404 and "does not match the specified platform" in answer.message
    assert engine.wire.request("DELETE", f"/images/{tag}", platforms=AMD).status == 200


@pytest.mark.operation("ImageGet", "ImageHistory")
@pytest.mark.since("1.48")
def test_save_and_history_of_a_platform(engine: Engine) -> None:
    assert engine.wire.request("GET", f"/images/{engine.image}/get", platform=AMD).status == 200
    answer = engine.wire.request("GET", f"/images/{engine.image}/get", platform=ARM)
    assert answer.status >= 400 and "linux/arm64" in answer.message
    assert engine.wire.request("GET", f"/images/{engine.image}/history", platform=AMD).status == 200
    assert engine.wire.request("GET", f"/images/{engine.image}/history", platform=ARM).status == 404


@pytest.mark.operation("ImageLoad")
@pytest.mark.since("1.48")
def test_load_takes_the_platform_s_images_only(engine: Engine) -> None:
    tag, other = engine.name("amd") + ":1", engine.name("arm") + ":1"
    image = engine.base(Labels={"own": tag})
    arm = engine.base(Labels={"own": other})
    arm.architecture = "arm64"
    archive = docker_archive({tag: image, other: arm})
    engine.wire.post("/images/load", archive, status=200, platform=AMD)
    assert engine.wire.request("GET", f"/images/{tag}/json").status == 200
    assert engine.wire.request("GET", f"/images/{other}/json").status == 404


@pytest.mark.operation("ImageAttestations")
@pytest.mark.since("1.55")
def test_attestations_are_for_other_image_stores(engine: Engine) -> None:
    answer = engine.wire.request("GET", f"/images/{engine.image}/attestations")
    text = "the legacy image store does not support attestations"
    assert (answer.status, answer.message) == (501, text)
    answer = engine.wire.request("GET", f"/images/{engine.image}/attestations", platform="{}")
    assert answer.status == 400


# Import, load, prune ---------------------------------------------------------------------------------------


@pytest.mark.operation("ImageCreate")
@pytest.mark.since("1.44")
def test_import_for_a_platform(engine: Engine) -> None:
    repository = engine.name("import")
    label = "LABEL " + "=".join(next(iter(engine.labels.items())))
    data = Tar().add("file", "x").bytes()
    query: dict[str, Any] = {"fromSrc": "-", "repo": repository, "changes": label}
    engine.wire.post("/images/create", data, status=200, platform="linux/arm64", **query)
    found = engine.wire.get(f"/images/{repository}/json")
    assert (found["Os"], found["Architecture"]) == ("linux", "arm64")
    assert found["Comment"] == "Imported from -"
    # No body: an engine that refuses before it reads may close the connection while one is sent.
    answer = engine.wire.request("POST", "/images/create", b"", platform="a/b/c/d", **query)
    assert answer.status == 400


@pytest.mark.operation("ImageCreate")
@pytest.mark.parametrize("change", ["FROM x", "RUN x", "LABEL"])
def test_import_with_changes_that_are_none(engine: Engine, change: str) -> None:
    repository = engine.name("import")  # no body: it is refused before one is read
    answer = engine.wire.request("POST", "/images/create", b"", fromSrc="-", repo=repository, changes=change)
    assert answer.status == 400


@pytest.mark.operation("ImageLoad")
def test_a_tag_that_moves_is_told_of(engine: Engine) -> None:
    tag = engine.name("moves") + ":1"
    old, new = engine.base(Labels={"own": tag}), engine.base(Labels={"own": tag + "-new"})
    engine.load(docker_archive({tag: old}))
    text = engine.load(docker_archive({tag: new}))
    assert f"The image {tag} already exists, renaming the old one with ID {old.id} to empty string" in text


@pytest.mark.operation("ImageLoad")
def test_images_of_one_archive_share_a_file(engine: Engine) -> None:
    """The same layer in two places, and twice in one image."""
    layer = Tar().add("file", engine.name()).bytes()
    tag, other = engine.name("one") + ":1", engine.name("two") + ":1"
    image = Image([layer, layer], {"Labels": {**engine.labels, "own": tag}})
    second = Image([layer], {"Labels": {**engine.labels, "own": other}})
    engine.load(docker_archive({tag: image, other: second}))
    for name, wanted in ((tag, image), (other, second)):
        found = engine.wire.get(f"/images/{name}/json")
        assert (found["Id"], len(found["RootFS"]["Layers"])) == (wanted.id, len(wanted.layers))


@pytest.mark.operation("ImagePrune")
def test_prune_filters(engine: Engine) -> None:
    """Old ones of a label, but not of another; and with a tag only by dangling=false."""
    mark = engine.name()
    old = dated(engine, "old", "2020-01-01T00:00:00Z", mark=mark)
    kept = dated(engine, "kept", "2020-01-01T00:00:00Z", mark=mark, keep="yes")
    new = dated(engine, "new", "2023-01-01T00:00:00Z", mark=mark)
    filters = {"label": [f"mark={mark}"], "label!": ["keep"], "until": ["2021-01-01T00:00:00Z"]}
    answer = engine.wire.post("/images/prune", status=200, filters=filters).json()
    assert answer == {"ImagesDeleted": None, "SpaceReclaimed": 0}
    answer = engine.wire.post("/images/prune", status=200, filters={**filters, "dangling": ["false"]}).json()
    assert {"Untagged": old} in answer["ImagesDeleted"] and answer["SpaceReclaimed"] > 0
    assert [engine.wire.request("GET", f"/images/{tag}/json").status for tag in (old, kept, new)] == [
        404,
        200,
        200,
    ]


@pytest.mark.operation("ImagePrune")
def test_prune_of_what_is_dangling(engine: Engine) -> None:
    mark = engine.name()
    tag = dated(engine, "dangling", "2020-01-01T00:00:00Z", mark=mark)
    identity = engine.wire.get(f"/images/{tag}/json")["Id"]
    repository, _, name = tag.partition(":")
    engine.wire.post(f"/images/{engine.image}/tag", status=201, repo=repository, tag=name)
    answer = engine.wire.post("/images/prune", status=200, filters={"label": [f"mark={mark}"]}).json()
    assert {"Deleted": identity} in answer["ImagesDeleted"]


@pytest.mark.operation("ImagePrune")
@pytest.mark.parametrize(
    "filters",
    [{"bogus": ["x"]}, {"until": ["1h", "2h"]}, {"until": ["whenever"]}, {"dangling": ["perhaps"]}],
)
def test_prune_filters_that_are_none(engine: Engine, filters: dict[str, Any]) -> None:
    answer = engine.wire.request("POST", "/images/prune", filters=filters)
    assert answer.status == engine.pick({"1.24": 500, "1.55": 400}) or answer.status == 400
