"""Sessions: what clients lend to a build, each on a connection on which the engine is gRPC's client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from compatd.engine.builder.buildkit.wire.client import GrpcClient
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError
from compatd.engine.builder.buildkit.wire.streams import ByteStream

log = logging.getLogger(__name__)

ID, NAME = "x-docker-expose-session-uuid", "x-docker-expose-session-name"
SHARED_KEY = "x-docker-expose-session-sharedkey"
METHODS = "x-docker-expose-session-grpc-method"

WAIT = 5.0  # seconds for a session to come
_PAUSE, _PATIENCE, _FAILURES = 5.0, 15.0, 2  # between health checks, for one, and how many may fail
_MANY = 1000  # sessions that are ended so at a time, for hostile clients
_PARTING = 0.5  # seconds for a client to end a session whose build was refused
_HEALTH = "/grpc.health.v1.Health/Check"


class Session:
    """One client. `ended`: set with its connection's end; owner: whose it is ("" where nobody asks).

    `client.call` and `client.unary` reach what it lends.
    """

    def __init__(
        self, client: GrpcClient, *, id: str, name: str, shared_key: str, methods: Sequence[str], owner: str
    ) -> None:
        self.client = client
        self.id = id
        self.name = name
        self.shared_key = shared_key
        self.methods = frozenset(method.lower() for method in methods)
        self.owner = owner

    @property
    def ended(self) -> asyncio.Event:
        """Set when the client has gone."""
        return self.client.ended

    def has(self, method: str) -> bool:
        """The client lends this method (`/moby.filesync.v1.FileSync/DiffCopy`)."""
        return method.lower() in self.methods


class Sessions:
    """All that are there, by ID."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._owner: str | None = None
        self._dismissals: set[asyncio.Task[None]] = set()

    def of(self, owner: str | None) -> Sessions:
        """For somebody for whom others' sessions are not there (`limits.Peer.owner`; None: all are)."""
        part = Sessions()
        part._sessions, part._waiting, part._owner = self._sessions, self._waiting, owner
        return part

    async def get(self, id: str, timeout: float | None = None) -> Session:
        """A session, which may come within `timeout` seconds (None: WAIT). Raises GrpcError.

        id: a prefix up to a colon is left out.
        """
        id = id.partition(":")[2] or id
        try:
            async with asyncio.timeout(WAIT if timeout is None else timeout):
                while True:
                    session = self._sessions.get(id)
                    if session is not None and not session.ended.is_set() and self._may(session):
                        return session
                    await self._news()
        except TimeoutError:
            raise GrpcError(Code.UNKNOWN, f"no active session for {id}: context deadline exceeded") from None

    def _may(self, session: Session) -> bool:
        return self._owner in (None, session.owner)

    async def _news(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def known(self, id: str) -> bool:
        """A session of this ID is there."""
        return id in self._sessions

    async def serve(self, stream: ByteStream, headers: Mapping[str, Sequence[str]], owner: str = "") -> None:
        """Holds a session on a connection until that ends. headers: by lower-case name.

        Raises GrpcError when there is one of the same ID.
        """
        id, name, key = ("".join(headers.get(field, ())[:1]) for field in (ID, NAME, SHARED_KEY))
        if self.known(id):
            raise GrpcError(Code.ALREADY_EXISTS, f"session {id} already exists")
        client = GrpcClient(stream)
        session = Session(
            client, id=id, name=name, shared_key=key, methods=headers.get(METHODS, ()), owner=owner
        )
        self._sessions[id] = session
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        watch = asyncio.ensure_future(_watch(session))
        try:
            await client.run()
        finally:
            watch.cancel()
            if self._sessions.get(id) is session:
                del self._sessions[id]

    def dismiss(self, id: str, owner: str) -> None:
        """End an owner's session, also one that is on its way: its build was refused.

        Clients that hear of it before they have begun their session (CLI 20.10) would hold it forever.
        """
        if id and len(self._dismissals) < _MANY:
            task = asyncio.ensure_future(self._dismissed(id, owner))
            self._dismissals.add(task)
            task.add_done_callback(self._dismissals.discard)

    async def _dismissed(self, id: str, owner: str) -> None:
        try:
            session = await self.of(owner).get(id)
        except GrpcError:
            return
        await asyncio.sleep(_PARTING)
        session.client.close()

    def close(self) -> None:
        """Ends all."""
        for task in self._dismissals:
            task.cancel()
        for session in self._sessions.values():
            session.client.close()


async def _watch(session: Session) -> None:
    """Ends a session whose client answers no more: on TCP nobody else would notice."""
    request = proto("grpc.health.v1.HealthCheckRequest")()
    failures = 0
    patience = _PATIENCE
    loop = asyncio.get_running_loop()
    while failures < _FAILURES:
        await asyncio.sleep(_PAUSE)
        begun = loop.time()
        try:
            await session.client.unary(_HEALTH, request, timeout=patience)
            failures = 0
        except GrpcError as error:
            failures += 1
            log.warning("session %s: health check failed: %s", session.id, error)
        patience = max(_PATIENCE, (loop.time() - begun) * 1.5)
    log.error("session %s does not answer: it is ended", session.id)
    session.client.close()
