"""The container operations whose answers go on: logs, wait, attach."""

import asyncio
from typing import Any

from compatd.api.relay import Connection, Unframed, relay
from compatd.engine.containers import attach, exits, logs
from compatd.engine.containers.attach import AttachOptions
from compatd.engine.containers.logentries import LogQuery
from compatd.engine.engine import Engine
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.timestamps import parse_timestamp
from compatd.http import MULTIPLEXED_STREAM, RAW_STREAM, Answer, Call, Handler, Json


def _moment(name: str, value: Any) -> int:
    """`since` and `until`: seconds since 1970 with a fraction; "" and 0 are no limit."""
    text = str(value or "")
    if text in ("", "0"):
        return 0
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise InvalidParameter(f'invalid value for "{name}": {error}') from None


def _tail(value: Any) -> int:
    try:
        return int(str(value))
    except ValueError:
        return -1


async def container_logs(engine: Engine, call: Call) -> Answer | None:
    query = call.query
    stdout, stderr = bool(query.get("stdout")), bool(query.get("stderr"))
    if not stdout and not stderr:
        raise InvalidParameter("must specify at least one of 'stdout' or 'stderr'")
    wanted = LogQuery(
        stdout=stdout,
        stderr=stderr,
        since=_moment("since", query.get("since")),
        until=_moment("until", query.get("until")),
        tail=_tail(query.get("tail")),
        timestamps=bool(query.get("timestamps")),
        details=bool(query.get("details")),
        follow=bool(query.get("follow")),
    )
    container = engine.containers.find(call.path["id"])
    logs.check_readable(container)
    multiplexed = not container.tty and call.version >= "1.42"
    stream = await call.stream(MULTIPLEXED_STREAM if multiplexed else RAW_STREAM)
    async for piece in logs.read_logs(engine.containers, container, wanted):
        await stream.write(piece)
    return None


async def container_stats(engine: Engine, call: Call) -> Answer | None:
    container = engine.containers.find(call.path["id"])
    stats = engine.containers.stats
    if not call.query.get("stream"):
        call.abandonable = True
        return Json(await stats.once(container, one_shot=bool(call.query.get("one-shot"))))
    stream = await call.stream("")
    async with stats.stream(container) as samples:
        async for sample in samples:
            await stream.json(sample)
    return None


async def container_wait(engine: Engine, call: Call) -> Answer | None:
    at_once = call.version >= "1.30"  # the head comes before the end; older clients get all in one
    condition = (call.query.get("condition") or "") if at_once else ""
    exits.check_condition(condition)
    future = engine.containers.wait(call.path["id"], condition)
    try:
        call.abandonable = True
        stream = await call.stream("application/json") if at_once else None
        code, error = await future
    finally:
        future.cancel()
    answer: dict[str, Any] = {"StatusCode": code}
    if error:
        answer["Error"] = {"Message": error}
    if stream is None:
        return Json(answer)
    await stream.json(answer)
    return None


async def container_attach(engine: Engine, call: Call) -> Answer | None:
    try:
        await _attach(engine, call, websocket=False)
    except EngineError as error:
        await call.hijack_error(error.status, error.message)
    return None


async def container_attach_websocket(engine: Engine, call: Call) -> Answer | None:
    await _attach(engine, call, websocket=True)
    return None


def _options(call: Call, *, websocket: bool, stdin: bool, keys: bytes) -> AttachOptions:
    """Which streams; a websocket of a client before 1.42 has all."""
    query = call.query
    every = websocket and call.version < "1.42"
    return AttachOptions(
        stdin=stdin and (every or bool(query.get("stdin"))),
        stdout=every or bool(query.get("stdout")),
        stderr=every or bool(query.get("stderr")),
        detach_keys=keys,
    )


async def _attach(engine: Engine, call: Call, *, websocket: bool) -> None:
    containers = engine.containers
    container, keys = attach.check(containers, call.path["id"], call.query.get("detachKeys") or "")
    options = _options(call, websocket=websocket, stdin=bool(container.config["OpenStdin"]), keys=keys)
    sock = None
    if call.query.get("stream"):
        # Before the client hears of its upgrade: it starts the container then.
        sock = await attach.open_stream(containers, container, options)
    try:
        client: Connection
        if websocket:
            opened = await call.websocket()
            client = opened if container.tty else Unframed(opened)
        else:
            client = await call.hijack(RAW_STREAM if container.tty else MULTIPLEXED_STREAM)
        if call.query.get("logs"):
            wanted = LogQuery(stdout=options.stdout, stderr=options.stderr)
            try:
                async for piece in logs.read_logs(containers, container, wanted):
                    await client.write(piece)
            except EngineError as error:
                await client.write(f"Error attaching: {error.message}\n".encode())
                return
        containers.emit(container, "attach")
        if sock is None:
            return
        watch = attach.InputWatch(tty=container.tty, keys=keys)
        await relay(client, sock, stdin=options.stdin, watch=watch)
        await attach.stream_ended(containers, container, watch)
    finally:
        if sock is not None:
            attach.close_stream(container, sock)
            await asyncio.sleep(0)


STREAM_HANDLERS: dict[str, Handler] = {
    "ContainerLogs": container_logs,
    "ContainerStats": container_stats,
    "ContainerWait": container_wait,
    "ContainerAttach": container_attach,
    "ContainerAttachWebsocket": container_attach_websocket,
}
