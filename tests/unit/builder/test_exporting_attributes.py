"""An output's attributes, as BuildKit reads them."""

import pytest

from compatd.engine.builder.exporting import archives, attributes, cacheexport, exports, images
from compatd.engine.builder.exporting.task import CacheEntry, Output
from compatd.engine.errors import EngineError, InvalidParameter


def test_defaults() -> None:
    found = attributes.image_options({})
    assert found.names == () and found.store and found.tar and not found.push
    assert found.compression == attributes.Compression("gzip") and found.oci_types is None


def test_names_and_flags() -> None:
    given = {"name": "a:1,b:2", "push": "", "unpack": "true", "store": "false", "tar": "0", "unknown": "x"}
    found = attributes.image_options(given)
    assert found.names == ("a:1", "b:2") and found.push and not found.store and not found.tar


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"push": "perhaps"}, 'specified for push: strconv.ParseBool: parsing "perhaps": invalid syntax'),
        (
            {"oci-mediatypes": ""},
            'specified for oci-mediatypes: strconv.ParseBool: parsing "": invalid syntax',
        ),
        ({"compression": "lzma"}, "unsupported compression type lzma"),
        ({"compression-level": "fast"}, "non-integer value fast specified for compression-level"),
        ({"source-date-epoch": "now"}, 'invalid source-date-epoch: strconv.ParseInt: parsing "now"'),
        ({"compression": "zstd", "oci-mediatypes": "false"}, 'conflicts with "oci-mediatypes=false"'),
        ({"annotation-index.a": "b", "oci-mediatypes": "false"}, 'annotations with "oci-mediatypes=false"'),
        ({"annotation-other.a": "b"}, "unrecognized annotation type other"),
    ],
)
def test_what_is_refused(given: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidParameter, match=text.replace("(", "\\(")):
        attributes.image_options(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"compression": "uncompressed"}, ("", False, None)),
        ({"compression": "zstd", "compression-level": "99"}, ("zstd", False, 22)),
        ({"compression-level": "0"}, ("gzip", False, 0)),
        ({"force-compression": ""}, ("gzip", True, None)),
        ({"force-compression": "false"}, ("gzip", False, None)),
    ],
)
def test_compression(given: dict[str, str], expected: tuple[str, bool, int | None]) -> None:
    found = attributes.compression(given)
    assert (found.kind, found.force, found.level) == expected


def test_annotations_by_kind_and_platform() -> None:
    given = {
        "annotation.b": "all",
        "annotation.a": "all",
        "annotation[linux/arm64].a": "one",
        "annotation-index.i": "index",
        "annotation-manifest-descriptor[linux/amd64].d": "x",
    }
    found = attributes.annotations(given)
    assert list(found.of("manifest", "linux/amd64").items()) == [("a", "all"), ("b", "all")]
    assert found.of("manifest", "linux/arm64")["a"] == "one"
    assert found.of("index") == {"i": "index"}
    assert found.of("manifest-descriptor", "linux/arm64") == {}
    assert found.platforms == {"linux/arm64", "linux/amd64"} and found.beyond_manifests


def test_trees() -> None:
    found = attributes.tree_options({"platform-split": "false", "attestation-prefix": "p-"})
    assert found.split is False and found.attestation_prefix == "p-"
    with pytest.raises(InvalidParameter, match="non-bool value for platform-split: x: strconv"):
        attributes.tree_options({"platform-split": "x"})


def test_outputs_are_checked_before_the_build() -> None:
    exports.check([Output("moby", {"name": "a"}), Output("local"), Output("tar"), Output("oci")])
    with pytest.raises(EngineError, match='exporter "xyz" could not be found'):
        exports.check([Output("xyz")])
    with pytest.raises(InvalidParameter, match="invalid reference format"):
        images.check(Output("moby", {"name": "A B"}))
    with pytest.raises(EngineError, match="push-by-digest is currently not implemented"):
        images.check(Output("moby", {"name": "a", "push-by-digest": "true"}))
    with pytest.raises(EngineError, match="tag is needed when pushing to registry"):
        images.check(Output("moby", {"push": "true"}))
    with pytest.raises(InvalidParameter, match="must be lowercase"):
        archives.check(Output("oci", {"name": "Abc"}))


@pytest.mark.parametrize(
    ("kind", "given", "text"),
    [
        ("gha", {}, 'unknown cache exporter: "gha"'),
        ("local", {}, "failed to configure local cache exporter: local cache exporter requires dest"),
        ("registry", {}, "failed to configure registry cache exporter: missing ref"),
        ("registry", {"ref": "a", "mode": "most"}, "invalid mode most"),
        (
            "local",
            {"dest": "x", "image-manifest": "true", "oci-mediatypes": "false"},
            "OCI mediatypes are req",
        ),
        ("inline", {"compression": "x"}, "unsupported compression type x"),
    ],
)
def test_caches_are_checked(kind: str, given: dict[str, str], text: str) -> None:
    with pytest.raises(EngineError, match=text):
        cacheexport.check([CacheEntry(kind, given)])
