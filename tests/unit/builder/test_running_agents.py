"""The socket of `--mount=type=ssh`: what comes goes to the agent and back, and nothing stays open."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from compatd.engine.builder.running.agents import Agent
from compatd.engine.errors import NotFound


class Shouting:
    """Answers in capitals."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def connect(self, agent_id: str) -> socket.socket:
        self.asked.append(agent_id)
        if agent_id == "none":
            raise NotFound("unset ssh forward key none")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.tasks.append(asyncio.create_task(self._serve(ours)))
        return theirs

    async def _serve(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with sock:
            while data := await loop.sock_recv(sock, 1000):
                await loop.sock_sendall(sock, data.upper())


def test_connections_go_to_the_agent_and_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        shouting = Shouting()
        deep = tmp_path / ("d" * 120)  # more than a socket's address can hold
        deep.mkdir()
        agent = Agent(shouting, "key", deep / "sock")
        agent.open(os.getuid(), os.getgid(), 0o660)
        assert (deep / "sock").stat().st_mode & 0o777 == 0o660
        folder = os.open(deep, os.O_PATH)
        for text in (b"one", b"two" * 50_000):
            reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/sock")
            writer.write(text)
            writer.write_eof()
            assert await reader.read() == text.upper()
            writer.close()
        os.close(folder)
        await agent.close()
        assert shouting.asked == ["key", "key"]
        await asyncio.gather(*shouting.tasks)

    asyncio.run(scenario())


def test_without_an_agent_it_hangs_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        agent = Agent(Shouting(), "none", tmp_path / "sock")
        agent.open(os.getuid(), os.getgid(), 0o600)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "sock")
        assert await reader.read() == b""
        writer.close()
        await agent.close()

    asyncio.run(scenario())


def test_its_end_ends_connections(tmp_path: Path) -> None:
    async def scenario() -> None:
        shouting = Shouting()
        agent = Agent(shouting, "key", tmp_path / "sock")
        agent.open(os.getuid(), os.getgid(), 0o600)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "sock")
        writer.write(b"a")
        assert await reader.read(1) == b"A"
        await agent.close()
        assert await reader.read() == b""
        writer.close()
        await asyncio.gather(*shouting.tasks)
        with pytest.raises(OSError):
            await asyncio.open_unix_connection(tmp_path / "sock")

    asyncio.run(scenario())
