"""`--change` instructions, platforms, progress of credentials: small grammars."""

import base64
import email.utils
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from compatd.api.image import registry_auth
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.images import changes
from compatd.engine.images.platform import candidates, normalise, parse
from compatd.engine.images.reference import parse as parse_reference
from compatd.engine.images.registry import backoff
from compatd.engine.images.registry.challenges import challenges
from compatd.engine.images.registry.endpoints import endpoints
from compatd.engine.images.registry.errors import RegistryError, from_response, translated


def changed(*lines: str) -> dict[str, Any]:
    """The fields that the instructions set."""
    empty = changes.empty_config()
    result = changes.apply(empty, [*lines])
    return {key: value for key, value in result.items() if value != empty.get(key)}


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        (["CMD a b"], {"Cmd": ["/bin/sh", "-c", "a b"]}),
        (['cmd ["a", "b c"]'], {"Cmd": ["a", "b c"]}),
        (["ENTRYPOINT x", "CMD []"], {"Entrypoint": ["/bin/sh", "-c", "x"], "Cmd": []}),
        (['CMD ["a"]', 'ENTRYPOINT ["b"]'], {"Cmd": ["a"], "Entrypoint": ["b"]}),
        (["ENV A=1 B='x y'", "ENV A 2 3"], {"Env": ["A=2 3", "B=x y"]}),
        (
            ["EXPOSE 80 53/udp 90-91"],
            {"ExposedPorts": {"53/udp": {}, "80/tcp": {}, "90/tcp": {}, "91/tcp": {}}},
        ),
        (['LABEL z=1 "a b"="c d"'], {"Labels": {"a b": "c d", "z": "1"}}),
        (["VOLUME /b /a"], {"Volumes": {"/a": {}, "/b": {}}}),
        (['VOLUME ["/x y"]'], {"Volumes": {"/x y": {}}}),
        (["WORKDIR /a", "WORKDIR b/./c"], {"WorkingDir": "/a/b/c"}),
        (["WORKDIR /a/../b"], {"WorkingDir": "/b"}),
        (["ENV A=1 B=${C:-2} P=$PATH", "USER $A"], {"Env": ["A=1", "B=2", "P="], "User": "1"}),
        (["STOPSIGNAL SIGINT"], {"StopSignal": "SIGINT"}),
        (["ENV A=1 \\\n  B=2\nUSER x"], {"Env": ["A=1", "B=2"], "User": "x"}),
        (["USER u:g", "# comment", ""], {"User": "u:g"}),
        (["ONBUILD RUN x", "ONBUILD RUN y"], {"OnBuild": ["RUN x", "RUN y"]}),
        (["HEALTHCHECK NONE"], {"Healthcheck": {"Test": ["NONE"]}}),
        (
            ["HEALTHCHECK --retries=3 --interval=1m30s CMD curl x"],
            {"Healthcheck": {"Test": ["CMD-SHELL", "curl x"], "Interval": 90_000_000_000, "Retries": 3}},
        ),
    ],
)
def test_changes(lines: list[str], fields: dict[str, Any]) -> None:
    assert changed(*lines) == fields


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("FROM x", "FROM is not a valid change command"),
        ("RUN x", "RUN is not a valid change command"),
        ("Shell x", "Shell is not a valid change command"),
        ("# nothing", "file with no instructions"),
        ("", "file with no instructions"),
        ("STOPSIGNAL FOO", "invalid signal: FOO"),
        ("USER ${B:?bad}", 'failed to process "${B:?bad}": B: bad'),
        ("LABEL a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
        ("ENV A", "ENV must have two arguments"),
        ("USER", "USER requires exactly one argument"),
        ("EXPOSE 99999", "invalid containerPort: 99999"),
        ("HEALTHCHECK --interval=x CMD y", 'time: invalid duration "x"'),
        ("HEALTHCHECK RUN y", 'Unknown type "RUN" in HEALTHCHECK (try CMD)'),
    ],
)
def test_changes_that_are_none(line: str, error: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        changed(line)
    assert caught.value.message == error


def test_fields_keep_dockers_order() -> None:
    config = changes.apply(changes.empty_config(), ["EXPOSE 80", "HEALTHCHECK NONE"])
    names = list(config)
    assert names.index("ExposedPorts") == names.index("AttachStderr") + 1
    assert names.index("Healthcheck") == names.index("Cmd") + 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armel", "linux/arm/v6"),
    ],
)
def test_platforms(text: str, shown: str) -> None:
    assert str(parse(text)) == shown


@pytest.mark.parametrize("text", ["bogus/x/y/z", "a b", "", "nonsense"])
def test_platforms_that_are_none(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse(text)


def test_what_runs_on_arm() -> None:
    assert [str(item) for item in candidates(normalise("linux", "arm", "v7"))] == [
        "linux/arm/v7",
        "linux/arm/v6",
        "linux/arm/v5",
    ]
    assert str(candidates(normalise("linux", "arm64", ""))[1]) == "linux/arm/v8"


def test_challenges() -> None:
    header = 'Bearer realm="https://a.x/t",service="a \\"b\\"",scope="x,y", Basic realm=z'
    assert challenges(header) == {
        "bearer": {"realm": "https://a.x/t", "service": 'a "b"', "scope": "x,y"},
        "basic": {"realm": "z"},
    }


def test_registry_auth() -> None:
    value = {"username": "joe", "password": "sécret?>~", "n": 1}
    for encode in (
        base64.urlsafe_b64encode,
        lambda data: base64.urlsafe_b64encode(data).rstrip(b"="),
        base64.b64encode,
        lambda data: base64.b64encode(data).rstrip(b"="),
    ):
        assert registry_auth(encode(json.dumps(value).encode()).decode()) == {
            "username": "joe",
            "password": "sécret?>~",
        }
    pair = base64.b64encode(b"joe:a:b").decode()
    with_pair = base64.b64encode(json.dumps({"auth": pair, "ServerAddress": "x"}).encode()).decode()
    assert registry_auth(with_pair) == {
        "auth": pair, "username": "joe", "password": "a:b", "serveraddress": "x"
    }  # fmt: skip
    for token in ("identitytoken", "registrytoken"):
        given = base64.urlsafe_b64encode(json.dumps({token: "t", "auth": pair}).encode()).decode()
        assert registry_auth(given) == {token: "t", "auth": pair}
    for broken in ("", "!", "bnVsbA==", "W10="):
        assert registry_auth(broken) == {}


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"gone"}]}', "manifest unknown: gone"),
        (403, b'{"errors":[{"code":"DENIED"}]}', "denied: denied"),
        (401, b"go away", "unauthorized: go away"),
        (401, b'{"details":"bad token"}', "unauthorized: bad token"),
        (
            400,
            b'{"errors":[{"code":"A_B","message":"1"},{"code":"C","message":"2"}]}',
            "errors:\na b: 1\nc: 2\n",
        ),
        (
            418,
            b"<html>",
            "error parsing HTTP 418 response body: "
            "invalid character '<' looking for beginning of value: \"<html>\"",
        ),
        (429, b"<html>", "toomanyrequests: <html>"),
        (502, b"<html>", "received unexpected HTTP status: 502 Bad Gateway"),
    ],
)
def test_errors_of_registries(status: int, body: bytes, text: str) -> None:
    reason = {502: "Bad Gateway"}.get(status, "")
    assert from_response(status, body, reason=reason).message == text


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", None), ("soon", None), ("-1", None), ("1.5", None), ("\u0663", None), ("0", 0), (" 7 ", 7),
        ("9" * 400, 9_999_999_999), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("Wed, 99 Oct 2015", None),
    ],
)  # fmt: skip
def test_how_long_a_registry_wants_to_be_left_alone(header: str, seconds: float | None) -> None:
    assert backoff.wanted(header) == seconds


def test_until_when_a_registry_wants_to_be_left_alone() -> None:
    later = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=3600), usegmt=True)
    seconds = backoff.wanted(later)
    assert seconds is not None and 3000 < seconds <= 3600


def test_errors_of_a_pull() -> None:
    wanted = parse_reference("h.x/a:1")
    denied = translated(RegistryError("DENIED", "denied: no"), wanted)
    assert (denied.status, denied.message) == (
        404,
        "pull access denied for h.x/a, repository does not exist or may require 'docker login': denied: no",
    )
    other = EngineError("x")
    assert translated(other, wanted) is other
    assert translated(RegistryError("UNAUTHORIZED", "unauthorized: x"), wanted).status == 401


async def urls(domain: str, config: Any, *, push: bool) -> list[str]:
    return [endpoint.url for endpoint in await endpoints(domain, config, mirrors=not push)]


def test_endpoints() -> None:
    import asyncio

    def of(
        domain: str,
        insecure: tuple[str, ...] = (),
        mirrors: tuple[str, ...] = (),
        registries: Any = None,
        push: bool = False,
    ) -> list[str]:
        config = SimpleNamespace(
            insecure_registries=[*insecure], registry_mirrors=[*mirrors], registries=registries or {}
        )
        return asyncio.run(urls(domain, config, push=push))

    assert of("192.0.2.1:5000") == ["https://192.0.2.1:5000"]
    assert of("127.0.0.1:5000") == ["https://127.0.0.1:5000", "http://127.0.0.1:5000"]
    assert of("[::1]:5000") == ["https://[::1]:5000", "http://[::1]:5000"]
    assert of("192.0.2.1:5000", ("192.0.2.0/24",))[1] == "http://192.0.2.1:5000"
    assert of("192.0.2.1:5000", ("192.0.2.1:5000",))[1] == "http://192.0.2.1:5000"
    assert of("192.0.2.1:5000", ("192.0.2.1:5001", "198.51.100.0/24")) == ["https://192.0.2.1:5000"]
    assert of("docker.io", (), ("192.0.2.1",)) == ["https://192.0.2.1", "https://registry-1.docker.io"]
    other = {"192.0.2.1:5000": {"mirrors": ["http://192.0.2.9/x/"]}}
    assert of("192.0.2.1:5000", (), (), other) == ["http://192.0.2.9/x", "https://192.0.2.1:5000"]
    assert of("192.0.2.1:5000", (), (), other, push=True) == ["https://192.0.2.1:5000"]
    assert of("192.0.2.2", (), ("https://192.0.2.1",), other) == ["https://192.0.2.2"]
