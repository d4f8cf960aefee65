import pytest
from hypothesis import given
from hypothesis import strategies as st

from compatd.engine.builder.buildkit.wire import codec
from compatd.engine.builder.buildkit.wire.codec import DecodeError, Message, Row, make
from compatd.engine.builder.buildkit.wire.messages import _TABLES, method, nanoseconds, proto, timestamp
from compatd.engine.builder.buildkit.wire.tables.services import SERVICES
from runtime import varint

Packet, Stat = proto("fsutil.types.Packet"), proto("fsutil.types.Stat")
Solve = proto("moby.buildkit.v1.SolveRequest")

# What buildx 0.13 and dockerd 26.1 sent each other.
FROM_GO = {
    "moby.buildkit.v1.SolveRequest": (
        "0a19323772703065746c68746e7a356e747869376c676d32726a611a046d6f62792a19707178316e7869786b323939307a7868"
        "6e64656535723065683a1b0a0866696c656e616d65120f446f636b657266696c652e6661696c3a1b0a12696d6167652d726573"
        "6f6c76652d6d6f646512056c6f63616c42006a060a046d6f6279",
        {
            "Ref": "27rp0etlhtnz5ntxi7lgm2rja",
            "ExporterDeprecated": "moby",
            "Session": "pqx1nxixk2990zxhndee5r0eh",
            "FrontendAttrs": {"filename": "Dockerfile.fail", "image-resolve-mode": "local"},
            "Cache": {},
            "Exporters": [{"Type": "moby"}],
        },
    ),
    "moby.buildkit.v1.frontend.SolveRequest": (
        "120d646f636b657266696c652e76301a1e0a0866696c656e616d651212446f636b657266696c652e736372617463681a1b0a12"
        "696d6167652d7265736f6c76652d6d6f646512056c6f63616c28013001",
        {
            "Frontend": "dockerfile.v0",
            "FrontendOpt": {"filename": "Dockerfile.scratch", "image-resolve-mode": "local"},
            "allowResultReturn": True,
            "allowResultArrayRef": True,
        },
    ),
    "moby.buildkit.v1.ListWorkersResponse": (
        "0a4a0a2464393661333261612d393362352d343431652d393766342d3938616265656562633831651a0e0a05616d64363412"
        "056c696e75781a120a05616d64363412056c696e75781a027632",
        {
            "record": [
                {
                    "ID": "d96a32aa-93b5-441e-97f4-98abeeebc81e",
                    "platforms": [
                        {"Architecture": "amd64", "OS": "linux"},
                        {"Architecture": "amd64", "OS": "linux", "Variant": "v2"},
                    ],
                }
            ]
        },
    ),
}


@pytest.mark.parametrize("name", FROM_GO)
def test_what_go_has_encoded(name: str) -> None:
    text, document = FROM_GO[name]
    data = bytes.fromhex(text)
    message = proto(name).decode(data)
    assert message.document() == document
    assert message.encode() == data


def test_every_message_and_method_of_the_tables_can_be_made() -> None:
    for package, messages in _TABLES.items():
        for name in messages:
            for row in proto(f"{package}.{name}").ROWS:
                assert row.of is None or row.of()
    for service, methods in SERVICES.items():
        for name in methods:
            assert method(f"/{service}/{name}").path == f"/{service}/{name}"
    assert method("/moby.buildkit.v1.Control/Status")[3:] == (False, True)
    with pytest.raises(KeyError):
        method("/moby.buildkit.v1.Control/Nothing")


@pytest.mark.parametrize(
    ("value", "data"),
    [  # the protocol buffers' own documentation of encodings
        (150, "089601"),
        (-1, "08ffffffffffffffffff01"),
        (-(1 << 63), "0880808080808080808001"),
        ((1 << 63) - 1, "08ffffffffffffffff7f"),
        (0, ""),
    ],
)
def test_numbers(value: int, data: str) -> None:
    for kind in ("int64", "int32") if abs(value) < 1 << 31 else ("int64",):
        made = make("x.Number", [Row(1, "n", kind)])
        assert made(n=value).encode().hex() == data
        assert made.decode(bytes.fromhex(data)).n == value


def test_small_numbers_have_their_size() -> None:
    made = make("x.Sizes", [Row(1, "i", "int32"), Row(2, "u", "uint32"), Row(3, "b", "bool")])
    message = made.decode(bytes.fromhex("08ffffffff0f 10ffffffffffffffffff01 1802"))
    assert (message.i, message.u, message.b) == (-1, 0xFFFFFFFF, True)


def test_repeated_numbers_are_packed_and_taken_either_way() -> None:
    made = make("x.Many", [Row(4, "d", "int32", repeated=True)])
    packed = bytes.fromhex("2206038e029ea705")
    assert made(d=[3, 270, 86942]).encode() == packed
    assert made.decode(packed).d == made.decode(bytes.fromhex("2003 208e02 209ea705")).d == [3, 270, 86942]
    assert made.decode(b"").d == ()


def test_defaults_are_no_part_of_the_bytes_and_presence_is() -> None:
    assert Packet().encode() == b"" and Packet(type=0, ID=0, data=b"").encode() == b""
    assert Packet(stat=Stat()).encode() == b"\x12\x00"
    assert Packet.decode(b"").stat is None and Packet.decode(b"\x12\x00").stat == Stat()
    assert Packet.decode(b"").data == b"" and Stat.decode(b"").xattrs == {}


def test_one_of_several() -> None:
    user = proto("pb.UserOpt")
    assert user(byID=0).encode() == b"\x10\x00"
    both = user.decode(bytes.fromhex("0a030a0178 1005"))
    assert both.which("user") == "byID" and both.byName is None
    assert user().which("user") is None


def test_maps() -> None:
    message = Solve.decode(Solve(FrontendAttrs={"b": "2", "a": ""}).encode())
    assert message.FrontendAttrs == {"a": "", "b": "2"}
    assert Solve(FrontendAttrs={"b": "2", "a": ""}).encode() == bytes.fromhex(
        "3a050a01611200 3a060a0162120132"
    )
    twice = bytes.fromhex("3a060a0161120131 3a060a0161120132 3a00")
    assert Solve.decode(twice).FrontendAttrs == {"a": "2", "": ""}
    inputs = proto("pb.Definition")(metadata={"k": proto("pb.OpMetadata")(caps={"c": True})})
    assert Solve.decode(Solve(FrontendInputs={"x": inputs}).encode()).FrontendInputs["x"] == inputs


def test_messages_that_come_twice_are_merged() -> None:
    data = Packet(stat=Stat(path="a", size=1)).encode() + Packet(stat=Stat(size=2, uid=3)).encode()
    assert Packet.decode(data).stat.document() == {"path": "a", "size": 2, "uid": 3}


def test_unknown_fields_are_skipped() -> None:
    unknown = bytes.fromhex("a80601 a106 0102030405060708 aa060401020304 ad0601020304 ab06 0801 ac06")
    assert Packet.decode(unknown + b"\x18\x05" + unknown).document() == {"ID": 5}
    assert Packet.decode(b"\x1a\x01x").document() == {}  # a known number of another kind


def test_names_of_files_are_bytes_in_truth() -> None:
    data = b"\x0a\x04a\xff\xfeb"
    assert Stat.decode(data).path == "a\udcff\udcfeb"
    assert Stat.decode(data).encode() == data


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(TypeError, match=r"fsutil\.types\.Stat has no field nothing"):
        Stat(nothing=1)


def test_time() -> None:
    assert timestamp(1_700_000_000_123_456_789).document() == {"seconds": 1_700_000_000, "nanos": 123_456_789}
    assert nanoseconds(timestamp(-1)) == -1 and nanoseconds(None) is None


@pytest.mark.parametrize(
    "data",
    [
        "80",  # a tag's half
        "0a05",  # more announced than there is
        "0affffffffffffffffff01",
        "08",
        "08ffffffffffffffffffff01",  # eleven bytes
        "00",
        "0b0a",  # a group without end
        "0c",
        "0f",
        "a106 01",
        "0a040a",
        "ab06" * 100,
    ],
)
def test_broken_bytes_are_refused(data: str) -> None:
    for name in ("fsutil.types.Packet", "moby.buildkit.v1.StatusResponse", "pb.Definition"):
        if name == "fsutil.types.Packet" or data not in ("08", "08ffffffffffffffffffff01"):
            with pytest.raises(DecodeError):
                proto(name).decode(bytes.fromhex(data))


def test_depth_is_limited() -> None:
    source = proto("pb.SourceInfo")  # has a definition, which has a source, which has infos
    data = b""
    for _ in range(40):
        data = b"\x12" + varint.encode(len(data)) + data  # Source.infos
        data = b"\x1a" + varint.encode(len(data)) + data  # Definition.Source
        data = b"\x1a" + varint.encode(len(data)) + data  # SourceInfo.definition
    with pytest.raises(DecodeError, match="depth"):
        source.decode(data)


@pytest.mark.parametrize("name", ["pb.Definition", "moby.buildkit.v1.SolveRequest"])
def test_how_much_there_is_is_limited(name: str) -> None:
    piece = b"\x0a\x00" if name == "pb.Definition" else b"\x3a\x00"
    proto(name).decode(piece * 1000)
    with pytest.raises(DecodeError, match="elements"):
        proto(name).decode(piece * (codec.MAX_ITEMS + 1))


def test_packed_numbers_are_limited() -> None:
    made = make("x.Packed", [Row(1, "n", "uint64", repeated=True)])
    size = codec.MAX_ITEMS + 1
    with pytest.raises(DecodeError, match="elements"):
        made.decode(b"\x0a" + varint.encode(size) + b"\x01" * size)


@given(st.binary(max_size=200))
def test_nothing_but_a_decode_error_comes_of_any_bytes(data: bytes) -> None:
    for name in ("fsutil.types.Packet", "moby.buildkit.v1.SolveRequest", "pb.Op"):
        try:
            message = proto(name).decode(data)
        except DecodeError:
            continue
        assert proto(name).decode(message.encode()) == message


@given(
    st.builds(
        Stat,
        path=st.text(st.characters(codec="utf-8"), max_size=8),
        mode=st.integers(0, 0xFFFFFFFF),
        size=st.integers(-(1 << 63), (1 << 63) - 1),
        xattrs=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), st.binary(max_size=8)),
    )
)
def test_there_and_back(stat: Message) -> None:
    assert Packet.decode(Packet(stat=stat).encode()).stat == stat
