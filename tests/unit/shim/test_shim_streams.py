"""Pumping between a process's pipes or terminal, the log and clients; the process is this test."""

import gc
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.shim.log import Log, go_json, open_log
from runtime.shim.loop import Loop
from runtime.shim.starter import make_pipes
from runtime.shim.streams import Streams

ALL = {"stdin": True, "stdout": True, "stderr": True, "detach_keys": ""}


def descriptors() -> int:
    gc.collect()  # what other tests have left must not go away in between
    return len(os.listdir("/proc/self/fd"))


class World:
    """Streams, with duplicates of the process's ends."""

    def __init__(
        self, *, tty: bool = False, stdin: bool = True, end_input: bool = False, log: Log | None = None
    ) -> None:
        self.loop = Loop()
        self.streams = Streams(self.loop, tty=tty, log=log, end_input=end_input)
        self.peers: list[socket.socket] = []
        ours: dict[str, int] = {}
        if tty:
            ours["master"], slave = os.openpty()
            theirs = (slave, os.dup(slave), os.dup(slave))
        else:
            theirs = make_pipes(stdin, ours)
        self.stdin, self.stdout, self.stderr = theirs
        self.streams.start(ours, stdin)

    def attach(self, **options: Any) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.settimeout(10)
        self.peers.append(ours)
        self.streams.attach(theirs, {**ALL, **options})
        return ours

    def settle(self) -> None:
        for _ in range(20):
            self.loop.turn(0)

    def close_theirs(self) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.stdin = self.stdout = self.stderr = -1

    def exit(self) -> list[bool]:
        self.close_theirs()
        done: list[bool] = []
        self.streams.finish(lambda: done.append(True))
        return done


Make = Callable[..., World]


@pytest.fixture
def world() -> Iterator[Make]:
    worlds: list[World] = []

    def make(**options: Any) -> World:
        worlds.append(World(**options))
        return worlds[-1]

    yield make
    for one in worlds:
        one.close_theirs()
        one.streams.close()
        for peer in one.peers:
            peer.close()


def read_all(loop_turns: Callable[[], None], sock: socket.socket) -> bytes:
    data = b""
    sock.setblocking(False)
    for _ in range(2000):
        loop_turns()
        try:
            piece = sock.recv(1 << 20)
        except BlockingIOError:
            continue
        if not piece:
            return data
        data += piece
    raise AssertionError("no end of the stream")


def expect(one: World, sock: socket.socket, data: bytes) -> None:
    """Read exactly `data`, however long the kernel's terminal takes to hand it on."""
    sock.setblocking(False)
    got = b""
    for _ in range(1000):
        one.loop.turn(0.01)
        try:
            piece = sock.recv(len(data) - len(got))
        except BlockingIOError:
            continue
        got += piece
        if not piece or len(got) == len(data):
            break
    assert got == data


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(data)) + data


def test_output_is_framed(world: Make) -> None:
    one = world()
    client = one.attach()
    os.write(one.stdout, b"out")
    one.settle()
    os.write(one.stderr, b"err")
    one.settle()
    assert client.recv(100) == frame(1, b"out") + frame(2, b"err")


def test_only_what_was_asked_for(world: Make) -> None:
    one = world()
    client = one.attach(stdout=False)
    os.write(one.stdout, b"out")
    os.write(one.stderr, b"err")
    one.exit()
    assert read_all(one.settle, client) == frame(2, b"err")


def test_everything_written_before_the_exit_arrives(world: Make) -> None:
    one = world()
    client = one.attach()
    os.write(one.stdout, b"x" * 60000)
    assert one.exit() == [True]
    assert len(read_all(one.settle, client)) == 60008


def test_input_reaches_the_process_and_its_end_only_when_meant_to(world: Make) -> None:
    once = world(end_input=True)
    client = once.attach()
    client.sendall(b"abc")
    client.shutdown(socket.SHUT_WR)
    once.settle()
    assert os.read(once.stdin, 100) == b"abc"
    assert os.read(once.stdin, 100) == b""
    os.write(once.stdout, b"later")
    once.settle()
    assert client.recv(100) == frame(1, b"later")


def test_without_stdin_once_the_end_of_input_ends_the_attachment_alone(world: Make) -> None:
    one = world()
    client, other = one.attach(), one.attach()
    client.sendall(b"abc")
    client.shutdown(socket.SHUT_WR)
    one.settle()
    assert os.read(one.stdin, 100) == b"abc"
    assert client.recv(100) == b""
    other.sendall(b"def")
    one.settle()
    assert os.read(one.stdin, 100) == b"def"


def test_input_that_nobody_reads_holds_the_client_and_not_the_shim(world: Make) -> None:
    one = world(end_input=True)
    client = one.attach()
    client.setblocking(False)
    sent = 0
    payload = b"z" * 65536
    for _ in range(200):
        try:
            sent += client.send(payload)
        except BlockingIOError:
            before = sent
            one.settle()
            try:
                sent += client.send(payload)
            except BlockingIOError:
                break
            assert sent > before
    else:
        raise AssertionError("the shim takes input without end")
    client.shutdown(socket.SHUT_WR)
    got = 0
    while data := os.read(one.stdin, 1 << 20):
        got += len(data)
        one.settle()
    assert got == sent


def test_a_process_that_closes_its_input_does_no_harm(world: Make) -> None:
    one = world(end_input=True)
    client = one.attach()
    os.close(one.stdin)
    one.stdin = os.open(os.devnull, os.O_RDONLY)
    client.sendall(b"lost")
    one.settle()
    client.sendall(b"lost too")
    os.write(one.stdout, b"alive")
    one.settle()
    assert client.recv(100) == frame(1, b"alive")


def test_a_slow_client_stops_the_pump_and_gets_all(world: Make) -> None:
    one = world()
    os.set_blocking(one.stdout, False)
    client = one.attach()
    written = 0
    block = b"q" * 65536
    for _ in range(400):
        try:
            written += os.write(one.stdout, block)
        except BlockingIOError:
            before = written
            one.settle()
            try:
                written += os.write(one.stdout, block)
            except BlockingIOError:
                break
            assert written > before
    else:
        raise AssertionError("the pump has no back-pressure")
    assert one.exit() == [True]
    data = read_all(one.settle, client)
    payload = 0
    while data:
        (length,) = struct.unpack(">L", data[4:8])
        payload += length
        data = data[8 + length :]
    assert payload == written


def test_a_client_that_vanishes_is_forgotten(world: Make) -> None:
    one = world()
    before = descriptors()
    gone, stays = one.attach(), one.attach()
    gone.close()
    one.settle()
    os.write(one.stdout, b"x")
    one.settle()
    assert stays.recv(100) == frame(1, b"x")
    stays.close()
    one.settle()
    assert not one.streams.pending
    assert descriptors() == before


def test_there_is_nothing_to_resize(world: Make) -> None:
    one = world()
    one.streams.resize(80, 24)
    one.exit()
    one.streams.resize(80, 24)


def test_a_client_after_the_end_is_closed_at_once(world: Make) -> None:
    one = world()
    one.exit()
    assert one.attach().recv(10) == b""


def test_unread_input_does_not_spoil_the_end(world: Make) -> None:
    one = world()
    client = one.attach(stdin=False)
    client.sendall(b"never read")
    os.write(one.stdout, b"x")
    one.exit()
    assert read_all(one.settle, client) == frame(1, b"x")


def test_a_terminal_is_raw_both_ways_and_detaches(world: Make) -> None:
    one = world(tty=True)
    one.streams.resize(80, 24)
    assert os.get_terminal_size(one.stdout) == (80, 24)
    client = one.attach()
    os.write(one.stdout, b"hi\n")
    expect(one, client, b"hi\r\n")
    client.sendall(b"a\n\x10")
    expect(one, client, b"a\r\n")
    assert os.read(one.stdin, 100) == b"a\n"
    client.sendall(b"\x11")
    assert read_all(lambda: one.loop.turn(0.01), client) == b""
    os.write(one.stdout, b"still here\n")
    one.settle()


def test_a_terminals_last_words(world: Make, tmp_path: Path) -> None:
    log = Log({"path": str(tmp_path / "log")})
    one = world(tty=True, log=log)
    os.write(one.stdout, b"bye\n")
    assert one.exit() == [True]
    assert b'{"log":"bye\\r\\n","stream":"stdout","time":"' in (tmp_path / "log").read_bytes()


def test_the_log_gets_both_streams(world: Make, tmp_path: Path) -> None:
    log = open_log({"driver": "json-file", "path": str(tmp_path / "log"), "attrs": {"b": "<", "a": "1"}})
    one = world(log=log)
    os.write(one.stdout, b"one\nhalf")
    one.settle()
    os.write(one.stderr, b"two\n")
    one.exit()
    lines = (tmp_path / "log").read_bytes().splitlines()
    attrs = b'"attrs":{"a":"1","b":"\\u003c"},"time":"'
    assert [line[: line.index(attrs) + len(attrs)] for line in lines] == [
        b'{"log":"one\\n","stream":"stdout",' + attrs,
        b'{"log":"half","stream":"stdout",' + attrs,
        b'{"log":"two\\n","stream":"stderr",' + attrs,
    ]


def test_a_pipe_held_by_another_is_cut_off_in_the_end(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.shim.streams.LINGER", 0.01)
    one = world()
    client = one.attach()
    held = os.dup(one.stdout)
    done = one.exit()
    assert done == []
    os.write(held, b"late")
    assert read_all(lambda: one.loop.turn(0.01), client) == frame(1, b"late")
    assert done == [True]
    os.close(held)


def test_a_full_disk_does_not_stop_the_process(world: Make) -> None:
    log = Log({"path": "/dev/full"})
    one = world(log=log)
    client = one.attach()
    os.write(one.stdout, b"line\n")
    one.settle()
    assert client.recv(100) == frame(1, b"line\n")


def test_no_log() -> None:
    assert open_log(None) is None
    assert open_log({"driver": "none"}) is None
    assert go_json({"b": "\u2028é", "a": "&"}) == '{"a":"\\u0026","b":"\\u2028é"}'.encode()
