"""Platforms as the API's parameters give them."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from apispec.versions import Version
from compatd.api import platforms
from compatd.engine.errors import InvalidParameter
from compatd.http import Call

AMD = '{"os":"linux","architecture":"amd64"}'


def call(version: str, **query: Any) -> Call:
    return cast(Call, SimpleNamespace(version=Version(version), query=query))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (AMD, "linux/amd64"),
        ('{"OS":"linux","Architecture":"arm","variant":"v6","other":1}', "linux/arm/v6"),
        ('{"os":"linux","architecture":"aarch64","variant":null}', "linux/arm64"),
    ],
)
def test_decode(text: str, shown: str) -> None:
    assert str(platforms.decode(text)) == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "failed to parse platform: "),
        ("[" * 100_000, "failed to parse platform: "),
        ("[]", "failed to parse platform: json: cannot unmarshal"),
        ('{"os":1,"architecture":"x"}', "failed to parse platform: json: cannot unmarshal"),
        ("{}", "both OS and Architecture must be provided"),
        ('{"os.version":"1"}', "optional platform fields provided, but OS and Architecture are missing"),
    ],
)
def test_what_is_none(text: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        platforms.decode(text)
    assert caught.value.message.startswith(message)


def test_one_at_a_time() -> None:
    assert platforms.one_of_archive(call("1.56")) is None
    assert str(platforms.one_of_archive(call("1.48", platform=[AMD]))) == "linux/amd64"
    with pytest.raises(InvalidParameter, match="not supported in this API version"):
        platforms.one_of_archive(call("1.51", platform=[AMD, AMD]))
    with pytest.raises(InvalidParameter, match="multiple platforms not supported for this image store"):
        platforms.one_of_archive(call("1.52", platform=[AMD, AMD]))
    assert str(platforms.one_to_delete(call("1.50", platforms=[AMD]))) == "linux/amd64"
    with pytest.raises(InvalidParameter, match="multiple platforms are not supported"):
        platforms.one_to_delete(call("1.50", platforms=[AMD, AMD]))
