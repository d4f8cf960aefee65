"""What clients tell the frontend."""

import json

import pytest

from compatd.engine.builder.buildkit.options import FrontendOptions, parse
from compatd.engine.errors import EngineError
from compatd.engine.images.platform import Platform


def test_nothing_is_said() -> None:
    assert parse({}) == FrontendOptions()


def test_all_of_a_build() -> None:
    found = parse(
        {
            "filename": "sub/Dockerfile",
            "target": "final",
            "platform": "linux/arm64,linux/amd64",
            "build-arg:A": "1",
            "build-arg:BUILDKIT_SANDBOX_HOSTNAME": "box",
            "build-arg:SOURCE_DATE_EPOCH": "1700000000",
            "label:a.b": "c",
            "context:base": "docker-image://x",
            "attest:provenance": "mode=min",
            "no-cache": "One,two",
            "image-resolve-mode": "pull",
            "force-network-mode": "none",
            "add-hosts": "Host=1.2.3.4,six=::1",
            "shm-size": "64",
            "ulimit": "nofile=10:20,core=0",
            "cgroup-parent": "/x",
            "cache-imports": json.dumps([{"Type": "local", "Attrs": {"src": "/c"}}]),
            "cache-from": "a,b",
            "dockerfilekey": "df",
            "context": "https://x/y.git",
            "frontend.caps": "moby.buildkit.frontend.contexts+forward",
        }
    )
    assert found.filename == "sub/Dockerfile" and found.target == "final"
    assert found.platforms == (Platform("linux", "arm64"), Platform("linux", "amd64"))
    assert found.several_platforms and found.pull and found.network == "none"
    assert found.hostname == "box" and found.source_date_epoch == 1700000000
    assert found.labels == {"a.b": "c"} and found.contexts == {"base": "docker-image://x"}
    assert found.no_cache == frozenset(("one", "two"))
    assert found.extra_hosts == ("host:1.2.3.4", "six:::1")
    assert found.resources == {
        "ShmSize": 64,
        "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}, {"Name": "core", "Soft": 0, "Hard": 0}],
        "CgroupParent": "/x",
    }
    assert [one["Attrs"] for one in found.cache_from] == [{"src": "/c"}, {"ref": "a"}, {"ref": "b"}]
    assert found.local_dockerfile and found.dockerfile_name == "df"
    assert found.context == "https://x/y.git"
    assert found.capabilities == ("moby.buildkit.frontend.contexts+forward",)


def test_no_cache_for_all() -> None:
    assert parse({"no-cache": ""}).no_cache is True


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"force-network-mode": "bridge"}, "invalid netmode bridge"),
        ({"image-resolve-mode": "x"}, "invalid image-resolve-mode: x"),
        ({"multi-platform": "maybe"}, "invalid boolean value for multi-platform: maybe"),
        (
            {"multi-platform": "false", "platform": "linux/amd64,linux/arm64"},
            "conflicting config: returning multiple target platforms is not allowed",
        ),
        ({"add-hosts": "a"}, "failed to parse additional hosts: invalid key-value pair a"),
        ({"add-hosts": "a=b"}, "failed to parse additional hosts: failed to parse IP b"),
        ({"ulimit": "nope=1"}, "failed to parse ulimit: invalid ulimit type: nope"),
        ({"ulimit": "core=1:2:3"}, "failed to parse ulimit: invalid ulimit argument: core=1:2:3"),
        (
            {"ulimit": "core=3:2"},
            "failed to parse ulimit: ulimit soft limit must be less than or equal to hard limit: 3 > 2",
        ),
        ({"shm-size": "1m"}, 'failed to parse shm size: strconv.ParseInt: parsing "1m": invalid syntax'),
        ({"platform": "a/b/c/d"}, 'failed to parse target platform a/b/c/d: "a/b/c/d": cannot parse'),
        ({"cache-imports": "{"}, "failed to unmarshal cache-imports"),
        ({"build-arg:SOURCE_DATE_EPOCH": "x"}, "invalid SOURCE_DATE_EPOCH: x"),
    ],
)
def test_what_cannot_be(given: dict[str, str], text: str) -> None:
    with pytest.raises(EngineError) as caught:
        parse(given)
    assert caught.value.message.startswith(text)


def test_attestations_of_the_build_s_arguments() -> None:
    found = parse({"attest:SBOM": "", "build-arg:BUILDKIT_ATTEST_PROVENANCE": "mode=max"})
    assert found.attestations == {"sbom": "", "provenance": "mode=max"}


def test_labels_have_one_order_whatever_order_they_came_in() -> None:
    assert list(parse({"label:b": "1", "label:a": "2", "label:c": "3"}).labels) == ["a", "b", "c"]
