import pytest

from apispec.versions import MAX, MIN, Version, VersionError, negotiate


def test_order_is_by_number() -> None:
    assert Version("1.9") < Version("1.41")
    assert Version("1.41") == Version("1.41.0")
    assert Version("1.41") >= "1.40"
    assert Version("2") > MAX
    assert len({Version("1.41"), Version("1.41.0")}) == 1


def test_order_with_other_things_is_no_order() -> None:
    assert Version("1.41") != 1.41
    with pytest.raises(TypeError):
        assert Version("1.41") < 2


@pytest.mark.parametrize("text", ["1.24", "1.40", "1.56"])
def test_supported(text: str) -> None:
    assert negotiate(text) == Version(text)


def test_the_version_of_older_image_tools_is_served() -> None:
    assert negotiate("1.22") == "1.22"
    with pytest.raises(VersionError):
        negotiate("1.22", minimum=Version("1.40"))


def test_unversioned_is_the_newest() -> None:
    assert negotiate(None) is MAX
    assert MIN < MAX


@pytest.mark.parametrize(
    ("text", "message", "plain"),
    [
        (
            "1.23",
            "client version 1.23 is too old. Minimum supported API version is 1.24, "
            "please upgrade your client to a newer version",
            True,
        ),
        (
            "1.2.3",
            "client version 1.2.3 is too old. Minimum supported API version is 1.24, "
            "please upgrade your client to a newer version",
            True,
        ),
        ("1.99", "client version 1.99 is too new. Maximum supported API version is 1.56", False),
        ("2", "client version 2 is too new. Maximum supported API version is 1.56", False),
    ],
)
def test_out_of_range(text: str, message: str, plain: bool) -> None:
    with pytest.raises(VersionError) as caught:
        negotiate(text)
    assert caught.value.message == message
    assert caught.value.plain is plain


def test_too_old_is_json_when_the_minimum_is_raised() -> None:
    with pytest.raises(VersionError) as caught:
        negotiate("1.39", minimum=Version("1.40"))
    assert not caught.value.plain
    assert "Minimum supported API version is 1.40" in caught.value.message
