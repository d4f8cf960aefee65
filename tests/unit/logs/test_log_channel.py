"""The connection to a log server: nothing is waited for, nothing is lost while there is room."""

import socket
from pathlib import Path
from typing import Any

import pytest

from runtime.logs.base import LogError
from runtime.logs.channel import Channel
from runtime.shim.loop import Loop
from tests.unit.logs.logkit import Server, serving, turn_until, unused_port


def channel(server: Server | dict[str, Any], loop: Loop, limit: int = 1_000_000, **more: Any) -> Channel:
    options = server if isinstance(server, dict) else server.options
    return Channel(loop, options, limit=limit, lossy=more.pop("lossy", False), **more)


@pytest.mark.parametrize("network", ["tcp", "udp", "unix", "unixgram"])
def test_messages_arrive(network: str, tmp_path: Path) -> None:
    loop = Loop()
    with serving(network, tmp_path) as server:
        made = channel(server, loop)
        made.open()
        made.send(b"one\n")
        made.send(b"two\n")
        turn_until(loop, lambda: server.has(b"two\n"))
        assert server.text == b"one\ntwo\n"
        if not server.stream:
            assert server.got == [b"one\n", b"two\n"]
        made.close()


@pytest.mark.parametrize("network", ["tcp", "unix"])
def test_a_lost_connection_is_made_again(network: str, tmp_path: Path) -> None:
    loop = Loop()
    with serving(network, tmp_path) as server:
        made = channel(server, loop)
        made.open()
        made.send(b"one\n")
        turn_until(loop, lambda: server.has(b"one\n"))
        server.hang_up()
        # Its end is heard of before the next message: that one is not lost.
        turn_until(loop, lambda: made._state == "away")
        made.send(b"two\n")
        turn_until(loop, lambda: server.has(b"two\n"))
        made.close()


def test_a_server_that_is_away_costs_messages_not_time(tmp_path: Path) -> None:
    loop = Loop()
    address = str(tmp_path / "server.sock")
    made = channel({"network": "unix", "address": address, "wait": 0.01}, loop, limit=100)
    for number in range(50):
        made.send(b"%09d\n" % number)
    assert not made.full
    assert (made.pending, made.dropped) == (100, 40)
    # It comes up at last: what was kept is sent, in order.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        turn_until(loop, lambda: not made.queue)
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(10)
            assert peer.recv(1000) == b"".join(b"%09d\n" % number for number in range(10))
    made.close()


def test_attempts_come_to_an_end_where_that_is_asked_for(tmp_path: Path) -> None:
    loop = Loop()
    made = channel({"network": "unix", "address": str(tmp_path / "no"), "wait": 0.001, "tries": 2}, loop)
    made.send(b"x")
    turn_until(loop, lambda: made.dropped)
    assert not made.queue and made.pending == 0
    made.close()


def test_a_slow_server_holds_the_container_back_and_lets_it_go(tmp_path: Path) -> None:
    loop = Loop()
    room: list[bool] = []
    with serving("unix", tmp_path) as server:
        made = channel(server, loop, limit=10_000, on_room=lambda: room.append(True))
        made.open()
        while not made.full:
            made.send(b"x" * 5000)
        room.clear()
        turn_until(loop, lambda: server.poll() and room and not made.full)
        made.close()
    assert made.dropped == 0


def test_a_lossy_log_drops_what_is_new_instead(tmp_path: Path) -> None:
    loop = Loop()
    with serving("unix", tmp_path) as server:
        made = channel(server, loop, limit=10_000, lossy=True)
        made.open()
        sent = 0
        while not made.dropped:
            made.send(b"%05d" % sent + b"x" * 4995)
            sent += 1
        assert not made.full and made.pending <= 10_000
        turn_until(loop, lambda: server.poll() and not made.queue)
        server.poll()
        assert server.text.startswith(b"00000x") and len(server.text) == 5000 * (sent - 1)
        made.close()


def test_a_message_that_is_cut_by_a_lost_connection_is_sent_again_whole(tmp_path: Path) -> None:
    loop = Loop()
    with serving("unix", tmp_path) as server:
        made = channel(server, loop, limit=10_000_000)
        made.open()
        big = b"<" + b"x" * 4_000_000 + b">"
        made.send(big)
        assert made._offset  # in part
        server.poll()
        server.hang_up()
        server.got.clear()
        turn_until(loop, lambda: server.has(b">"))
        assert server.text == big
        made.close()


def test_closing_sends_what_is_pending(tmp_path: Path) -> None:
    loop = Loop()
    with serving("tcp", tmp_path) as server:
        made = channel(server, loop)
        made.send(b"last\n")  # the connection is only being made
        made.close()
        turn_until(loop, lambda: server.has(b"last\n"))


def test_a_datagram_after_a_refused_one_is_sent(tmp_path: Path) -> None:
    loop = Loop()
    port = unused_port()
    made = channel({"network": "udp", "address": f"127.0.0.1:{port}"}, loop)
    made.open()
    made.send(b"lost")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        sock.settimeout(10)
        made.send(b"found")
        assert sock.recv(100) == b"found"
    made.close()


def test_names_are_looked_up_without_waiting(tmp_path: Path) -> None:
    loop = Loop()
    with serving("tcp", tmp_path) as server:
        port = server.address.rpartition(":")[2]
        made = channel({"network": "tcp", "address": f"localhost:{port}", "wait": 0.01}, loop)
        made.send(b"by name")
        assert made._state == "waiting"
        turn_until(loop, lambda: server.has(b"by name"))
        made.close()


@pytest.mark.parametrize(
    ("network", "address", "text"),
    [
        ("tcp", "127.0.0.1:{port}", "dial tcp 127.0.0.1:{port}: connect: connection refused"),
        ("tcp+tls", "127.0.0.1:{port}", "dial tcp 127.0.0.1:{port}: connect: connection refused"),
        ("tcp", "127.0.0.1:99999", "dial tcp: address 99999: invalid port"),
        ("unix", "/no/such", "dial unix /no/such: connect: no such file or directory"),
        ("unixgram", "/no/such", "dial unixgram /no/such: connect: no such file or directory"),
        ("unix", "", "dial unix: missing address"),
    ],
)
def test_failures_are_worded_as_by_go(network: str, address: str, text: str) -> None:
    port = unused_port()
    options: dict[str, Any] = {"network": network, "address": address.format(port=port)}
    if network == "tcp+tls":
        options["tls"] = {"ca": "", "cert": "", "key": "", "verify": False}
    with pytest.raises(LogError) as caught:
        channel(options, Loop()).open()
    assert str(caught.value) == text.format(port=port)


def test_what_is_too_long_for_a_datagram_is_dropped_alone(tmp_path: Path) -> None:
    loop = Loop()
    with serving("udp", tmp_path) as server:
        made = channel(server, loop)
        made.open()
        made.send(b"x" * 70_000)
        made.send(b"short")
        turn_until(loop, lambda: server.has(b"short"))
        assert made.dropped == 1 and server.got == [b"short"]
        made.close()
