"""Folders of the client, brought here through its session.

Source: moby/buildkit source/local, session/filesync. A context in the end has all that the client has of the
paths asked for; what is still here of the last build is not sent again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote_plus

from compatd.engine.builder.buildkit.lines import Line, Part
from compatd.engine.builder.buildkit.wire.client import ClientStream
from compatd.engine.builder.buildkit.wire.sessions import Session, Sessions
from compatd.engine.builder.context import Context, Contexts, FewReceiver, Receiver
from compatd.engine.builder.progress import Observer
from compatd.engine.errors import EngineError

_DIFF_COPY = "/moby.filesync.v1.FileSync/DiffCopy"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a folder of the client's is wanted. `hint` tells apart what is kept for the next build.

    `title` is the line of progress; None for `paths`: all.
    """

    name: str
    title: str
    hint: str
    paths: Sequence[str] | None = None
    excludes: Sequence[str] = ()
    includes: Sequence[str] = ()
    always: bool = False  # each file, whatever its size and time say


class Locals:
    """The folders of one build's client; `close` lets go of all that came."""

    def __init__(self, contexts: Contexts, sessions: Sessions, session_id: str, observer: Observer) -> None:
        self._contexts, self._sessions, self._observer = contexts, sessions, observer
        self._session_id = session_id
        self._made: list[Context] = []

    async def fetch(self, wanted: Wanted) -> Context:
        """Bring it here. Raises EngineError, GrpcError (the client's refusal)."""
        identity = f"{self._session_id}:{wanted.hint}:{wanted.title}:{wanted.paths}"
        with Line(self._observer, identity, wanted.title) as line:
            session = await self._session()
            if not session.has(_DIFF_COPY):
                raise EngineError("no local sources enabled")
            # by its owner, too: what is kept is found again by names and times alone
            owner = f"{session.owner}:" if session.owner else ""
            key = f"{owner}{wanted.name}:{wanted.hint}:{session.shared_key}"
            receiver = await self._contexts.receive(wanted.name, key, always=wanted.always)
            try:
                part = line.part(f"transferring {wanted.name}:", "transferring")
                context = await _receive(session, receiver, wanted, part)
            finally:
                await receiver.close()
            self._made.append(context)
            return context

    async def _session(self) -> Session:
        if not self._session_id:
            raise EngineError("could not access local files without session")
        return await self._sessions.get(self._session_id)

    async def close(self) -> None:
        """Let everything go."""
        while self._made:
            await self._made.pop().close()


async def _receive(session: Session, receiver: Receiver | FewReceiver, wanted: Wanted, part: Part) -> Context:
    metadata = _encoded(
        {
            "dir-name": [wanted.name],
            "followpaths": wanted.paths,
            "exclude-patterns": wanted.excludes,
            "include-patterns": wanted.includes,
        }
    )
    async with await session.client.call(_DIFF_COPY, metadata=metadata) as call:
        answers = asyncio.ensure_future(_answer(call, receiver))
        try:
            await _feed(call, receiver, part)
            await answers
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
        part.done()
        return await receiver.context()


async def _feed(call: ClientStream, receiver: Receiver | FewReceiver, part: Part) -> None:
    while (packets := await call.receive_raw()) is not None:
        part.add(sum(map(len, packets)))
        await receiver.feed(*packets)
    await receiver.end()


async def _answer(call: ClientStream, receiver: Receiver | FewReceiver) -> None:
    async for packets in receiver.packets():
        await call.send_raw(*packets)
    call.end()


def _encoded(values: Mapping[str, Sequence[str] | None]) -> dict[str, list[str]]:
    """As headers want them: a key with anything beyond ASCII is escaped, and says so."""
    found: dict[str, list[str]] = {}
    for key, texts in values.items():
        if not texts:
            continue
        if all(text.isascii() for text in texts):
            found[key] = list(texts)
        else:
            found[key] = [quote_plus(text, errors="surrogateescape") for text in texts]
            found[f"{key}-encoded"] = ["1"]
    return found
