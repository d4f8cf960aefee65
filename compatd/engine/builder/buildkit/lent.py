"""What a client lends to its build: secrets, ssh agents, credentials of registries.

Source: moby/buildkit session/secrets, session/sshforward, session/auth. Nothing of it is kept.
"""

import asyncio
import socket

from compatd.engine.builder.buildkit.wire.client import ClientStream
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.sessions import Session, Sessions
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError
from compatd.engine.errors import NotFound

MAX_AGENTS = 64  # connections to agents at a time, of one build
_CHUNK = 32 * 1024
_ABSENT = (Code.UNIMPLEMENTED, Code.NOT_FOUND)
_HUB = "registry-1.docker.io"
_HUB_NAMES = ("docker.io", "index.docker.io")


class _Lender:
    def __init__(self, sessions: Sessions, session_id: str) -> None:
        self._sessions, self._session_id = sessions, session_id

    async def _session(self) -> Session | None:
        return await self._sessions.get(self._session_id) if self._session_id else None


class SessionSecrets(_Lender):
    """`request.Secrets`."""

    async def get(self, secret_id: str) -> bytes:
        """The content. Raises NotFound, GrpcError."""
        session = await self._session()
        request = proto("moby.buildkit.secrets.v1.GetSecretRequest")(ID=secret_id)
        try:
            if session is not None:
                answer = await session.client.unary("/moby.buildkit.secrets.v1.Secrets/GetSecret", request)
                return bytes(answer.data)
        except GrpcError as error:
            if error.code not in _ABSENT:
                raise
        raise NotFound(f"secret {secret_id}: not found")


class SessionSsh(_Lender):
    """`request.Ssh`; `close` ends all connections."""

    def __init__(self, sessions: Sessions, session_id: str) -> None:
        super().__init__(sessions, session_id)
        self._running: set[asyncio.Task[None]] = set()

    async def connect(self, agent_id: str) -> socket.socket:
        """A stream to the agent. Raises NotFound."""
        session = await self._session()
        if session is None:
            raise NotFound(f"unset ssh forward key {agent_id}")
        if len(self._running) >= MAX_AGENTS:
            raise NotFound(f"more than {MAX_AGENTS} connections to ssh agents")
        request = proto("moby.sshforward.v1.CheckAgentRequest")(ID=agent_id)
        try:
            await session.client.unary("/moby.sshforward.v1.SSH/CheckAgent", request)
        except GrpcError as error:
            if error.code == Code.UNIMPLEMENTED:
                raise NotFound(f"unset ssh forward key {agent_id}") from None
            raise NotFound(error.message) from None
        near, far = socket.socketpair()
        near.setblocking(False)
        task = asyncio.ensure_future(_forward(session, agent_id, near))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        far.setblocking(False)
        return far

    async def close(self) -> None:
        """End what is still open."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


class SessionAuth(_Lender):
    """`request.Auth`."""

    async def credentials(self, host: str) -> dict[str, str]:
        """Fields as `images.pull`'s auth; {} for none."""
        session = await self._session()
        if session is None:
            return {}
        request = proto("moby.filesync.v1.CredentialsRequest")(Host=_HUB if host in _HUB_NAMES else host)
        try:
            answer = await session.client.unary("/moby.filesync.v1.Auth/Credentials", request)
        except GrpcError as error:
            if error.code in _ABSENT:
                return {}
            raise
        if answer.Secret and not answer.Username:
            return {"identitytoken": answer.Secret}
        return {"username": answer.Username, "password": answer.Secret} if answer.Username else {}


async def _forward(session: Session, agent_id: str, near: socket.socket) -> None:
    metadata = {"buildkit.ssh.id": [agent_id]}
    with near:
        try:
            async with await session.client.call(
                "/moby.sshforward.v1.SSH/ForwardAgent", metadata=metadata
            ) as call:
                asking = asyncio.ensure_future(_ask(call, near))
                try:
                    await _answer(call, near)
                finally:
                    asking.cancel()
                    await asyncio.gather(asking, return_exceptions=True)
        except (GrpcError, OSError):
            return  # whoever asked sees the end of the stream


async def _ask(call: ClientStream, near: socket.socket) -> None:
    make, loop = proto("moby.sshforward.v1.BytesMessage"), asyncio.get_running_loop()
    while data := await loop.sock_recv(near, _CHUNK):
        await call.send(make(data=data))
    call.end()


async def _answer(call: ClientStream, near: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    async for message in call:
        await loop.sock_sendall(near, message.data)
