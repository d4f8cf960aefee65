"""What flows: attach in all its forms, execs with input and terminals, logs of what still runs."""

from functools import partial
from typing import Any

from conformance.differential.recorder import Recorder, joined
from conformance.test_websocket import messages, send, websocket
from conformance.until import until
from conformance.wire import Hijacked

ALL: dict[str, Any] = {"stream": True, "stdin": True, "stdout": True, "stderr": True}
READER = ("sh", "-c", "while read line; do echo got $line; echo seen $line >&2; done; exit 5")
SHELL = ("sh", "-c", "while read line; do stty size; echo got $line; done")


def _attach(r: Recorder, container: str, *, upgrade: bool = True, **query: Any) -> Hijacked:
    return r.wire.hijack(f"/containers/{container}/attach", upgrade=upgrade, version=r.version, **query)


def _keep(r: Recorder, label: str, stream: Hijacked, data: bytes, *, raw: bool = False) -> None:
    """How a stream began, and all that came."""
    kind = stream.headers.get("content-type")
    output = data.decode() if raw or data[:1] not in {b"\0", b"\1", b"\2"} else joined(data)
    r.keep(label, {"status": stream.status, "content-type": kind, "output": output})


def _logged(r: Recorder, container: str, *texts: bytes) -> bool:
    answer = r.wire.request("GET", f"/containers/{container}/logs", stdout=True, stderr=True)
    return all(text in answer.body for text in texts)


def attaches(r: Recorder) -> None:
    for name, upgrade in (("both", True), ("old", False)):
        box = r.create(f"attached-{name}", *READER, OpenStdin=True, StdinOnce=True)
        with _attach(r, box, upgrade=upgrade, **ALL) as stream:
            r.ask(f"start with {name}", "POST", f"/containers/{box}/start")
            stream.send(b"one\ntwo\n")
            stream.end_input()
            _keep(r, f"attach, {name}", stream, stream.read_all())
        r.ended(box)
        r.inspect(f"after {name}", box)
        with _attach(r, box, logs=True, stdout=True, stderr=True) as stream:
            _keep(r, f"logs by attach, {name}", stream, stream.read_all())
    box = r.run("watched", *READER, OpenStdin=True)
    for name in ("stdout", "stderr"):
        line = f"{name} only\n".encode()
        with _attach(r, box, stream=True, stdin=True, **{name: True}) as stream:
            stream.send(line)
            _keep(r, f"attach, {name}", stream, stream.read_until(line))
        # All of it has come, so that who attaches next hears nothing of it.
        until(partial(_logged, r, box, b"got " + line, b"seen " + line))
    r.ask("attach without a stream", "POST", f"/containers/{box}/attach")
    r.ask("attach with bad keys", "POST", f"/containers/{box}/attach", stream=True, detachKeys="ctrl-xx")
    r.ask("pause", "POST", f"/containers/{box}/pause")
    r.ask("attach when paused", "POST", f"/containers/{box}/attach", stream=True, stdout=True)
    r.ask("attach/ws when paused", "GET", f"/containers/{box}/attach/ws", stream=True, stdout=True)
    r.ask("unpause", "POST", f"/containers/{box}/unpause")
    r.ask("kill", "POST", f"/containers/{box}/kill")
    r.ended(box)


def terminals(r: Recorder) -> None:
    box = r.create("terminal", *SHELL, Tty=True, OpenStdin=True, host={"ConsoleSize": [11, 22]})
    with _attach(r, box, **ALL) as stream:
        r.ask("start", "POST", f"/containers/{box}/start")
        stream.send(b"first\n")
        first = stream.read_until(b"got first\r\n")
        r.ask("resize", "POST", f"/containers/{box}/resize", h=33, w=77)
        stream.send(b"second\n")
        _keep(r, "attach", stream, first + stream.read_until(b"got second\r\n"), raw=True)
        stream.send(b"\x10\x11")
        _keep(r, "detach", stream, stream.read_all(), raw=True)
    with _attach(r, box, **ALL, detachKeys="a,ctrl-b") as stream:
        stream.send(b"third\n")
        stream.read_until(b"got third\r\n")
        stream.send(b"a\x02")
        _keep(r, "detach by other keys", stream, stream.read_all(), raw=True)
    r.inspect("still there", box)
    with _attach(r, box, **ALL) as stream:
        stream.send(b"\x04")
        _keep(r, "end of input", stream, stream.read_all(), raw=True)
    r.ended(box)
    r.ask("resize after the end", "POST", f"/containers/{box}/resize", h=33, w=77)
    r.ask("logs", "GET", f"/containers/{box}/logs", stdout=True, stderr=True)


def websockets(r: Recorder) -> None:
    box = r.create("websocket", "sh", "-c", "read x; echo got $x; read x", OpenStdin=True, StdinOnce=True)
    with websocket(r.wire, box, r.version, stream=True, stdin=True, stdout=True) as stream:
        r.ask("start", "POST", f"/containers/{box}/start")
        send(stream, b"hello\n")
        send(stream, b"more\n")
        r.keep("attach/ws", {"status": stream.status, "output": messages(stream).decode()})
    r.ended(box)
    with websocket(r.wire, box, r.version, logs=True, stdout=True) as stream:
        r.keep("logs", {"status": stream.status, "output": messages(stream).decode()})


def exec_streams(r: Recorder) -> None:
    box = r.run("exec-streams", "sleep", "1000")

    def made(name: str, *command: str, **config: Any) -> str:
        body = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Cmd": command, **config}
        answer = r.ask(f"{name}, create", "POST", f"/containers/{box}/exec", body)
        r.names.learn(str(answer.json()["Id"]), f"<exec {name}>")
        return str(answer.json()["Id"])

    def ended(name: str, exec_id: str) -> None:
        until(lambda: r.wire.get(f"/exec/{exec_id}/json")["Running"] is False, "the exec's end")
        r.ask(f"{name}, inspect", "GET", f"/exec/{exec_id}/json")

    exec_id = made("reader", *READER)
    with r.wire.hijack(f"/exec/{exec_id}/start", {}, version=r.version) as stream:
        stream.send(b"one\ntwo\n")
        stream.end_input()
        _keep(r, "reader", stream, stream.read_all())
    ended("reader", exec_id)
    exec_id = made("old", *READER)
    with r.wire.hijack(f"/exec/{exec_id}/start", {}, upgrade=False, version=r.version) as stream:
        stream.send(b"one\n")
        stream.end_input()
        _keep(r, "old", stream, stream.read_all())
    ended("old", exec_id)
    exec_id = made("terminal", *SHELL, Tty=True, ConsoleSize=[11, 22])
    with r.wire.hijack(
        f"/exec/{exec_id}/start", {"Tty": True, "ConsoleSize": [12, 24]}, version=r.version
    ) as stream:
        stream.send(b"first\n")
        first = stream.read_until(b"got first\r\n")
        r.ask("resize", "POST", f"/exec/{exec_id}/resize", h=33, w=77)
        stream.send(b"second\n\x04")
        _keep(r, "terminal", stream, first + stream.read_all(), raw=True)
    ended("terminal", exec_id)
    # For a moment the process may be there and stopped.
    until(lambda: r.wire.request("POST", f"/exec/{exec_id}/resize", None, h="33", w="77").status == 404)
    r.ask("resize after the end", "POST", f"/exec/{exec_id}/resize", h=33, w=77)
    exec_id = made("without a tty", "true")
    r.ask("size without a tty", "POST", f"/exec/{exec_id}/start", {"Detach": True, "ConsoleSize": [1, 2]})
    until(lambda: r.wire.get(f"/exec/{exec_id}/json")["Running"] is False, "the exec's end")
    r.ask("tty when detached", "POST", f"/exec/{exec_id}/start", {"Detach": True, "Tty": True})
    ended("without a tty", exec_id)
    r.ask("remove", "DELETE", f"/containers/{box}", force=True)


def live_logs(r: Recorder) -> None:
    """Of one that runs: what is there, and what is followed until the end."""
    # To stdout only: where stderr's lines come among them is chance.
    script = "for i in 1 2 3 4 5; do echo $i; done; read x; echo last; exit 3"
    box = r.create("live", "sh", "-c", script, OpenStdin=True, Env=["E=1"], Labels={"l": "1"})
    options: dict[str, Any] = {"stdout": True, "stderr": True}
    r.ask("before the start", "GET", f"/containers/{box}/logs", **options)
    r.ask("start", "POST", f"/containers/{box}/start")
    until(lambda: b"5\n" in r.wire.request("GET", f"/containers/{box}/logs", stdout=True).body)
    r.ask("running", "GET", f"/containers/{box}/logs", **options)
    r.ask("tail 2", "GET", f"/containers/{box}/logs", stdout=True, tail=2)
    r.ask("until now", "GET", f"/containers/{box}/logs", **options, until="4000000000")
    with (
        r.wire.open("GET", f"/containers/{box}/logs", version=r.version, follow=True, **options) as following,
        _attach(r, box, stream=True, stdin=True) as stream,
    ):
        stream.send(b"go on\n")
        _keep(r, "followed", Hijacked(stream.sock, following.status, {}), following.read())
    r.ended(box)
    old = r.wire.request("GET", f"/containers/{box}/logs", version="1.41", **options)
    r.keep("type for an old client", old.headers.get("content-type"))
    r.ask("tail 1, timestamps", "GET", f"/containers/{box}/logs", stdout=True, tail=1, timestamps=True)
