import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apispec import OPERATIONS, BadRequest, Version, decode_query, parse_query

steady = settings(deadline=None, derandomize=True, max_examples=100)


def decoded(operation: str, raw: str, version: str = "1.56") -> dict[str, Any]:
    return decode_query(OPERATIONS[operation], raw, Version(version))


def refusal(operation: str, raw: str, version: str = "1.56") -> str:
    with pytest.raises(BadRequest) as caught:
        decoded(operation, raw, version)
    return caught.value.message


def filters(value: Any) -> str:
    return "filters=" + quote(json.dumps(value))


def test_defaults_are_filled_in() -> None:
    assert decoded("ContainerList", "") == {"all": False, "limit": 0, "size": False, "filters": {}}
    assert decoded("ContainerStop", "") == {"signal": "", "t": None}
    assert decoded("ContainerLogs", "")["tail"] == "all"
    assert decoded("ImageGetAll", "") == {"names": [], "platform": []}
    assert decoded("ContainerWait", "condition=")["condition"] == "not-running"
    assert decoded("ContainerStats", "") == {"stream": True, "one-shot": False}
    assert decoded("SystemInfo", "a=%zz") == {}


@pytest.mark.parametrize("text", ["", "0", "no", "False", "none", " NO "])
def test_false(text: str) -> None:
    assert decoded("ContainerStats", urlencode({"stream": text}))["stream"] is False


@pytest.mark.parametrize("text", ["1", "true", "maybe", "00"])
def test_true(text: str) -> None:
    assert decoded("ContainerList", f"all={text}")["all"] is True


def test_integers() -> None:
    assert decoded("ContainerList", "limit=-1")["limit"] == -1
    assert decoded("ContainerStop", "t=%2B3")["t"] == 3
    assert decoded("ImageBuild", "memory=x&shmsize=5")["memory"] == 0
    assert decoded("ContainerResize", "h=24&w=80") == {"h": 24, "w": 80}


@pytest.mark.parametrize(
    ("operation", "raw", "message"),
    [
        ("ContainerList", "limit=abc", 'strconv.Atoi: parsing "abc": invalid syntax'),
        ("ContainerList", "limit=1_0", 'strconv.Atoi: parsing "1_0": invalid syntax'),
        ("ContainerList", f"limit={1 << 63}", f'strconv.Atoi: parsing "{1 << 63}": value out of range'),
        ("ContainerList", "filters=bad", "invalid filter"),
        ("ContainerList", "limit=%zz", 'invalid URL escape "%zz"'),
        ("ContainerList", "limit=1%", 'invalid URL escape "%"'),
        ("ContainerList", "a;b", "invalid semicolon separator in query"),
        ("ContainerResize", "h=x&w=1", 'invalid resize height "x": invalid syntax'),
        ("ContainerResize", "h=1", 'invalid resize width "": invalid syntax'),
        ("ContainerResize", "h=-1&w=1", 'invalid resize height "-1": value out of range'),
        ("ContainerResize", "h=%2B1&w=1", 'invalid resize height "+1": invalid syntax'),
        ("ContainerWait", "condition=foo", 'invalid condition: "foo"'),
        ("ImageSearch", "limit=x", 'invalid limit specified: strconv.Atoi: parsing "x": invalid syntax'),
        (
            "NetworkInspect",
            "verbose=maybe",
            'invalid value for verbose: maybe: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (
            "NodeUpdate",
            "",
            "invalid node version '': strconv.ParseUint: parsing \"\": invalid syntax",
        ),
        (
            "BuildPrune",
            "reserved-space=x",
            "reserved-space is in bytes and expects an integer, got x: "
            'strconv.Atoi: parsing "x": invalid syntax',
        ),
    ],
)
def test_refusals(operation: str, raw: str, message: str) -> None:
    assert refusal(operation, raw) == message


def test_filters_in_both_forms() -> None:
    assert decoded("ContainerList", filters({"label": {"a=b": True}}))["filters"] == {"label": ["a=b"]}
    assert decoded("ContainerList", filters({"label": ["a=b", "a=b"]}))["filters"] == {"label": ["a=b"]}
    assert decoded("ContainerList", filters({"label": {}, "id": None}))["filters"] == {"label": [], "id": []}
    assert decoded("ContainerList", filters(None))["filters"] == {}
    assert decoded("ContainerList", "filters=")["filters"] == {}
    assert decoded("SystemEvents", filters({"anything": ["x"]}))["filters"] == {"anything": ["x"]}


@pytest.mark.parametrize(
    "value", [[], "x", 5, {"label": "a"}, {"label": [1]}, {"label": ["a"], "id": {"b": True}}]
)
def test_filters_that_are_none(value: Any) -> None:
    assert refusal("ContainerList", filters(value)) == "invalid filter"


def test_filters_that_are_not_accepted() -> None:
    assert refusal("ContainerList", filters({"foo": ["a"]})) == "invalid filter 'foo'"
    assert refusal("ContainerPrune", filters({"status": ["a"]})) == "invalid filter 'status'"


def test_parameters_of_newer_versions_are_ignored() -> None:
    assert decoded("ContainerStop", "signal=USR1", "1.41")["signal"] == ""
    assert decoded("ContainerStop", "signal=USR1", "1.42")["signal"] == "USR1"
    assert decoded("ContainerWait", "condition=foo", "1.29")["condition"] == "not-running"
    assert decoded("ImageList", "filter=x", "1.24")["filter"] == "x"
    assert decoded("ImageList", "filter=x", "1.25")["filter"] == ""


def test_before_1_42_a_websocket_carried_all_streams() -> None:
    assert decoded("ContainerAttachWebsocket", "stdin=0", "1.41")["stdin"] is True
    assert decoded("ContainerAttachWebsocket", "", "1.42")["stdin"] is False


@steady
@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8")))
    )
)
def test_parsing_is_the_inverse_of_encoding(pairs: list[tuple[str, str]]) -> None:
    wanted: dict[str, list[str]] = {}
    for name, value in pairs:
        wanted.setdefault(name, []).append(value)
    assert parse_query(urlencode(pairs)) == wanted


@steady
@given(st.text(max_size=30))
def test_any_query_is_values_or_a_bad_request(raw: str) -> None:
    try:
        decoded("ContainerList", f"filters={raw}&limit={raw}")
    except BadRequest as error:
        assert error.message
