"""Options about registries and proxies."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from compatd.config import Config, ConfigError, load, proxies
from compatd.flags import UsageError, parse


def read(folder: Path, document: dict[str, Any], **flags: Any) -> Config:
    file = folder / "daemon.json"
    file.write_text(json.dumps(document))
    return load({key.replace("_", "-"): value for key, value in flags.items()}, str(file))


def test_mirrors_of_any_registry(tmp_path: Path) -> None:
    registries = {"h.test:5000": {"mirrors": ["http://m.test/x"]}, "other.test": {}}
    assert read(tmp_path, {"registries": registries}).registries == registries
    flags = parse(["--registry", "a.test=https://b.test,http://c.test", "--registry=d.test=http://e.test"])
    assert flags.flags["registries"] == {
        "a.test": {"mirrors": ["https://b.test", "http://c.test"]},
        "d.test": {"mirrors": ["http://e.test"]},
    }
    cases: list[Any] = [[], {"h": []}, {"h": {"mirror": []}}, {"h": {"mirrors": ["m.test"]}}]
    for wrong in cases:
        with pytest.raises(ConfigError, match="registries: "):
            read(tmp_path, {"registries": wrong})
    with pytest.raises(UsageError, match="must be host=mirror"):
        parse(["--registry", "a.test"])


@pytest.mark.parametrize(
    ("mirror", "text"),
    [
        ("m.test:5000", "no scheme specified for"),
        ("ftp://m.test", 'unsupported scheme "ftp" in'),
        ("https://m.test/?a", "query or fragment at end of the URI"),
        ("https://m.test/#a", "query or fragment at end of the URI"),
        ("https://joe:secret@m.test", "username/password not allowed in URI"),
        ("https://", "is not a valid URI"),
        ("https://m.test:x", "is not a valid URI"),
    ],
)
def test_mirrors_that_are_none(tmp_path: Path, mirror: str, text: str) -> None:
    with pytest.raises(ConfigError, match="invalid mirror: ") as caught:
        read(tmp_path, {"registry-mirrors": [mirror]})
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)


def test_uploads_at_a_time(tmp_path: Path) -> None:
    assert read(tmp_path, {}).max_concurrent_uploads == 5
    assert read(tmp_path, {"max-concurrent-uploads": 0}).max_concurrent_uploads == 5
    with pytest.raises(ConfigError, match="invalid max concurrent uploads: -1"):
        read(tmp_path, {"max-concurrent-uploads": -1})


def test_proxies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"proxies": {"http-proxy": "http://p.test", "no-proxy": "a.test"}}
    config = read(tmp_path, document, https_proxy="http://q.test")
    assert (config.http_proxy, config.https_proxy) == ("http://p.test", "http://q.test")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.setenv(name, "before")
        monkeypatch.setenv(name.lower(), "before")
    monkeypatch.setenv("no_proxy", "before")
    proxies.export(config)
    assert [os.environ[name] for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")] == [
        "http://p.test", "http://q.test", "a.test"
    ]  # fmt: skip
    assert "http_proxy" not in os.environ
    proxies.export(Config())
    assert os.environ["NO_PROXY"] == "a.test"
    with pytest.raises(ConfigError, match="https-proxy: "):
        read(tmp_path, document | {"proxies": {"https-proxy": "http://r.test"}}, https_proxy="http://q.test")
    with pytest.raises(ConfigError, match="don't match any configuration option: ftp-proxy"):
        read(tmp_path, {"proxies": {"ftp-proxy": "x"}})
