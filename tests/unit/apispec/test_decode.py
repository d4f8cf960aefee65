import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apispec import OPERATIONS, BadRequest, Version, decode_body
from apispec.decode import decode_json
from apispec.model import Field, Int, ListOf, MapOf, Scalar, String, Struct, Type, Uint16, resolve
from apispec.types.container import CreateRequest

CREATE = OPERATIONS["ContainerCreate"]
JSON = "application/json"
steady = settings(deadline=None, derandomize=True, max_examples=100)


def refusal(raw: bytes, content_type: str = JSON, operation: str = "ContainerCreate", **more: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        decode_body(OPERATIONS[operation], raw, content_type, **more)
    return caught.value.message


@pytest.mark.parametrize(
    ("raw", "content_type", "message"),
    [
        (b"{bad", JSON, "invalid JSON: invalid character 'b' looking for beginning of object key string"),
        (b"{}", "", "malformed Content-Type header (): mime: no media type"),
        (b"{}", "text/plain", "unsupported Content-Type header (text/plain): must be 'application/json'"),
        (b"{}", "a/", "malformed Content-Type header (a/): mime: expected token after slash"),
        (b"{}", "a b", "malformed Content-Type header (a b): mime: expected slash after first token"),
        (
            b"{}",
            "a/b c",
            "malformed Content-Type header (a/b c): mime: unexpected content after media subtype",
        ),
        (b"{}", f"{JSON}; x", f"malformed Content-Type header ({JSON}; x): mime: invalid media parameter"),
        (b"{}", JSON, "config cannot be empty in order to create a container"),
        (b"null", JSON, "config cannot be empty in order to create a container"),
        (b'{"HostConfig":{}}', JSON, "config cannot be empty in order to create a container"),
        (b"", JSON, "invalid JSON: EOF"),
        (b"", "", "invalid JSON: EOF"),
        (b" \n", JSON, "invalid JSON: EOF"),
        (b'{"Image":"nope"} trailing', JSON, "unexpected content after JSON"),
        (
            b'{"Image":5}',
            JSON,
            "invalid JSON: json: cannot unmarshal number into Go struct field .Image of type string",
        ),
        (
            b"[]",
            JSON,
            "invalid JSON: json: cannot unmarshal array into Go value of type container.CreateRequest",
        ),
        (
            b'{"Env":["a",false]}',
            JSON,
            "invalid JSON: json: cannot unmarshal bool into Go struct field .Env.1 of type string",
        ),
        (
            b'{"HostConfig":{"Memory":1.50}}',
            JSON,
            "invalid JSON: json: cannot unmarshal number 1.50 into Go struct field .HostConfig.Memory "
            "of type int64",
        ),
    ],
)
def test_refusals(raw: bytes, content_type: str, message: str) -> None:
    assert refusal(raw, content_type) == message


def test_type_errors_name_the_outer_struct() -> None:
    assert refusal(b'{"Tty":1}', operation="ContainerExec") == (
        "invalid JSON: json: cannot unmarshal number into Go struct field ExecCreateRequest.Tty of type bool"
    )


def test_numbers_out_of_range() -> None:
    struct = Struct("x.T", Port=Uint16)
    for raw in (b'{"Port":65536}', b'{"Port":-1}', b'{"Port":99999999999999999999999}'):
        with pytest.raises(BadRequest, match=r"cannot unmarshal number \S+ into .* T.Port of type uint16"):
            decode_json(struct, raw)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"x", "invalid character 'x' looking for beginning of value"),
        (b'{"a"', "unexpected EOF"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b'{"a":tru}', "invalid character '}' in literal true (expecting 'e')"),
        (b'["\\x"]', "invalid character 'x' in string escape code"),
        (b'["\\u12g4"]', "invalid character 'g' in \\u hexadecimal character escape"),
        (b'["a\nb"]', "invalid character '\\n' in string literal"),
        (b"[-]", "invalid character ']' in numeric literal"),
        (b"[1.]", "invalid character ']' after decimal point in numeric literal"),
        (b"[1e+]", "invalid character ']' in exponent of numeric literal"),
        (b"[NaN]", "invalid character 'N' looking for beginning of value"),
        (b"[" * 20000, "exceeded max depth"),
    ],
)
def test_syntax_errors_are_gos(raw: bytes, problem: str) -> None:
    assert refusal(raw) == f"invalid JSON: {problem}"


def test_names_match_whatever_their_case() -> None:
    raw = b'{"image":"x","HOSTCONFIG":{"nanocpus":5,"PORTBINDINGS":{"80/tcp":[{"hostport":"1"}]}}}'
    assert decode_body(CREATE, raw, JSON) == {
        "Image": "x",
        "HostConfig": {"NanoCpus": 5, "PortBindings": {"80/tcp": [{"HostPort": "1"}]}},
    }


def test_null_is_absent_and_unknown_is_dropped() -> None:
    raw = b'{"Image":"x","Cmd":null,"Nonsense":[1],"Env":["a",null],"Labels":{"l":null},"HostConfig":null}'
    assert decode_body(CREATE, raw, JSON) == {"Image": "x", "Env": ["a", ""], "Labels": {"l": ""}}


def test_words_are_a_list_or_a_string() -> None:
    assert decode_body(CREATE, b'{"Cmd":"ls -l","Entrypoint":[]}', JSON) == {
        "Cmd": ["ls -l"],
        "Entrypoint": [],
    }
    assert refusal(b'{"Cmd":5}').endswith("of type string")


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert decode_body(CREATE, b'{"Image":"\xff\\ud800x"}', JSON) == {"Image": "\ufffd\ufffdx"}


def test_a_closing_bracket_may_follow() -> None:
    assert decode_body(CREATE, b'{"Image":"x"} ]', JSON) == {"Image": "x"}


def test_an_absent_body_is_empty() -> None:
    assert decode_body(OPERATIONS["VolumeCreate"], b"", "") == {}
    assert decode_body(OPERATIONS["PluginSet"], b"", "") == []
    assert decode_body(OPERATIONS["ContainerStart"], b"x", "") is None
    assert decode_body(OPERATIONS["ImageLoad"], b"", "application/x-tar") is None
    missing = "invalid JSON: got EOF while reading request body"
    assert refusal(b"", operation="VolumeCreate", length_known=False, content_type=JSON) == missing


@pytest.mark.parametrize(
    ("operation", "raw", "since", "path"),
    [
        ("ContainerCreate", {"Image": "x", "HostConfig": {"Annotations": {"a": "b"}}}, "1.43", "HostConfig"),
        ("ContainerCreate", {"Image": "x", "HostConfig": {"ConsoleSize": [1, 2]}}, "1.42", "HostConfig"),
        ("ContainerCreate", {"Healthcheck": {"StartInterval": 5}}, "1.44", "Healthcheck"),
        ("ContainerUpdate", {"PidsLimit": 5}, "1.40", ""),
        ("ContainerUpdate", {"BlkioDeviceReadBps": []}, "1.55", ""),
        ("NetworkCreate", {"EnableIPv4": False}, "1.48", ""),
        ("NetworkConnect", {"EndpointConfig": {"MacAddress": "02:00:00:00:00:01"}}, "1.54", "EndpointConfig"),
        ("ContainerExec", {"ConsoleSize": [1, 2]}, "1.42", ""),
    ],
)
def test_fields_younger_than_the_client_are_ignored(
    operation: str, raw: dict[str, Any], since: str, path: str
) -> None:
    before = Version(f"1.{int(since[2:]) - 1}")
    whole = json.dumps(raw).encode()
    assert decode_body(OPERATIONS[operation], whole, JSON, Version(since)) == raw
    older = decode_body(OPERATIONS[operation], whole, JSON, before)
    assert (older[path] if path else older) == {}


def values(type: Type, depth: int = 4) -> st.SearchStrategy[Any]:
    type = resolve(type)
    if isinstance(type, Struct):
        if depth == 0:
            return st.just({})
        fields = {
            name: values(field.type, depth - 1) for name, field in type.fields.items() if not field.until
        }
        return st.fixed_dictionaries({}, optional=dict(list(fields.items())[:6]))
    if isinstance(type, ListOf):
        return st.lists(values(type.item, depth - 1), max_size=2)
    if isinstance(type, MapOf):
        return st.dictionaries(st.text(max_size=3), values(type.value, depth - 1), max_size=2)
    if isinstance(type, Scalar):
        integers = st.integers(0, 65535)
        return {"string": st.text(max_size=4), "boolean": st.booleans(), "integer": integers}.get(
            type.kind, st.floats(allow_nan=False, allow_infinity=False)
        )
    return st.lists(st.text(max_size=3), max_size=2)


@steady
@given(values(CreateRequest))
def test_what_fits_is_unchanged(value: dict[str, Any]) -> None:
    value = {"Image": "x", **value}
    assert decode_body(CREATE, json.dumps(value).encode(), JSON) == value


@steady
@given(values(CreateRequest))
def test_case_does_not_matter(value: dict[str, Any]) -> None:
    def upper(item: Any, type: Type) -> Any:
        type = resolve(type)
        if isinstance(type, Struct):
            return {name.upper(): upper(inner, type.fields[name].type) for name, inner in item.items()}
        if isinstance(type, ListOf):
            return [upper(inner, type.item) for inner in item]
        if isinstance(type, MapOf):
            return {name: upper(inner, type.value) for name, inner in item.items()}
        return item

    value = {"Image": "x", **value}
    assert decode_body(CREATE, json.dumps(upper(value, CreateRequest)).encode(), JSON) == value


@steady
@given(st.binary(max_size=40))
def test_any_bytes_are_a_value_or_a_bad_request(raw: bytes) -> None:
    try:
        assert isinstance(decode_body(CREATE, raw, JSON), dict)
    except BadRequest as error:
        assert error.message


@steady
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    )
)
def test_any_json_is_a_value_or_a_bad_request(value: Any) -> None:
    struct = Struct("x.T", a=Field(ListOf(Int), since="1.30"), b=MapOf(String))
    try:
        assert isinstance(decode_json(struct, json.dumps(value).encode()), dict)
    except BadRequest as error:
        assert error.message.startswith("invalid JSON: json: cannot unmarshal ")
