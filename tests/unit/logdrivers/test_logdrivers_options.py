"""Log options: names and values that are refused, the daemon's defaults, and what the shim is told."""

from pathlib import Path
from typing import Any

import pytest

from compatd.engine import logdrivers
from compatd.engine.containers.model import Container
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.logdrivers import LogOptionError, addresses, journal, values

Options = dict[str, str]


def container(driver: str, options: Options, folder: Path = Path("/x")) -> Container:
    made = Container(
        id="c" * 64,
        name="name",
        created=1_700_000_000_000_000_000,
        image_id="sha256:" + "a" * 64,
        config={"Image": "box:1", "Env": ["MODE=test", "EMPTY"], "Labels": {"team": "blue", "t2": "x"}},
        host_config={"LogConfig": {"Type": driver, "Config": options}},
        path="sh",
        args=["-c", "true"],
    )
    made.dir = folder
    made.log_path = str(folder / "x-json.log")
    return made


def shim_log(driver: str, folder: Path = Path("/x"), **options: str) -> dict[str, Any]:
    given = {name.replace("_", "-"): value for name, value in options.items()}
    logdrivers.check({"Type": driver, "Config": given}, "json-file", {})
    log = logdrivers.shim_log(container(driver, given, folder))
    assert log is not None
    return log


GELF = {"gelf-address": "udp://h:1"}


@pytest.mark.parametrize(
    ("driver", "options", "text"),
    [
        ("nope", {}, 'error looking up logging plugin nope: plugin "nope" not found'),
        ("json-file", {"x": "1"}, "unknown log opt 'x' for json-file log driver"),
        ("local", {"x": "1"}, "unknown log opt 'x' for log driver local"),
        ("syslog", {"x": "1"}, "unknown log opt 'x' for syslog log driver"),
        ("fluentd", {"x": "1"}, "unknown log opt 'x' for fluentd log driver"),
        ("journald", {"x": "1"}, "unknown log opt 'x' for journald log driver"),
        ("gelf", {**GELF, "x": "1"}, 'unknown log opt "x" for gelf log driver'),
        ("json-file", {"mode": "x"}, "logger: logging mode not supported: x"),
        (
            "json-file",
            {"max-buffer-size": "1m"},
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            "local",
            {"mode": "non-blocking", "max-buffer-size": "x"},
            "error parsing option max-buffer-size: invalid size: 'x'",
        ),
        ("syslog", {"cache-disabled": "x"}, "invalid value for option cache-disabled: x"),
        ("syslog", {"syslog-address": "foo://x"}, "unsupported scheme: 'foo'"),
        ("syslog", {"syslog-address": "unix:///no/such"}, "stat /no/such: no such file or directory"),
        ("syslog", {"syslog-address": "tcp://::1:x"}, 'parse "tcp://::1:x": invalid port ":x" after host'),
        ("syslog", {"syslog-facility": "24"}, "invalid syslog facility"),
        ("syslog", {"syslog-format": "x"}, "Invalid syslog format"),
        ("gelf", {}, "gelf-address is a required parameter"),
        ("gelf", {"gelf-address": "x://h:1"}, "gelf: endpoint needs to be TCP or UDP"),
        ("gelf", {"gelf-address": "udp://h"}, "gelf: please provide gelf-address as proto://host:port"),
        (
            "gelf",
            {**GELF, "gelf-compression-level": "99"},
            'unknown value "99" for log opt "gelf-compression-level" for gelf log driver',
        ),
        (
            "gelf",
            {"gelf-address": "tcp://h:1", "gelf-compression-type": "zlib"},
            "compression is only supported on UDP",
        ),
        ("gelf", {**GELF, "gelf-tcp-max-reconnect": "1"}, '"gelf-tcp-max-reconnect" is only valid for TCP'),
        (
            "gelf",
            {"gelf-address": "tcp://h:1", "gelf-tcp-reconnect-delay": "x"},
            '"gelf-tcp-reconnect-delay" must be a positive integer',
        ),
        ("fluentd", {"fluentd-address": "x://y"}, "invalid fluentd-address (x://y): unsupported scheme: 'x'"),
        ("fluentd", {"fluentd-address": "unix://"}, "invalid fluentd-address (unix://): path is empty"),
        ("fluentd", {"fluentd-async": "x"}, 'strconv.ParseBool: parsing "x": invalid syntax'),
        ("fluentd", {"fluentd-retry-wait": "x"}, 'time: invalid duration "x"'),
        ("fluentd", {"fluentd-max-retries": "-1"}, 'strconv.ParseUint: parsing "-1": invalid syntax'),
        ("fluentd", {"fluentd-buffer-limit": "x"}, "invalid size: 'x'"),
        (
            "fluentd",
            {"fluentd-async-reconnect-interval": "1h"},
            'invalid value for fluentd-async-reconnect-interval: value ("1h") must be between 100ms and 10s',
        ),
        (
            "fluentd",
            {"fluentd-write-timeout": "-1s"},
            "invalid value for fluentd-write-timeout: value must be a duration that is non-negative",
        ),
    ],
)
def test_what_create_refuses(driver: str, options: Options, text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        logdrivers.check({"Type": driver, "Config": dict(options)}, "json-file", {})
    assert caught.value.message == text


@pytest.mark.parametrize(
    ("driver", "options", "text"),
    [
        ("json-file", {"max-size": "-1"}, "invalid size: '-1'"),
        ("json-file", {"max-size": "0"}, "max-size must be a positive number"),
        ("json-file", {"max-size": "10x"}, "invalid suffix: 'x'"),
        ("json-file", {"max-file": "x"}, 'strconv.Atoi: parsing "x": invalid syntax'),
        ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
        (
            "json-file",
            {"compress": "true"},
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        ("json-file", {"labels-regex": "("}, "error parsing regexp: missing closing ): `(`"),
        ("local", {"max-size": "x"}, "invalid value for max-size: x: invalid size: 'x'"),
        ("local", {"max-file": "1"}, "compression cannot be enabled when max file count is 1"),
        ("local", {"max-file": "-2"}, "max-file must not be negative"),
        (
            "local",
            {"compress": "x"},
            'invalid boolean value for compress: strconv.ParseBool: parsing "x": invalid syntax',
        ),
    ],
)
def test_what_start_refuses(driver: str, options: Options, text: str, tmp_path: Path) -> None:
    logdrivers.check({"Type": driver, "Config": dict(options)}, "json-file", {})
    with pytest.raises(LogOptionError) as caught:
        logdrivers.shim_log(container(driver, options, tmp_path))
    assert str(caught.value) == text


def test_the_daemons_options_are_its_own_drivers() -> None:
    defaults = {"max-size": "1m", "max-file": "3", "cache-disabled": "true"}
    log: dict[str, Any] = {"Type": "", "Config": {"max-file": "5"}}
    logdrivers.check(log, "json-file", defaults)
    assert log == {"Type": "json-file", "Config": {**defaults, "max-file": "5"}}
    log = {"Type": "syslog", "Config": None}
    logdrivers.check(log, "json-file", defaults)
    assert log == {"Type": "syslog", "Config": {"cache-disabled": "true"}}


def test_the_daemons_own_options_are_checked() -> None:
    logdrivers.check_defaults("nope", {})
    with pytest.raises(EngineError, match=r"^failed to set log opts: unknown log opt 'x' for json-file"):
        logdrivers.check_defaults("json-file", {"x": "1"})


def test_json_file() -> None:
    log = shim_log(
        "json-file",
        max_size="10k",
        max_file="3",
        compress="1",
        labels="team,none",
        env="MODE",
        labels_regex="^t",
        tag="{{.Name}}/{{.ImageName}}",
    )
    assert log == {
        "driver": "json-file",
        "path": "/x/x-json.log",
        "max_size": 10_000,
        "max_file": 3,
        "compress": True,
        "attrs": {"team": "blue", "MODE": "test", "t2": "x", "tag": "name/box:1"},
    }
    assert shim_log("json-file", env_regex="^M")["attrs"] == {"MODE": "test"}
    assert (shim_log("json-file")["max_size"], shim_log("json-file")["max_file"]) == (-1, 1)


def test_local(tmp_path: Path) -> None:
    log = shim_log("local", tmp_path)
    assert log["path"] == str(tmp_path / "local-logs/container.log")
    assert (log["max_size"], log["max_file"], log["compress"]) == (20 * 1024 * 1024, 5, True)
    assert (tmp_path / "local-logs").stat().st_mode & 0o777 == 0o700


def test_servers() -> None:
    log = shim_log("syslog", syslog_address="tcp://[::1]", syslog_facility="local7", tag="{{.FullID}}")
    assert log["server"] == {"network": "tcp", "address": "[::1]:514"}
    assert (log["facility"], log["tag"], log["format"], log["mode"]) == (23, "c" * 64, "", "blocking")
    assert log["cache"]["path"] == "/x/container-cached.log"
    log = shim_log("syslog", cache_disabled="true", mode="non-blocking", max_buffer_size="4k")
    assert (log["cache"], log["mode"], log["buffer"]) == (None, "non-blocking", 4096)
    assert log["server"]["network"] == "" and log["tag"] == "c" * 12
    log = shim_log("syslog", cache_max_size="1m", cache_max_file="2", cache_compress="false")
    assert [log["cache"][name] for name in ("max_size", "max_file", "compress")] == [1_000_000, 2, False]
    log = shim_log("syslog", syslog_address="tcp+tls://h:6514", syslog_tls_skip_verify="false")
    assert log["server"]["tls"] == {"ca": "", "cert": "", "key": "", "verify": False}


def test_gelf() -> None:
    log = shim_log("gelf", gelf_address="udp://h:12201", labels="team", env="MODE")
    assert log["extra"] == {
        "_container_id": "c" * 64,
        "_container_name": "name",
        "_image_id": "sha256:" + "a" * 64,
        "_image_name": "box:1",
        "_command": "sh -c true",
        "_tag": "c" * 12,
        "_created": "2023-11-14T22:13:20Z",
        "_team": "blue",
        "_MODE": "test",
    }
    assert (log["compression"], log["level"]) == ("gzip", 1)
    server = shim_log("gelf", gelf_address="tcp://h:1", gelf_tcp_max_reconnect="7")["server"]
    assert (server["tries"], server["wait"]) == (7, 1.0)


def test_fluentd() -> None:
    log = shim_log("fluentd")
    assert (log["server"]["network"], log["server"]["address"]) == ("tcp", "127.0.0.1:24224")
    assert log["record"] == {"container_id": "c" * 64, "container_name": "/name"}
    log = shim_log(
        "fluentd",
        fluentd_address="tls://h",
        fluentd_async="true",
        fluentd_retry_wait="1m30s",
        fluentd_max_retries="3",
        fluentd_sub_second_precision="true",
        fluentd_request_ack="true",
        fluentd_buffer_limit="2m",
    )
    server = log["server"]
    assert (server["network"], server["address"]) == ("tcp+tls", "h:24224")
    assert (server["async"], server["wait"], server["tries"]) == (True, 90.0, 3)
    assert (log["precise"], log["ack"], log["buffer"]) == (True, True, 2 << 20)


def test_journald(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "readable", lambda: True)
    log = shim_log("journald", labels_regex=".", tag="{{.Name}}")
    assert log["fields"] == {
        "CONTAINER_ID": "c" * 12,
        "CONTAINER_ID_FULL": "c" * 64,
        "CONTAINER_NAME": "name",
        "CONTAINER_TAG": "name",
        "IMAGE_NAME": "box:1",
        "SYSLOG_IDENTIFIER": "name",
        "TEAM": "blue",
        "T2": "x",
    }
    assert log["cache"] is None
    monkeypatch.setattr(journal, "readable", lambda: False)
    assert shim_log("journald")["cache"]


def test_where_logs_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def source(driver: str, **options: str) -> Any:
        return logdrivers.source(container(driver, {n.replace("_", "-"): v for n, v in options.items()}))

    assert source("json-file") == ("json", Path("/x/x-json.log"))
    assert source("local") == ("local", Path("/x/local-logs/container.log"))
    assert source("syslog") == ("local", Path("/x/container-cached.log"))
    assert source("gelf", cache_disabled="1") is None
    assert source("none") is None
    monkeypatch.setattr(journal, "readable", lambda: True)
    assert source("journald").form == "journal"
    assert logdrivers.shim_log(container("none", {})) is None


@pytest.mark.parametrize(
    ("text", "base", "size"),
    [
        ("10", 1000, 10),
        ("10b", 1000, 10),
        ("10k", 1000, 10_000),
        ("10kB", 1024, 10_240),
        ("1.5 MiB", 1024, 1_572_864),
        ("1g", 1000, 1_000_000_000),
    ],
)
def test_sizes(text: str, base: int, size: int) -> None:
    assert values.parse_size(text, base) == size


def test_durations() -> None:
    assert values.parse_duration("1h2m3.5s") == 3723.5
    assert values.parse_duration("-100ms") == -0.1
    assert values.parse_duration("0") == 0
    with pytest.raises(LogOptionError, match='missing unit in duration "1"'):
        values.parse_duration("1")
    with pytest.raises(LogOptionError, match='invalid duration ""'):
        values.parse_duration("")


def test_addresses() -> None:
    assert addresses.syslog("udp://h:99") == ("udp", "h:99")
    assert addresses.gelf("tcp://[::1]:5") == ("tcp", "[::1]:5")
    assert addresses.fluentd("h:5") == ("tcp", "h:5")
    assert addresses.fluentd("h") == ("tcp", "h:24224")
    assert addresses.fluentd("unix:///a/b") == ("unix", "/a/b")
