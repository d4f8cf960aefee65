"""Caches that travel: BuildKit's format, written and read."""

import json

import pytest

from compatd.engine.builder.exporting import cachemodel
from compatd.engine.builder.exporting.cachemodel import Record
from compatd.engine.builder.exporting.descriptors import Descriptor
from compatd.engine.errors import EngineError

NANO = 1_000_000_000


def layer(number: int) -> Descriptor:
    digest = f"sha256:{number:064x}"
    return Descriptor("t", digest, number, diff_id=f"sha256:{number + 100:064x}")


def key(name: str) -> str:
    return cachemodel.digest_of_key(name)


BASE = Record("base")
RUN = Record("run", ("base",), (layer(3), layer(1)), 5 * NANO)
COPY = Record("copy", ("run", "context"), (layer(3), layer(1), layer(2)), 6 * NANO)


def test_keys_become_digests() -> None:
    digest = "sha256:" + "a" * 64
    assert cachemodel.digest_of_key(digest) == digest
    assert cachemodel.digest_of_key("random").startswith("sha256:")


def test_what_is_written_is_read() -> None:
    data, order = cachemodel.encode([COPY, RUN, BASE])
    assert [one.digest for one in order] == sorted(one.digest for one in order)
    found = cachemodel.decode(data, {one.digest: one for one in order})
    assert found.keys() == {key("run"), key("copy")}
    assert found[key("copy")].layers == COPY.layers and found[key("copy")].created == 6 * NANO
    assert found[key("copy")].parents == (key("run"), key("context"))


def test_the_form_is_buildkits() -> None:
    data, _ = cachemodel.encode([RUN, COPY, BASE])
    document = json.loads(data)
    assert document["layers"] == [
        {"blob": layer(1).digest, "parent": 2},
        {"blob": layer(2).digest},  # a parent of 0 is left out, as Go does it
        {"blob": layer(3).digest, "parent": -1},
    ]
    digests = [record["digest"] for record in document["records"]]
    assert digests == sorted(digests) and set(digests) == {key(n) for n in ("base", "run", "copy", "context")}
    copy = document["records"][digests.index(key("copy"))]
    assert list(copy) == ["layers", "digest", "inputs"]
    assert copy["layers"] == [{"layer": 1, "createdAt": "1970-01-01T00:00:06Z"}]
    assert copy["inputs"] == [[{"link": digests.index(key(n))}] for n in ("run", "context")]


def test_order_does_not_matter() -> None:
    assert cachemodel.encode([RUN, COPY, BASE]) == cachemodel.encode([COPY, BASE, RUN, RUN])


def test_nothing_at_all() -> None:
    data, order = cachemodel.encode([BASE])
    assert order == [] and json.loads(data)["records"] == [{"digest": key("base")}]


def test_inline() -> None:
    diff_ids = [one.diff_id for one in COPY.layers]
    elsewhere = Record("other", ("base",), (layer(9),))
    data = cachemodel.encode_inline([BASE, RUN, COPY, elsewhere], diff_ids)
    assert data
    found = cachemodel.decode_inline(data, COPY.layers)
    assert {digest: one.layers for digest, one in found.items()} == {
        key("run"): RUN.layers,
        key("copy"): COPY.layers,
    }
    assert cachemodel.encode_inline([elsewhere], diff_ids) is None


# Out of the config of an image that dockerd 26.1 built with an inline cache.
REAL_INLINE = json.dumps(
    [
        {
            "layers": [{"layer": 2, "createdAt": "2026-11-28T00:29:55.135199282Z"}],
            "digest": "sha256:00b3525dfd2a93899fdfa1d482df9f7a38aa94632a1520156dc247bb031bc164",
            "inputs": [[{"link": 1}], [{"link": 2}]],
        },
        {
            "layers": [{"layer": 1, "createdAt": "2026-11-28T00:29:55.127356548Z"}],
            "digest": "sha256:4ef861aa2575c76da39eb66b6eec70b4ace9a6a699bb9d2d7ca41ddc1ac9679c",
            "inputs": [[{"selector": "sha256:8a5e", "link": 3}]],
        },
        {"digest": "sha256:53b95985eacf0b30918ac523e6a42f4a1ee8a4fdd470e902f440603cfd3a57c4"},
        {"digest": "sha256:e06f4792e93687a7c9d8790e712416b9fd0b5c89aafa8ad58fd363bcafc1d54d"},
    ]
).encode()


def test_buildkits_own_inline_cache_is_read() -> None:
    found = cachemodel.decode_inline(REAL_INLINE, COPY.layers)
    one = found["sha256:00b3525dfd2a93899fdfa1d482df9f7a38aa94632a1520156dc247bb031bc164"]
    assert one.layers == COPY.layers and one.created % NANO == 135199282
    assert len(found) == 2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"{", "it is no JSON"),
        (b'{"records": 5}', "records is no list"),
        (b'{"layers": [5]}', "layers is no list"),
        (b'{"layers":[{"blob":"b","parent":0}],"records":[{"layers":[{"layer":0}]}]}', "looping layer"),
        (b'{"layers":[],"records":[{"layers":[{"layer":7}]}]}', "invalid layer index 7"),
        (b'{"layers":[],"records":[{"layers":[{"layer":"x"}]}]}', "invalid layer index x"),
    ],
)
def test_hostile_caches(data: bytes, text: str) -> None:
    with pytest.raises(EngineError, match=text):
        cachemodel.decode(data, {"b": layer(1)})


def test_layers_that_are_not_there() -> None:
    data, order = cachemodel.encode([RUN, COPY])
    assert cachemodel.decode(data, {one.digest: one for one in order[:1]}) == {}


@pytest.mark.parametrize(
    "inputs", [7, [7], [[]], [[{}], [{"link": 9}]], [[{"link": -1}]], [[{"link": "0"}]], {"link": 0}]
)
def test_inputs_that_lead_nowhere(inputs: object) -> None:
    records = [{"digest": key("a"), "layers": [{"layer": 0}], "inputs": inputs}]
    (found,) = cachemodel.decode_inline(json.dumps(records).encode(), [layer(1)]).values()
    assert set(found.parents) <= {key("a")}


def test_hostile_inline_caches() -> None:
    data = (
        b'[{"digest":"sha256:x","layers":[{"layer":0}]},{"digest":5,"layers":[{"layer":-1}]},{"layers":[{}]}]'
    )
    assert cachemodel.decode_inline(data, COPY.layers) == {}


def test_long_chains_again_and_again_are_refused() -> None:
    """16 MiB of JSON came to gigabytes: each of its records had a list of a thousand layers of its own."""
    count = 999
    layers = [{"blob": layer(number).digest, "parent": number - 1} for number in range(count)]
    blobs = {layer(number).digest: layer(number) for number in range(count)}
    records = [{"digest": key(str(number)), "layers": [{"layer": number % count}]} for number in range(3000)]
    data = json.dumps({"layers": layers, "records": records}).encode()
    with pytest.raises(EngineError, match="chains of layers are too long"):
        cachemodel.decode(data, blobs)
    records = [{"digest": key(str(number)), "layers": [{"layer": count - 1}]} for number in range(3000)]
    found = cachemodel.decode(json.dumps({"layers": layers, "records": records}).encode(), blobs)
    assert len(found) == 3000 and len({id(one.layers) for one in found.values()}) == 1
    inline = cachemodel.decode_inline(json.dumps(records).encode(), list(blobs.values()))
    assert len({id(one.layers) for one in inline.values()}) == 1


def test_inputs_are_read_once_for_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each of its results: megabytes of either took hours."""
    calls, read = [], cachemodel._inputs
    monkeypatch.setattr(cachemodel, "_inputs", lambda *given: calls.append(1) or read(*given))
    record = {"digest": key("a"), "layers": [{"layer": 0}] * 50, "inputs": [[{"link": 0}]] * 50}
    document = {"layers": [{"blob": layer(1).digest, "parent": -1}], "records": [record]}
    found = cachemodel.decode(json.dumps(document).encode(), {layer(1).digest: layer(1)})
    assert len(found[key("a")].parents) == 50 and len(calls) == 1
