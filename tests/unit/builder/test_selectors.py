"""BuildKit's filters for cache records."""

import pytest

from compatd.engine.builder.selectors import fields, parse_all
from compatd.engine.errors import InvalidParameter

SHOWN = {
    "ID": "abc123", "Type": "regular", "Description": "mount / from exec /bin/sh -c true", "InUse": False,
    "Shared": True, "Parents": ["p1", "p2"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "fits"),
    [
        ([], True),
        ([""], True),
        (["id~=bc1"], True),
        (["id~=^bc"], False),
        (["id==abc123,type==regular"], True),
        (["id==abc123,type==internal"], False),
        (["type==internal", "type==regular"], True),
        (["type!=internal"], True),
        (["shared"], True),
        (["private"], False),
        (["inuse"], False),
        (["immutable"], True),
        (["mutable"], False),
        (["shared==true"], False),  # it has no value, but is there
        (["nothing"], False),
        (['description=="mount / from exec /bin/sh -c true"'], True),
        (["description~=/exec .* true$/"], True),
        (["description~=("], False),
        (["parents==p1;p2"], True),
    ],
)
def test_what_fits(filters: list[str], fits: bool) -> None:
    assert parse_all(filters)(fields(SHOWN, mutable=False)) is fits


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id~=~=(", '[id >|~|< =~=(]: unsupported operator "~=~="'),
        ("description==a b", "[description==a >| |< b]: unexpected input:  "),
        ("id~=", "[id~=]: expected value or quoted"),
        ("id~=/x", "[id~= >|/|< x]: quoted literal not terminated"),
    ],
)
def test_what_is_none(text: str, told: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_all([text])
    assert caught.value.message == (
        f"failed to parse prune filters [{text}]: filters: parse error: {told}: invalid argument"
    )
