"""Flags and daemon.json: dockerd's rules and texts."""

from pathlib import Path
from typing import Any

import pytest

from compatd.cli import UsageError, parse, usage
from compatd.config import Config, ConfigError, load
from compatd.config.options import OPTIONS
from compatd.config.values import VALUES, parse_bytes


def test_flags_in_all_their_forms() -> None:
    words = "-H unix:///a -Hunix:///b --host=tcp://127.0.0.1:1 -D --icc=false --mtu 9000"
    assert parse([*words.split(), "--log-opt", "a=b", "--log-opt=c=d"]).flags == {
        "hosts": ["unix:///a", "unix:///b", "tcp://127.0.0.1:1"],
        "debug": True,
        "icc": False,
        "mtu": 9000,
        "log-opts": {"a": "b", "c": "d"},
    }


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["-Z"], "unknown shorthand flag: 'Z' in -Z"),
        (["run"], '"dockerd" accepts no arguments.'),
        (["--mtu"], "flag needs an argument: --mtu"),
        (["--mtu=x"], 'invalid argument "x" for "--mtu" flag: strconv.ParseInt: parsing "x": invalid syntax'),
        (["--debug=x"], 'invalid argument "x" for "--debug" flag: strconv.ParseBool: parsing "x"'),
        (["-l", "loud"], 'invalid argument "loud" for "-l, --log-level" flag: unable to parse logging level'),
        (["--default-ulimit", "x"], "invalid ulimit argument: x"),
    ],
)
def test_wrong_flags(words: list[str], text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(words)
    assert text in str(error.value)


def test_help_names_every_flag() -> None:
    text = usage()
    for option in OPTIONS:
        assert f"--{option.flag}" in text
    assert "-l, --log-level string" in text
    assert '(default "/var/lib/docker")' in text


def _load(folder: Path, text: str, **flags: Any) -> Config:
    file = folder / "daemon.json"
    file.write_text(text)
    return load({key.replace("_", "-"): value for key, value in flags.items()}, str(file))


def test_file_and_flags_are_merged(tmp_path: Path) -> None:
    text = '{"debug": true, "insecure-registries": ["a"], "default-shm-size": "1g", '
    text += '"log-opts": {"max-size": "1m"}}'
    config = _load(tmp_path, text, insecure_registries=["b"], mtu=1400)
    assert (config.debug, config.mtu, config.default_shm_size) == (True, 1400, 1 << 30)
    assert config.insecure_registries == ["a", "b"]
    assert config.log_opts == {"max-size": "1m"}
    assert config.data_root == "/var/lib/docker"


@pytest.mark.parametrize(
    ("text", "flags", "expected"),
    [
        ('{"nope": 1, "x": 2}', {}, "the following directives don't match any configuration option: nope, x"),
        ('{"debug": true}', {"debug": False}, "debug: (from flag: false, from file: true)"),
        ('{"hosts": ["a"]}', {"hosts": ["b"]}, "hosts: (from flag: [b], from file: [a])"),
        ("{", {}, "invalid JSON"),
        ("[]", {}, "an object is needed"),
        ('{"debug": 1}', {}, "debug: cannot use 1"),
        ('{"mtu": true}', {}, "mtu: cannot use True"),
        ('{"storage-driver": "zfs"}', {}, "driver not supported: zfs"),
        ('{"default-runtime": "kata"}', {}, 'specified default runtime "kata" does not exist'),
        ('{"labels": ["x"]}', {}, "bad attribute format: x"),
        ('{"bip": "10.0.0.1/24", "bridge": "br0"}', {}, "mutually exclusive"),
        ('{"max-concurrent-downloads": 0}', {}, "invalid max concurrent downloads: 0"),
    ],
)
def test_refused(tmp_path: Path, text: str, flags: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, text, **flags)
    assert expected in str(error.value)
    assert str(error.value).startswith("unable to configure the Docker daemon with file")


def test_missing_file_matters_only_when_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory"):
        load({}, str(tmp_path / "none.json"))


def test_empty_file_is_no_configuration(tmp_path: Path) -> None:
    assert _load(tmp_path, "").given == {}


@pytest.mark.parametrize(
    ("text", "size"), [("64m", 64 << 20), ("1GiB", 1 << 30), ("512", 512), ("1.5k", 1536), ("2b", 2)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


def test_every_default_passes_its_own_check() -> None:
    for option in OPTIONS:
        assert VALUES[option.kind].check(option.default) == option.default
