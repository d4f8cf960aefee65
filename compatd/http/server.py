"""The server: listeners in, handlers called, answers out. Built on one Sanic application in one process."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sanic import Sanic
from sanic.touchup.service import TouchUp

from apispec.decode import decode_body
from apispec.model import BadRequest, Binary, Operation
from apispec.query import decode_query
from apispec.versions import Version, VersionError, negotiate
from compatd.http import errors, swarm
from compatd.http.answers import Answer, Empty, Json, Raw, Text, encode
from compatd.http.call import PROGRESS, Answered, Call, Handler
from compatd.http.exchange import ClientGone, Exchange
from compatd.http.gatekeeping import Gate
from compatd.http.hangups import Hangups
from compatd.http.head import Head
from compatd.http.listeners import BACKLOG, UnixListener
from compatd.http.protocol import Protocol
from compatd.http.routing import Router, clean, location, split_version
from compatd.http.tlstransport import Handshakes, Layer

log = logging.getLogger(__name__)

JSON_LIMIT = 64 << 20  # bytes of a JSON body

# From Python 3.13 on a server removes its sockets' files, systemd's too. Those of ours go with `unlink`.
_FILE_STAYS: Any = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
_PING = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache"}
_apps = 0


@dataclass(frozen=True)
class Identity:
    """What the engine tells about itself in headers.

    server_header: ``Docker/29.0.0 (linux)``; api_version, oldest: the newest and the oldest version;
    swarm: the local node's state; builder_version is asked at each ping, as the configuration may change.
    """

    server_header: str
    api_version: str = "1.56"
    oldest: str = "1.24"
    ostype: str = "linux"
    experimental: bool = False
    builder_version: Callable[[], str] = lambda: "1"
    swarm: str = "inactive"


class Server:
    """Serves ``handlers`` (by operation ID), each called with ``engine`` and the Call.

    operations: the API; by default all of ``apispec``'s. gate: decides who may do what. refused: what
    else is done, by operation ID, before a request is answered with an error.
    """

    def __init__(
        self,
        engine: Any,
        handlers: Mapping[str, Handler],
        *,
        identity: Identity,
        operations: Iterable[Operation] | None = None,
        gate: Gate | None = None,
        refused: Mapping[str, Callable[[Any, Call], None]] | None = None,
    ) -> None:
        self.engine = engine
        self.handlers = handlers
        self.identity = identity
        self.gate = gate
        self.refused = refused or {}
        self.hangups = Hangups()
        self.router = Router(_all_operations() if operations is None else operations)
        self._version_headers = {
            "Api-Version": identity.api_version,
            "Ostype": identity.ostype,
            "Server": identity.server_header,
        }
        self._headers = {
            **self._version_headers,
            "Docker-Experimental": "true" if identity.experimental else "false",
        }
        self._ping = {**self._headers, **_PING, "Swarm": identity.swarm}
        self._minimum, self._maximum = Version(identity.oldest), Version(identity.api_version)
        self._app: Sanic[Any, Any] | None = None
        self._connections: set[Protocol] = set()
        self._servers: list[asyncio.AbstractServer] = []
        self._unix: list[UnixListener] = []
        self._handshakes = Handshakes()
        self._openapi = b""
        self._latest = 0.0

    # life

    async def start(self, listeners: list[socket.socket], tls: ssl.SSLContext | None = None) -> None:
        """Accepts connections on bound, listening sockets, which are the server's from now on.

        tls: for all of them but unix sockets.
        """
        loop = asyncio.get_running_loop()
        if self._app is None:
            self._app = await _sanic(loop)
        factory = partial(
            Protocol, server=self, loop=loop, app=self._app, connections=self._connections, unix=True
        )
        for sock in listeners:
            if sock.family == socket.AF_UNIX:
                made = loop.create_unix_server(factory, sock=sock, backlog=BACKLOG, **_FILE_STAYS)
            else:  # without a backlog they listen anew with room for 100: more at once would be refused
                secure = partial(_secured, tls, factory, self._handshakes) if tls else factory
                made = loop.create_server(secure, sock=sock, backlog=BACKLOG)
            server: asyncio.AbstractServer = await made
            self._servers.append(server)
            if isinstance(sock, UnixListener):
                self._unix.append(sock)

    async def stop(self, timeout: float) -> None:
        """Accepts no more, lets requests end for up to ``timeout`` seconds, then cuts off what is left."""
        for listener in self._unix:
            listener.unlink()
        for server in self._servers:
            server.close()
        for protocol in list(self._connections):
            if not protocol.busy:
                protocol.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while self._connections and loop.time() < end:
            await asyncio.sleep(0.02)
        tasks = [protocol._task for protocol in self._connections if protocol._task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)
        for protocol in list(self._connections):
            protocol.abort()  # type: ignore[no-untyped-call]
        await asyncio.sleep(0)
        self.hangups.close()
        if self._app is not None:
            await self._app._server_event("shutdown", "before", loop=loop)
            await self._app._server_event("shutdown", "after", loop=loop)
            Sanic.unregister_app(self._app)
        self._servers.clear()
        self._unix.clear()

    def last_request(self) -> float | None:
        """When the last request came, by the loop's clock; None while one is under way."""
        return None if any(protocol.busy for protocol in self._connections) else self._latest

    # one request

    async def serve(self, protocol: Protocol, exchange: Exchange, head: Head) -> None:
        """Answers one request. Raises ClientGone or CancelledError when the connection is to end."""
        self._latest = asyncio.get_running_loop().time()
        path = clean(head.path)
        if path != head.path:
            await exchange.answer(301, [("Location", location(path, head.query))], None)
            return
        version_text, rest = split_version(path)
        found = self.router.match(head.method, rest)
        if found is None and head.method != "OPTIONS":
            if rest == "/openapi.json" and head.method == "GET":
                await self._send(exchange, Raw(self._description(), "application/json"), self._headers)
            else:
                await self._send(exchange, errors.answer(404, "page not found"), {})
            return
        try:
            version = negotiate(version_text, minimum=self._minimum, maximum=self._maximum)
        except VersionError as error:
            answer: Answer = errors.answer(400, error.message)
            if error.plain:
                answer = Text(error.message + "\n", 400, headers={"X-Content-Type-Options": "nosniff"})
            await self._send(exchange, answer, self._version_headers)
            return
        if found is None:
            await self._send(exchange, Empty(200), self._headers)
            return
        operation, names = found
        ticket = self._asked(protocol, operation, head)
        try:
            await self._serve(protocol, exchange, head, operation, version, names, ticket)
        finally:
            if ticket is not None and self.gate is not None:
                self.gate.answered(ticket, exchange.status)

    def _asked(self, protocol: Protocol, operation: Operation, head: Head) -> Any:
        if self.gate is None:
            return None
        if protocol.caller is None:  # asked again each time: rules may come while a connection lives
            protocol.caller = self.gate.arrived(protocol.transport)
        return self.gate.asked(protocol.caller, operation.id, head)

    async def _serve(
        self,
        protocol: Protocol,
        exchange: Exchange,
        head: Head,
        operation: Operation,
        version: Version,
        names: dict[str, str],
        ticket: Any,
    ) -> None:
        if operation.id in ("SystemPing", "SystemPingHead"):
            ping = {**self._ping, "Builder-Version": self.identity.builder_version()}
        if operation.id == "SystemPing":
            await exchange.answer(200, ping.items(), b"OK", "text/plain; charset=utf-8", late_type=True)
            return
        if operation.id == "SystemPingHead":
            headers = {**ping, "Content-Length": "0"}
            await exchange.answer(200, headers.items(), None, "text/plain; charset=utf-8")
            return
        call = Call(
            operation,
            version,
            names,
            protocol=protocol,
            exchange=exchange,
            head=head,
            headers=self._headers,
        )
        protocol.call = call
        call.ticket = ticket
        await self._call(call, exchange, head)

    async def _call(self, call: Call, exchange: Exchange, head: Head) -> None:
        answer: Answer | None
        try:
            answer = await self._handle(call, head)
        except (Answered, ClientGone) as over:
            if isinstance(over, ClientGone) and not exchange.protocol.hijacked:
                raise
            answer = None
        except Exception as error:
            answer = await self._failed(call, exchange, error)
        call.abandonable = False
        if exchange.protocol.hijacked:
            await self._end_hijack(exchange.protocol)
        elif call.stream_open is not None:
            await call.stream_open.finish()
        elif answer is not None:
            value = answer
            if isinstance(answer, Json) and answer.gated and answer.status < 400:
                content = answer.value if call.view is None else call.view(answer.value)
                value = Json(call.shaped(content), answer.status, headers=answer.headers)
            await self._send(exchange, value, self._headers)
        elif not exchange.started:
            await self._send(exchange, Empty(200), self._headers)

    async def _handle(self, call: Call, head: Head) -> Answer | None:
        operation = call.operation
        if operation.since and call.version < operation.since:
            return errors.too_young(operation)
        handler = self.handlers.get(operation.id)
        refusal = swarm.refusal(operation) if handler is None else None
        if refusal is not None:
            return errors.answer(*refusal)
        call.query = decode_query(operation, head.query, call.version)
        if operation.body is not None and not isinstance(operation.body, Binary):
            call.body = decode_body(
                operation,
                await call.read(JSON_LIMIT),
                call.header("content-type"),
                call.version,
                length_known=not head.chunked,
            )
        if self.gate is not None:
            self.gate.check(call.ticket, call)
        if handler is None:
            return errors.answer(
                501, f"{operation.id} ({operation.method} {operation.path}) is not built yet"
            )
        return await handler(self.engine, call)

    async def _failed(self, call: Call, exchange: Exchange, error: Exception) -> Answer | None:
        status, message = errors.status_and_message(error)
        if status >= 500:
            unexpected = error if errors.unexpected(error) else None
            log.error("Handler for %s returned error: %s", call.operation, message, exc_info=unexpected)
        if exchange.protocol.hijacked:
            return None
        if call.stream_open is not None:
            if call.operation.id in PROGRESS:
                note = {"errorDetail": {"message": message}, "error": message}
                await call.stream_open.write(encode(note, html=True) + b"\r\n")
                return None
            raise ClientGone from error  # cut off: the client must see that something is missing
        if call.operation.id == "ContainerAttach" and not isinstance(error, BadRequest):
            try:
                await call.hijack_error(status, message)
            except Answered:
                return None
        if call.operation.id in self.refused:
            self.refused[call.operation.id](self.engine, call)
        return errors.answer(status, message)

    async def _end_hijack(self, protocol: Protocol) -> None:
        if not protocol.detached:
            await protocol.linger(30)

    async def _send(self, exchange: Exchange, answer: Answer, headers: Mapping[str, str]) -> None:
        all_headers = {**headers, **answer.headers} if answer.headers else headers
        if isinstance(answer, Json):
            body = encode(answer.value) + b"\n"
            await exchange.answer(answer.status, all_headers.items(), body, "application/json")
        elif isinstance(answer, Raw):
            await exchange.answer(answer.status, all_headers.items(), answer.data, answer.content_type)
        else:
            await exchange.answer(answer.status, all_headers.items(), None)

    def _description(self) -> bytes:
        if not self._openapi:
            from apispec.openapi import document

            self._openapi = encode(document()) + b"\n"
        return self._openapi


def _secured(context: ssl.SSLContext, factory: Callable[[], Protocol], handshakes: Handshakes) -> Layer:
    return Layer(context, factory(), handshakes)


def _all_operations() -> Iterable[Operation]:
    from apispec.operations import OPERATIONS

    return OPERATIONS.values()


async def _sanic(loop: asyncio.AbstractEventLoop) -> Sanic[Any, Any]:
    """An application for the protocol to live in. Routes, middleware and signals of Sanic's are not used."""
    global _apps
    _apps += 1
    app: Sanic[Any, Any] = Sanic(f"compatd_{_apps}", configure_logging=False)
    app.config.ACCESS_LOG = False
    app.config.MOTD = False
    app.add_route(_unreachable, "/", name="unused")  # Sanic's router refuses to be empty
    TouchUp._registry.clear()  # the methods that it would rewrite at start are replaced by ours
    await app._startup()  # type: ignore[no-untyped-call]
    await app._server_event("init", "before", loop=loop)
    await app._server_event("init", "after", loop=loop)
    return app


async def _unreachable(request: Any) -> None:
    raise AssertionError
