"""The daemon's end of a connection: answers, events, a socket that is full, an end."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from runtime.client.connection import Connection
from runtime.client.types import RuntimeError_
from runtime.shim import wire


class World:
    def __init__(self) -> None:
        ours, self.peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.events: list[dict[str, Any]] = []
        self.ends = 0
        self.connection = Connection(ours, self._event, self._end)

    def _event(self, message: dict[str, Any], fds: list[int]) -> None:
        wire.close_all(fds)
        self.events.append(message)

    def _end(self) -> None:
        self.ends += 1

    async def receive(self) -> tuple[dict[str, Any], list[int]]:
        return await asyncio.to_thread(wire.receive, self.peer)


def with_world(body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World()
        try:
            await body(world)
        finally:
            world.connection.close()
            world.peer.close()

    asyncio.run(main())


def test_answers_find_their_questions() -> None:
    async def body(world: World) -> None:
        first = asyncio.create_task(world.connection.call("one", x=1))
        second = asyncio.create_task(world.connection.call("two"))
        questions = [(await world.receive())[0] for _ in range(2)]
        assert [question["op"] for question in questions] == ["one", "two"]
        assert questions[0]["x"] == 1
        wire.send(world.peer, {"event": "exit"})
        wire.send(world.peer, {"id": questions[1]["id"], "n": 2})
        wire.send(world.peer, {"id": questions[0]["id"], "error": "no", "kind": "Refused"})
        assert (await second)["n"] == 2
        with pytest.raises(RuntimeError_) as caught:
            await first
        assert (caught.value.message, caught.value.kind) == ("no", "Refused")
        assert world.events == [{"event": "exit"}]

    with_world(body)


def test_the_end_reaches_who_waits() -> None:
    async def body(world: World) -> None:
        asked = asyncio.create_task(world.connection.call("one"))
        await world.receive()
        world.peer.close()
        with pytest.raises(RuntimeError_) as caught:
            await asked
        assert caught.value.kind == "Gone"
        assert world.ends == 1
        with pytest.raises(RuntimeError_):
            await world.connection.call("two")

    with_world(body)


def test_a_full_socket_keeps_order_and_descriptors() -> None:
    async def body(world: World) -> None:
        null = os.open(os.devnull, os.O_RDONLY)
        count = 600
        for number in range(count):
            world.connection.send(
                {"n": number, "ballast": "x" * (40_000 if number % 50 == 0 else 1000)}, [null]
            )
        os.close(null)
        for number in range(count):
            message, fds = await world.receive()
            assert (message["n"], len(fds)) == (number, 1)
            wire.close_all(fds)

    with_world(body)


def test_no_answer_in_time() -> None:
    async def body(world: World) -> None:
        with pytest.raises(RuntimeError_) as caught:
            await world.connection.ask("kill", 0.01, signal=9)
        assert caught.value.kind == "Hung"
        question = (await world.receive())[0]
        assert (question["op"], question["signal"]) == ("kill", 9)
        asking = asyncio.create_task(world.connection.ask("state", 60))
        later = (await world.receive())[0]
        wire.send(world.peer, {"id": question["id"], "n": 1})  # nobody waits for it any more
        wire.send(world.peer, {"id": later["id"], "n": 2})
        assert (await asking)["n"] == 2

    with_world(body)


def test_what_takes_long_is_waited_for_while_the_other_side_is_well() -> None:
    async def body(world: World) -> None:
        asking = asyncio.create_task(world.connection.persist("exec", 0.05, x=1))
        first = (await world.receive())[0]
        assert (first["op"], first["x"]) == ("exec", 1)
        for _ in range(2):  # longer than it is waited for at once
            question = (await world.receive())[0]
            assert question["op"] == "state"
            wire.send(world.peer, {"id": question["id"]})
        wire.send(world.peer, {"id": first["id"], "pid": 7})
        assert (await asking)["pid"] == 7

    with_world(body)


def test_what_takes_long_is_given_up_when_the_other_side_is_not() -> None:
    async def body(world: World) -> None:
        with pytest.raises(RuntimeError_) as caught:
            await world.connection.persist("exec", 0.01)
        assert caught.value.kind == "Hung"

    with_world(body)
