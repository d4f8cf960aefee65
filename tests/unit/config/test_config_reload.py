"""SIGHUP: which values change, to what, and what is said of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from compatd.config import Config, ConfigError, load, reload
from compatd.config.options import RELOADS


def _changes(folder: Path, text: str, config: Config | None = None, **flags: Any) -> dict[str, Any]:
    file = folder / "daemon.json"
    file.write_text(text)
    given = {key.replace("_", "-"): value for key, value in flags.items()}
    return reload.changes(config or Config(given), given, str(file), named=True)


DEFAULTS = {
    "max-concurrent-downloads": 3,
    "max-concurrent-uploads": 5,
    "max-download-attempts": 5,
    "features": {},
    "access": [],
}


def test_only_what_the_file_names_changes_and_some_go_back(tmp_path: Path) -> None:
    assert _changes(tmp_path, "{}") == DEFAULTS
    assert _changes(tmp_path, '{"debug": false, "mtu": 1, "log-level": "debug"}') == {
        "debug": False,
        **DEFAULTS,
    }
    text = '{"default-runtime": "", "max-concurrent-uploads": 0, "shutdown-timeout": 7}'
    assert _changes(tmp_path, text) == {"shutdown-timeout": 7, **DEFAULTS}


def test_the_options_say_which(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "debug": True, "live-restore": True, "shutdown-timeout": 1, "labels": ["a=b"],
        "features": {"a": True}, "access": [{}], "default-runtime": "runc", "runtimes": {"x": {"path": "/x"}},
        "default-shm-size": "1m", "default-cgroupns-mode": "host", "default-ipc-mode": "shareable",
        "max-concurrent-downloads": 1, "max-concurrent-uploads": 1, "max-download-attempts": 1,
        "insecure-registries": ["x"], "registry-mirrors": ["https://x"],
    }  # fmt: skip
    assert set(values) == set(RELOADS)
    new = _changes(tmp_path, json.dumps({**values, "icc": False}))
    assert set(new) == set(RELOADS)
    config = Config()
    reload.apply(config, new)
    assert config.default_shm_size == 1 << 20
    assert config.icc
    assert reload.attributes(config)["features"] == "map[a:true]"
    assert reload.attributes(config)["runtimes"] == "x:/x"


def test_a_missing_file_is_an_error_only_when_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.json")
    assert reload.changes(Config(), {}, missing, named=False) == DEFAULTS
    with pytest.raises(ConfigError, match="no such file or directory"):
        reload.changes(Config(), {}, missing, named=True)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="specified both as a flag"):
        _changes(tmp_path, '{"debug": true}', debug=True)
    with pytest.raises(ConfigError, match="file configuration validation failed: invalid logging level: x"):
        _changes(tmp_path, '{"log-level": "x"}')
    with pytest.raises(ConfigError, match="unknown limits"):
        _changes(tmp_path, '{"access": [{"limits": "x"}]}')
    with pytest.raises(reload.ReloadError, match="runtime y: either a runtimeType or a path"):
        _changes(tmp_path, '{"runtimes": {"y": {}}}')
    with pytest.raises(reload.ReloadError, match="should not contain '://'"):
        _changes(tmp_path, '{"insecure-registries": ["ftp://x"]}')
    assert _changes(tmp_path, '{"labels": ["x"]}')["labels"] == []  # as in dockerd


def test_what_is_shown_has_no_passwords(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"proxies": {"http-proxy": "http://joe:secret@p.test:1/x"}}')
    shown = reload.shown(load({}, str(file)))
    assert "secret" not in shown
    assert json.loads(shown)["http-proxy"] == "http://xxxxx:xxxxx@p.test:1/x"
