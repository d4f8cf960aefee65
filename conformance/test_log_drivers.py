"""Log drivers: what create and start refuse, files of `local` and `json-file`, rotation, tags."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from conformance.engine import Engine
from conformance.logservers import config, run
from conformance.until import until
from conformance.wire import demux

CREATE, START, LOGS, INFO = "ContainerCreate", "ContainerStart", "ContainerLogs", "SystemInfo"


@pytest.mark.operation(INFO)
def test_drivers_are_listed(engine: Engine) -> None:
    names = engine.info["Plugins"]["Log"]
    assert names == sorted(names)
    assert {"fluentd", "gelf", "journald", "json-file", "local", "syslog"} <= set(names)
    assert "none" not in names


@pytest.mark.operation(CREATE)
@pytest.mark.parametrize(
    ("host", "text"),
    [
        (config("nope"), 'error looking up logging plugin nope: plugin "nope" not found'),
        (config("local", bad="1"), "unknown log opt 'bad' for log driver local"),
        (config("syslog", bad="1"), "unknown log opt 'bad' for syslog log driver"),
        (config("fluentd", bad="1"), "unknown log opt 'bad' for fluentd log driver"),
        (config("journald", bad="1"), "unknown log opt 'bad' for journald log driver"),
        (
            config("gelf", gelf_address="udp://127.0.0.1:1", bad="1"),
            'unknown log opt "bad" for gelf log driver',
        ),
        (config("json-file", mode="x"), "logger: logging mode not supported: x"),
        (
            config("json-file", max_buffer_size="1m"),
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            config("json-file", mode="non-blocking", max_buffer_size="x"),
            "error parsing option max-buffer-size: invalid size: 'x'",
        ),
        (config("json-file", cache_disabled="x"), "invalid value for option cache-disabled: x"),
        (config("syslog", syslog_address="unix:///no/such"), "stat /no/such: no such file or directory"),
        (config("syslog", syslog_facility="x"), "invalid syslog facility"),
        (config("syslog", syslog_format="x"), "Invalid syslog format"),
        (config("gelf"), "gelf-address is a required parameter"),
        (
            config("gelf", gelf_address="udp://127.0.0.1"),
            "gelf: please provide gelf-address as proto://host:port",
        ),
        (
            config("gelf", gelf_address="tcp://127.0.0.1:1", gelf_compression_level="1"),
            "compression is only supported on UDP",
        ),
        (config("fluentd", fluentd_async="x"), 'strconv.ParseBool: parsing "x": invalid syntax'),
        (config("fluentd", fluentd_retry_wait="x"), 'time: invalid duration "x"'),
    ],
)
def test_what_create_refuses(engine: Engine, host: dict[str, Any], text: str) -> None:
    answer = engine.wire.request("POST", "/containers/create", {"Image": engine.image, "HostConfig": host})
    assert (answer.status, answer.message) == (400, text)


@pytest.mark.operation(START)
@pytest.mark.parametrize(
    ("host", "status", "text"),
    [
        (config("json-file", max_size="-1"), 500, "invalid size: '-1'"),
        (config("json-file", max_size="0"), 500, "max-size must be a positive number"),
        (config("json-file", max_file="x"), 500, 'strconv.Atoi: parsing "x": invalid syntax'),
        (config("json-file", max_file="0"), 500, "max-file cannot be less than 1"),
        (config("json-file", tag="{{.ID"), 500, "template: log-tag:1: unclosed action"),
        (config("json-file", tag="{{foo}}"), 500, 'template: log-tag:1: function "foo" not defined'),
        (
            config("json-file", tag="{{.Nope}}"),
            500,
            'template: log-tag:1:2: executing "log-tag" at <.Nope>: '
            "can't evaluate field Nope in type *logger.Info",
        ),
        (config("json-file", labels_regex="("), 500, "error parsing regexp: missing closing ): `(`"),
        (config("local", max_file="1"), 500, "compression cannot be enabled when max file count is 1"),
        (config("local", max_size="x"), 500, "invalid value for max-size: x: invalid size: 'x'"),
        (
            config("syslog", syslog_address="tcp://127.0.0.1:1"),
            500,
            "dial tcp 127.0.0.1:1: connect: connection refused",
        ),
        (
            config("gelf", gelf_address="tcp://127.0.0.1:1"),
            500,
            "gelf: cannot connect to GELF endpoint: 127.0.0.1:1 "
            "dial tcp 127.0.0.1:1: connect: connection refused",
        ),
        (
            config("fluentd", fluentd_address="127.0.0.1:1"),
            500,
            "dial tcp 127.0.0.1:1: connect: connection refused",
        ),
        (
            config("fluentd", fluentd_address="unix:///no/such"),
            400,
            "dial unix /no/such: connect: no such file or directory",
        ),
    ],
)
def test_what_start_refuses(engine: Engine, host: dict[str, Any], status: int, text: str) -> None:
    container = engine.create("true", host=host)
    answer = engine.wire.request("POST", f"/containers/{container}/start")
    assert answer.status == status
    assert answer.message.endswith(f"failed to initialize logging driver: {text}")
    state = engine.state(container)
    assert (state["Status"], state["ExitCode"]) == ("created", 128 if status == 500 else 127)
    assert state["Error"] == answer.message


@pytest.mark.operation(LOGS)
def test_local(engine: Engine) -> None:
    ended = run(engine, config("local"))
    assert (ended.out, ended.err) == ("out\n", "err\n")
    # Where it is kept is the engine's own affair.
    assert engine.inspect(ended.id)["LogPath"] == ""
    assert engine.logs(ended.id, tail="1") in {("", "err\n"), ("out\n", "")}
    line = engine.logs(ended.id, timestamps=True)[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z out\n", line)


@pytest.mark.operation(LOGS)
def test_local_rotates_and_compresses(engine: Engine) -> None:
    host = config("local", max_size="10k", max_file="4")
    container = engine.run("sh", "-c", "for i in $(seq 2000); do echo line $i; done", host=host)
    engine.wait(container)
    until(lambda: engine.logs(container)[0].endswith("line 2000\n"))
    numbers = [int(line.split()[1]) for line in engine.logs(container)[0].splitlines()]
    assert numbers == list(range(numbers[0], 2001)) and 100 < len(numbers) < 2000
    # Over several files, of which some are compressed.
    wanted = len(numbers) - 10
    lines = engine.logs(container, tail=str(wanted))[0].splitlines()
    assert lines == [f"line {n}" for n in range(2001 - wanted, 2001)]


@pytest.mark.operation(LOGS)
@pytest.mark.local
def test_local_files(engine: Engine) -> None:
    host = config("local", max_size="10k", max_file="3")
    container = engine.run("sh", "-c", "for i in $(seq 2000); do echo line $i; done", host=host)
    engine.wait(container)
    assert engine.root is not None
    folder = Path(engine.root) / "containers" / container / "local-logs"
    names = {"container.log", "container.log.1.gz", "container.log.2.gz"}
    until(lambda: {path.name for path in folder.iterdir()} == names)
    assert folder.stat().st_mode & 0o777 == 0o700
    # Records: a length, a protobuf message, the length again.
    data = gzip.decompress((folder / "container.log.1.gz").read_bytes())
    size = int.from_bytes(data[:4], "big")
    assert data[4 : 4 + 8] == b"\x0a\x06stdout" and data[4 + size : 8 + size] == data[:4]


@pytest.mark.operation(LOGS)
@pytest.mark.since("1.44")  # 20.10 loses the newline of a line that was cut
def test_long_lines_of_local_are_whole_again(engine: Engine) -> None:
    ended = run(engine, config("local"), "head -c 40000 /dev/zero | tr '\\0' x; echo; printf end")
    assert ended.out == "x" * 40000 + "\nend"


@pytest.mark.operation("ContainerAttach")
@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_attaching_with_what_was_logged(engine: Engine, driver: str) -> None:
    container = run(engine, config(driver)).id
    query: dict[str, Any] = {"logs": True, "stdout": True, "stderr": True}
    with engine.wire.hijack(f"/containers/{container}/attach", **query) as stream:
        assert demux(stream.read_all()) == (b"out\n", b"err\n")


@pytest.mark.operation(LOGS)
@pytest.mark.since("1.44")  # 20.10 misses lines when files are rotated fast
@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_following_over_rotations(engine: Engine, driver: str) -> None:
    """Each line comes once, in order, though files are rotated under the reader."""
    host = config(driver, max_size="4k", max_file="30", compress="false")
    script = "for i in $(seq 600); do echo line $i; [ $((i % 50)) = 0 ] && sleep 0.05; done; exit 0"
    container = engine.create("sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; " + script, host=host)
    engine.start(container)
    with engine.wire.open("GET", f"/containers/{container}/logs", stdout=True, follow=True) as response:
        engine.exec(container, "touch", "/go")
        body = response.read()
    found = re.findall(rb"line (\d+)\n", body)
    assert [int(number) for number in found] == list(range(1, 601))


@pytest.mark.operation(LOGS)
@pytest.mark.local
def test_compressed_json_files(engine: Engine) -> None:
    host = config("json-file", max_size="10k", max_file="3", compress="true")
    container = engine.run("sh", "-c", "for i in $(seq 1000); do echo line $i; done", host=host)
    engine.wait(container)
    path = Path(engine.inspect(container)["LogPath"])
    names = {path.name, f"{path.name}.1.gz", f"{path.name}.2.gz"}
    until(lambda: {found.name for found in path.parent.glob("*-json.log*")} == names)
    lines = engine.logs(container)[0].splitlines()
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == list(range(numbers[0], 1001))
    assert engine.logs(container, tail="250")[0].splitlines() == [f"line {n}" for n in range(751, 1001)]


@pytest.mark.operation(LOGS)
@pytest.mark.local
def test_tags_and_attributes(engine: Engine) -> None:
    name = engine.name("tagged")
    host = config(
        "json-file",
        tag="{{.Name}}/{{.ID}}/{{.DaemonName}}/{{upper .ImageName}}",
        labels_regex="^(team|none)",
        env_regex="^MO",
    )
    labels, env = {"team": "blue", "other": "1"}, ["MODE=test", "X=1"]
    container = engine.run("echo", "x", name=name, host=host, Labels=labels, Env=env)
    engine.wait(container)
    (line,) = Path(engine.inspect(container)["LogPath"]).read_bytes().splitlines()
    assert json.loads(line)["attrs"] == {
        "MODE": "test",
        "team": "blue",
        "tag": f"{name}/{container[:12]}/docker/{engine.image.upper()}",
    }


@pytest.mark.operation(LOGS)
def test_none_cannot_be_read(engine: Engine) -> None:
    container = engine.run("echo", "x", host=config("none", anything="goes"))
    engine.wait(container)
    answer = engine.wire.request("GET", f"/containers/{container}/logs", stdout=True)
    assert (answer.status, answer.message) == (501, "configured logging driver does not support reading")
