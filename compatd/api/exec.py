"""`/containers/{id}/exec` and `/exec`: decode, one engine call, encode."""

from typing import Any

from compatd.api.relay import relay
from compatd.engine.containers.attach import InputWatch
from compatd.engine.engine import Engine
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.http import MULTIPLEXED_STREAM, RAW_STREAM, Answer, Call, Empty, Handler, Json


async def container_exec(engine: Engine, call: Call) -> Answer:
    options: dict[str, Any] = call.body or {}
    if not options.get("Cmd"):
        raise InvalidParameter("No exec command specified")
    if call.version < "1.42":
        options.pop("ConsoleSize", None)
    return Json({"Id": engine.execs.create(call.path["id"], options)}, status=201)


async def exec_start(engine: Engine, call: Call) -> Answer | None:
    body: dict[str, Any] = call.body or {}
    item = engine.execs.check_start(call.path["id"])
    tty = bool(body.get("Tty"))
    console = body.get("ConsoleSize") if tty and call.version >= "1.42" else None
    if body.get("Detach"):
        await engine.execs.start(item, attached=False, console=console)
        return Empty(200)
    client = await call.hijack(RAW_STREAM if tty else MULTIPLEXED_STREAM)
    try:
        sock = await engine.execs.start(item, attached=True, console=console)
    except EngineError as error:
        text = f"{error.message}\r\n".encode()
        await client.write(text if tty else b"\x01\0\0\0" + len(text).to_bytes(4, "big") + text)
        return None
    if sock is None:
        return None
    watch = InputWatch(tty=bool(item.options.get("Tty")), keys=item.detach_keys)
    with sock:
        await relay(client, sock, stdin=bool(item.options.get("AttachStdin")), watch=watch)
    await engine.execs.finished(item, watch)
    return None


async def exec_resize(engine: Engine, call: Call) -> Answer:
    height, width = int(call.query.get("h") or 0), int(call.query.get("w") or 0)
    await engine.execs.resize(call.path["id"], height, width)
    return Empty(200)


async def exec_inspect(engine: Engine, call: Call) -> Answer:
    return Json(engine.execs.inspect(call.path["id"]))


HANDLERS: dict[str, Handler] = {
    "ContainerExec": container_exec,
    "ExecStart": exec_start,
    "ExecResize": exec_resize,
    "ExecInspect": exec_inspect,
}
