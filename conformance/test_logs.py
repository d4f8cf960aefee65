"""logs: the json-file driver and how it is read."""

import json
import re
import subprocess
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.until import until
from conformance.wire import demux

LOGS = "ContainerLogs"
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z"


def lines_of(engine: Engine, container: str) -> list[bytes]:
    """The lines of the log file, as the engine wrote them."""
    return Path(engine.inspect(container)["LogPath"]).read_bytes().splitlines(keepends=True)


def ended(engine: Engine, script: str, **options: object) -> str:
    container = engine.run("sh", "-c", script, **options)  # type: ignore[arg-type]
    engine.wait(container)
    return container


def texts(engine: Engine, container: str) -> list[bytes]:
    """What stands between the quotes of "log" in each line."""
    found = []
    for line in lines_of(engine, container):
        match = re.fullmatch(
            rb'\{"log":"(.*)","stream":"(stdout|stderr)","time":"' + STAMP.encode() + rb'"\}\n', line
        )
        assert match, line
        found.append(match[1])
    return found


@pytest.mark.operation(LOGS)
@pytest.mark.local
def test_file_format(engine: Engine) -> None:
    container = ended(engine, "echo out; sleep 0.1; echo err >&2")
    first, second = lines_of(engine, container)
    assert re.fullmatch(rb'\{"log":"out\\n","stream":"stdout","time":"' + STAMP.encode() + rb'"\}\n', first)
    assert re.fullmatch(rb'\{"log":"err\\n","stream":"stderr","time":"' + STAMP.encode() + rb'"\}\n', second)
    path = Path(engine.inspect(container)["LogPath"])
    assert path.name == f"{container}-json.log" and path.parent.name == container
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.operation(LOGS)
@pytest.mark.local
@pytest.mark.parametrize(
    ("octal", "expected"),
    [
        (r"tab\t", rb"tab\u0009"),
        (r'"\\', rb"\"\\"),
        (r"<&>", rb"\u003c\u0026\u003e"),
        (r"\001\037\177", b"\\u0001\\u001f\x7f"),
        (r"a\rb", rb"a\rb"),
        (r"\033[1m", rb"\u001b[1m"),
        (r"\303\244\342\202\254", "ä€".encode()),
        (r"\342\200\250", rb"\u2028"),
        (r"\377", rb"\ufffd"),
        (r"\303", rb"\ufffd"),
        (r"\000", rb"\u0000"),
        (r"\360\237\230\200", "😀".encode()),
    ],
)
def test_escapes(engine: Engine, octal: str, expected: bytes) -> None:
    container = ended(engine, f"printf '{octal}\\n'")
    assert texts(engine, container) == [expected + rb"\n"]


@pytest.mark.operation(LOGS)
@pytest.mark.local
def test_without_the_last_newline(engine: Engine) -> None:
    assert texts(engine, ended(engine, "printf 'one\\ntwo'")) == [rb"one\n", b"two"]
    assert texts(engine, ended(engine, "printf '\\n\\n'")) == [rb"\n", rb"\n"]


@pytest.mark.operation(LOGS)
@pytest.mark.local
def test_long_lines_are_split_at_16_kib(engine: Engine) -> None:
    container = ended(engine, "head -c 40000 /dev/zero | tr '\\0' x; echo")
    found = texts(engine, container)
    assert b"".join(found) == b"x" * 40000 + rb"\n"
    assert [len(text) for text in found[:2]] == [16384, 16384]
    # For the reader it is one line again.
    assert engine.logs(container)[0] == "x" * 40000 + "\n"


@pytest.mark.operation(LOGS)
def test_streams(engine: Engine) -> None:
    container = ended(engine, "echo out; echo err >&2")
    assert engine.logs(container) == ("out\n", "err\n")
    assert engine.logs(container, stderr=False) == ("out\n", "")
    assert engine.logs(container, stdout=False) == ("", "err\n")
    answer = engine.wire.request("GET", f"/containers/{container}/logs")
    assert answer.status == 400
    assert (
        "must choose at least one stream" in answer.message
        or "must specify at least one of" in answer.message
    )


@pytest.mark.operation(LOGS)
def test_content_type(engine: Engine) -> None:
    container = ended(engine, "echo x")
    answer = engine.wire.request("GET", f"/containers/{container}/logs", stdout=True)
    kind = engine.pick({"1.24": None, "1.42": "application/vnd.docker.multiplexed-stream"})
    if kind:
        assert answer.headers["content-type"] == kind


@pytest.mark.operation(LOGS)
def test_with_a_terminal_there_are_no_frames(engine: Engine) -> None:
    container = engine.run("sh", "-c", "echo out; echo err >&2", Tty=True)
    engine.wait(container)
    answer = engine.wire.request("GET", f"/containers/{container}/logs", stdout=True, stderr=True)
    assert answer.body == b"out\r\nerr\r\n"


@pytest.mark.operation(LOGS)
@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("0", ""),
        ("1", "5\n"),
        ("3", "3\n4\n5\n"),
        ("5", "1\n2\n3\n4\n5\n"),
        ("99", "1\n2\n3\n4\n5\n"),
        ("all", "1\n2\n3\n4\n5\n"),
    ],
)
def test_tail(engine: Engine, five: str, tail: str, expected: str) -> None:
    assert engine.logs(five, tail=tail)[0] == expected


@pytest.fixture(scope="module")
def five(engine: Engine) -> str:
    """A container that has written five lines."""
    container = ended(engine, "for i in 1 2 3 4 5; do echo $i; done")
    engine.keep.add(container)
    return container


@pytest.mark.operation(LOGS)
def test_timestamps(engine: Engine, five: str) -> None:
    lines = engine.logs(five, timestamps=True)[0].splitlines()
    # RFC 3339 with nanoseconds, always nine digits.
    assert [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ", "", line) for line in lines] == list("12345")


def seconds_of(stamp: str) -> float:
    return datetime.fromisoformat(stamp[:26] + "+00:00").timestamp()


@pytest.mark.operation(LOGS)
def test_since_and_until(engine: Engine) -> None:
    container = ended(engine, "echo one; sleep 1.2; echo two; sleep 1.2; echo three")
    stamps = [seconds_of(line.split()[0]) for line in engine.logs(container, timestamps=True)[0].splitlines()]
    after_one, after_two = stamps[0] + 0.6, stamps[1] + 0.6
    assert engine.logs(container, since=f"{after_one:.9f}")[0] == "two\nthree\n"
    assert engine.logs(container, until=f"{after_two:.9f}")[0] == "one\ntwo\n"
    assert engine.logs(container, since=f"{after_one:.9f}", until=f"{after_two:.9f}")[0] == "two\n"
    assert engine.logs(container, since=f"{after_one:.9f}", tail="1")[0] == "three\n"
    assert engine.logs(container, since="4000000000")[0] == ""


@pytest.mark.operation(LOGS)
def test_since_and_until_by_cli(engine: Engine, cli: Cli) -> None:
    container = ended(engine, "echo one")
    assert cli.text("logs", "--since", "1h", container) == "one"
    assert cli.text("logs", "--until", "1h", container) == ""
    assert cli.text("logs", "--since", "2001-01-01T00:00:00", container) == "one"


@pytest.mark.operation(LOGS)
def test_follow(engine: Engine) -> None:
    container = engine.run("sh", "-c", "echo one; while [ ! -e /go ]; do sleep 0.05; done; echo two")
    with engine.wire.open("GET", f"/containers/{container}/logs", stdout=True, follow=True) as response:
        assert response.read(12) == b"\x01\0\0\0\0\0\0\x04one\n"
        engine.exec(container, "touch", "/go")
        # The end of the container is the end of the answer.
        assert response.read() == b"\x01\0\0\0\0\0\0\x04two\n"


@pytest.mark.operation(LOGS)
def test_follow_from_the_end(engine: Engine) -> None:
    container = engine.run(
        "sh", "-c", "echo one; echo two; while [ ! -e /go ]; do sleep 0.05; done; echo three"
    )
    until(lambda: "two" in engine.logs(container)[0])
    with engine.wire.open(
        "GET", f"/containers/{container}/logs", stdout=True, follow=True, tail="1"
    ) as response:
        assert response.read(12) == b"\x01\0\0\0\0\0\0\x04two\n"
        engine.exec(container, "touch", "/go")
        assert response.read() == b"\x01\0\0\0\0\0\0\x06three\n"


@pytest.mark.operation(LOGS)
def test_follow_of_the_ended_returns(engine: Engine, five: str) -> None:
    assert engine.logs(five, follow=True)[0] == "1\n2\n3\n4\n5\n"


@pytest.mark.operation(LOGS)
def test_follow_by_cli(engine: Engine, cli: Cli) -> None:
    container = engine.run(
        "sh", "-c", "echo one; while [ ! -e /go ]; do sleep 0.05; done; echo two; echo err >&2"
    )
    with cli.popen("logs", "-f", container, stdin=subprocess.DEVNULL) as process:
        assert process.stdout and process.stdout.readline() == b"one\n"
        engine.exec(container, "touch", "/go")
        out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == (b"two\n", b"err\n", 0)


@pytest.mark.operation(LOGS)
def test_by_cli(engine: Engine, cli: Cli, five: str) -> None:
    assert cli.text("logs", five) == "1\n2\n3\n4\n5"
    assert cli.text("logs", "--tail", "2", five) == "4\n5"
    assert re.fullmatch(STAMP + " 5", cli.text("logs", "-t", "--tail", "1", five))
    failed = cli("logs", "no-such", check=False)
    assert (failed.code, "No such container: no-such" in failed.err) == (1, True)


@pytest.mark.operation(LOGS)
@pytest.mark.local
def test_details(engine: Engine) -> None:
    options = {"LogConfig": {"Type": "json-file", "Config": {"labels": "team", "env": "MODE"}}}
    container = engine.run("echo", "x", host=options, Labels={"team": "blue"}, Env=["MODE=test", "OTHER=1"])
    engine.wait(container)
    (line,) = lines_of(engine, container)
    assert json.loads(line)["attrs"] == {"team": "blue", "MODE": "test"}
    assert engine.logs(container, details=True)[0] in {"MODE=test,team=blue x\n", "team=blue,MODE=test x\n"}


@pytest.mark.operation(LOGS)
@pytest.mark.local
def test_rotation(engine: Engine) -> None:
    options = {"LogConfig": {"Type": "json-file", "Config": {"max-size": "10k", "max-file": "3"}}}
    container = engine.run("sh", "-c", "for i in $(seq 1000); do echo line $i; done", host=options)
    engine.wait(container)
    path = Path(engine.inspect(container)["LogPath"])
    assert sorted(p.name for p in path.parent.glob("*-json.log*")) == [
        path.name,
        path.name + ".1",
        path.name + ".2",
    ]
    assert path.stat().st_size <= 11_000
    lines = engine.logs(container)[0].splitlines()
    assert lines[-1] == "line 1000"
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == list(range(numbers[0], 1001))


@pytest.mark.operation(LOGS)
def test_driver_none(engine: Engine) -> None:
    container = engine.run("echo", "x", host={"LogConfig": {"Type": "none", "Config": {}}})
    engine.wait(container)
    assert engine.inspect(container)["LogPath"] == ""
    answer = engine.wire.request("GET", f"/containers/{container}/logs", stdout=True)
    assert answer.status in {500, 501}
    assert "configured logging driver does not support reading" in answer.message


@pytest.mark.operation(LOGS)
def test_driver_errors(engine: Engine) -> None:
    container = engine.create("true", host={"LogConfig": {"Type": "json-file", "Config": {}}})
    assert engine.inspect(container)["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {}}
    answer = engine.wire.request(
        "POST",
        "/containers/create",
        {"Image": engine.image, "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"bad": "1"}}}},
    )
    assert answer.status == 400
    assert "unknown log opt 'bad' for json-file log driver" in answer.message


@pytest.mark.operation(LOGS)
def test_a_million_bytes(engine: Engine) -> None:
    container = ended(engine, "seq 1 150000")
    out = engine.logs(container)[0]
    assert out == "".join(f"{i}\n" for i in range(1, 150001))
    assert engine.logs(container, tail="2")[0] == "149999\n150000\n"


@pytest.mark.operation(LOGS)
def test_vanished_followers(engine: Engine) -> None:
    container = engine.run("sh", "-c", "while :; do echo x; sleep 0.05; done")
    for _ in range(10):
        response = engine.wire.open("GET", f"/containers/{container}/logs", stdout=True, follow=True)
        response.read(10)
        response.close()
    assert engine.state(container)["Running"]
    assert (
        demux(engine.wire.request("GET", f"/containers/{container}/logs", stdout=True, tail=1).body)[0]
        == b"x\n"
    )


@pytest.mark.operation(LOGS)
def test_follow_through_a_restart_ends(engine: Engine) -> None:
    """The follower's answer ends with the container that it followed, not never."""
    container = engine.run("sh", "-c", "echo x; sleep 1000")
    done = threading.Event()

    def follow() -> None:
        with engine.wire.open("GET", f"/containers/{container}/logs", stdout=True, follow=True) as response:
            response.read()
        done.set()

    thread = threading.Thread(target=follow)
    thread.start()
    until(lambda: "x" in engine.logs(container)[0])
    time.sleep(0.2)
    engine.wire.post(f"/containers/{container}/kill", status=204)
    thread.join(30)
    assert done.is_set()
