"""Asks one engine the script's questions and keeps what it answered, without what is new each time."""

import base64
import http.client
import json
from typing import Any

from conformance import images
from conformance.differential.listener import Listener
from conformance.differential.normal import Names, shape
from conformance.until import until
from conformance.wire import Answer, Wire, frames

IMAGE = "differential/busybox:1"
PREFIX = "df-"
HEADERS = ("content-type", "x-docker-container-path-stat", "location", "allow")


class Recorder:
    """One run of the script, asking in one API version: `steps` are what was answered, by label, in order.

    Nothing in the script may depend on time or chance: it waits for states, not for seconds.
    """

    def __init__(self, host: str, version: str) -> None:
        self.wire = Wire(host)
        self.steps: dict[str, Any] = {}
        self.names = Names()
        self.part = ""
        self.version = version
        self.names.learn(self.wire.get("/info")["DockerRootDir"], "<root>")
        self.clean()
        image = images.Image(
            [images.busybox_root()], {"Cmd": ["sh"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}
        )
        bare = images.Image([images.busybox_root()], {"Labels": {"bare": "yes"}})
        archive = images.docker_archive({IMAGE: image, "differential/bare:1": bare})
        self.wire.post("/images/load", archive, status=200, quiet=True)
        self.listener = Listener(self.wire, version)

    # -- keeping

    def keep(self, label: str, value: Any) -> None:
        key = f"{self.part}: {label}"
        assert key not in self.steps, f"two steps of one name: {key}"
        self.steps[key] = self.names.clean(value)

    def ask(
        self,
        label: str,
        method: str,
        path: str,
        body: Any = None,
        /,
        *,
        version: str = "",
        headers: dict[str, str] | None = None,
        take: Any = None,
        **query: Any,
    ) -> Answer:
        """Ask and keep the answer. `take` makes what is kept of its JSON (a function of it)."""
        target = self.wire.path(path, version or self.version, **query)
        answer = self.send(method, target, body, headers or {})
        kept = {"status": answer.status, "headers": {}, "body": read(answer)}
        for name in HEADERS:
            if name in answer.headers:
                kept["headers"][name] = header(name, answer.headers[name])
        if take and answer.status < 300:
            kept["body"] = take(kept["body"])
        self.keep(label, kept)
        return answer

    def send(self, method: str, target: str, body: Any, headers: dict[str, str]) -> Answer:
        """One request in one write: an engine that refuses it may answer and close before it has read all."""
        lines = {"Host": "d", "Connection": "close", **headers}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            lines.setdefault("Content-Type", "application/json")
        lines["Content-Length"] = str(len(body or b""))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        with self.wire.connect() as sock:
            sock.sendall(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + (body or b""))
            response = http.client.HTTPResponse(sock, method=method)
            response.begin()
            found = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, found, response.read())

    # -- short ways

    def create(self, name: str, *command: str, image: str = IMAGE, host: Any = None, **config: Any) -> str:
        """Create a container and keep the answer; `name` goes without the prefix. Returns its full name."""
        body = {"Image": image, "HostConfig": host or {}, **config}
        if command:
            body["Cmd"] = list(command)
        full = PREFIX + name
        answer = self.ask(f"create {name}", "POST", "/containers/create", body, name=full)
        if answer.status == 201:
            self.names.learn(answer.json()["Id"], f"<{name}>")
        return full

    def run(self, name: str, *command: str, **options: Any) -> str:
        full = self.create(name, *command, **options)
        self.ask(f"start {name}", "POST", f"/containers/{full}/start")
        return full

    def inspect(self, label: str, container: str, **query: Any) -> Any:
        return self.ask(label, "GET", f"/containers/{container}/json", **query).json()

    def listed(self, label: str, **query: Any) -> None:
        """A list of containers, of this script's only."""

        def take(found: list[Any]) -> list[Any]:
            return [c for c in found if any(name.startswith("/" + PREFIX) for name in c["Names"] or [])]

        self.ask(label, "GET", "/containers/json", take=take, **query)

    def state(self, container: str) -> Any:
        return self.wire.get(f"/containers/{container}/json")["State"]

    def ended(self, container: str) -> None:
        """Wait until it has ended and nothing more comes of that."""
        self.wire.post(f"/containers/{container}/wait", status=200)
        until(lambda: self.state(container)["Status"] in {"exited", "created"}, "the end")
        # dockerd's list learns of it a little later.
        query: dict[str, Any] = {"id": [self.wire.get(f"/containers/{container}/json")["Id"]]}
        until(lambda: self.wire.get("/containers/json", all=True, filters=query)[0]["State"] != "running")

    def stats(self, label: str, container: str, **query: Any) -> None:
        self.ask(label, "GET", f"/containers/{container}/stats", take=shape, **query)

    def exec(self, label: str, container: str, *command: str, start: Any = None, **config: Any) -> str:
        """Create an exec, run it attached and keep everything. Returns its ID."""
        body = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command), **config}
        made = self.ask(f"{label}, create", "POST", f"/containers/{container}/exec", body)
        exec_id = str(made.json()["Id"])
        self.names.learn(exec_id, f"<exec {label}>")
        start_it = {"Detach": False, **(start or {})}
        with self.wire.hijack(f"/exec/{exec_id}/start", start_it, version=self.version) as stream:
            data = stream.read_all()
            kept: dict[str, Any] = {
                "status": stream.status,
                "content-type": stream.headers.get("content-type"),
            }
        kept["output"] = data.decode() if (start or {}).get("Tty") else joined(data)
        self.keep(f"{label}, start", kept)
        until(lambda: not self.wire.get(f"/exec/{exec_id}/json")["Running"], "the exec's end")
        self.ask(f"{label}, inspect", "GET", f"/exec/{exec_id}/json")
        return exec_id

    # -- the end

    def events(self) -> None:
        """Everything of this run: for each container and volume the events in their order."""
        last = self.create("last", "true")
        self.ask("remove last", "DELETE", f"/containers/{last}")
        self.part = "events"
        for whose, events in sorted(self.listener.until("<last>", self.names.clean).items()):
            self.keep(whose, dict(enumerate(events)))

    def clean(self) -> None:
        for container in self.wire.get("/containers/json", all=True):
            if any(name.startswith("/" + PREFIX) for name in container["Names"] or []):
                self.wire.request("DELETE", f"/containers/{container['Id']}", force=True, v=True)
        for network in self.wire.get("/networks"):
            if network["Name"].startswith(PREFIX):
                self.wire.request("DELETE", f"/networks/{network['Id']}")
        for volume in self.wire.get("/volumes")["Volumes"] or []:
            if volume["Name"].startswith(PREFIX):
                self.wire.request("DELETE", f"/volumes/{volume['Name']}", force=True)
        for image in self.wire.get("/images/json"):
            for tag in image["RepoTags"] or []:
                if tag.startswith("differential/"):
                    self.wire.request("DELETE", f"/images/{tag}", force=True)


def joined(data: bytes) -> dict[str, str]:
    """A multiplexed stream by its streams: how output is cut into frames is chance."""
    found: dict[str, str] = {}
    for stream, payload in frames(data):
        found[str(stream)] = found.get(str(stream), "") + payload.decode()
    return found


def read(answer: Answer) -> Any:
    """A body as JSON, as a list of JSON lines, as streams, or as text."""
    kind = answer.headers.get("content-type", "")
    if kind.startswith("application/json") and answer.body:
        try:
            return answer.json()
        except ValueError:
            return [json.loads(line) for line in answer.body.splitlines()]
    if answer.body[:1] in {b"\0", b"\1", b"\2"} and answer.body[1:4] == b"\0\0\0":
        return joined(answer.body)
    return "<tar>" if answer.body[257:262] == b"ustar" else answer.body.decode()


def header(name: str, value: str) -> Any:
    if name == "x-docker-container-path-stat":
        return json.loads(base64.b64decode(value))
    return value
