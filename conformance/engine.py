"""The engine under test, and short ways to make containers on it."""

import ipaddress
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker  # type: ignore[import-untyped]

from conformance import images
from conformance.wire import Wire, demux

LABEL = "conformance.run"


def version(text: str) -> tuple[int, ...]:
    """`"1.44"` → `(1, 44)`."""
    return tuple(int(part) for part in text.split("."))


def host() -> str:
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


@dataclass
class Ended:
    """What became of a container that ran to its end."""

    id: str
    code: int
    out: str
    err: str


class Engine:
    """One engine for one run. Whatever is made goes by `prefix` or carries the label of this run.

    Images made here have the label in their configuration, so that every container made of them has it too,
    whichever client makes it: that is how they are found and removed.
    """

    def __init__(self) -> None:
        self.host = host()
        self.wire = Wire(self.host)
        self.docker = docker.DockerClient(base_url=self.host, timeout=60)
        self.version = self.wire.get("/version")
        self.api = str(self.version["ApiVersion"])
        self.min_api = str(self.version["MinAPIVersion"])
        self.info = self.wire.get("/info")
        self.run_id = secrets.token_hex(4)
        self.prefix = f"cf{self.run_id}"
        self.image = f"{self.prefix}/busybox:1"
        self.labels = {LABEL: self.run_id}
        self.keep: set[str] = set()

    # -- what it is

    def at_least(self, api: str) -> bool:
        return version(self.api) >= version(api)

    def pick(self, texts: dict[str, Any]) -> Any:
        """Of answers keyed by the API version that brought them, the one for this engine."""
        return texts[max((v for v in texts if self.at_least(v)), key=version)]

    def words(self, *, runc: Any, crun: Any) -> Any:
        """What is said of a start that fails is the OCI runtime's: by the engine's default one.

        Any other runtime is held to runc's words. crun's are those of 1.8, as dockerd hands them on.
        """
        return crun if self.info["DefaultRuntime"] == "crun" else runc

    @property
    def root(self) -> Path | None:
        """The data root, when it is a folder that we can read."""
        path = Path(self.info["DockerRootDir"])
        return path if self.host.startswith("unix:") and (path / "containers").is_dir() else None

    def name(self, hint: str = "box") -> str:
        """A name that nobody else uses."""
        return f"{self.prefix}-{hint}-{secrets.token_hex(3)}"

    # -- images

    def base(self, **config: Any) -> images.Image:
        """A busybox image of this run, as parts."""
        labels = {**self.labels, **config.pop("Labels", {})}
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return images.Image(
            [images.busybox_root()], {"Cmd": ["sh"], "Env": [path], **config, "Labels": labels}
        )

    def load(self, archive: bytes) -> str:
        """Load an archive; returns the stream of messages."""
        answer = self.wire.post("/images/load", archive, status=200, quiet=True)
        return answer.body.decode()

    def make_image(self, hint: str, *, more: list[bytes] | None = None, **config: Any) -> str:
        """Load an image with this configuration and these layers on top of busybox; returns its tag."""
        image = self.base(**config)
        image.layers += more or []
        tag = f"{self.prefix}/{hint}-{secrets.token_hex(3)}:1"
        self.load(images.docker_archive({tag: image}))
        return tag

    # -- containers

    def create(self, *command: str, name: str = "", host: dict[str, Any] | None = None, **config: Any) -> str:
        """Create a container; `host` is its HostConfig, the rest its Config. Returns the ID."""
        body = {"Image": self.image, "HostConfig": host or {}, **config}
        if command:
            body["Cmd"] = list(command)
        query = {"name": name} if name else {}
        answer = self.wire.post("/containers/create", body, status=201, **query)
        return str(answer.json()["Id"])

    def start(self, container: str) -> None:
        self.wire.post(f"/containers/{container}/start", status=204)

    def run(self, *command: str, name: str = "", host: dict[str, Any] | None = None, **config: Any) -> str:
        """Create and start; returns the ID."""
        container = self.create(*command, name=name, host=host, **config)
        self.start(container)
        return container

    def sleeper(self, **options: Any) -> str:
        """A container that does nothing, long."""
        return self.run("sleep", "1000", **options)

    def wait(self, container: str, **query: Any) -> int:
        """The exit code, when it has ended."""
        return int(self.wire.post(f"/containers/{container}/wait", status=200, **query).json()["StatusCode"])

    def logs(self, container: str, **query: Any) -> tuple[str, str]:
        """stdout and stderr so far, of a container without a terminal."""
        answer = self.wire.request(
            "GET", f"/containers/{container}/logs", **{"stdout": True, "stderr": True, **query}
        )
        assert answer.status == 200, answer
        out, err = demux(answer.body)
        return out.decode(), err.decode()

    def ended(self, *command: str, host: dict[str, Any] | None = None, **config: Any) -> Ended:
        """Run a command to its end and read its logs."""
        container = self.run(*command, host=host, **config)
        code = self.wait(container)
        out, err = self.logs(container)
        return Ended(container, code, out, err)

    def sh(self, script: str, host: dict[str, Any] | None = None, **config: Any) -> Ended:
        """Run a shell script in a container of its own to its end."""
        return self.ended("sh", "-c", script, host=host, **config)

    def inspect(self, container: str, **query: Any) -> Any:
        return self.wire.get(f"/containers/{container}/json", **query)

    def state(self, container: str) -> Any:
        return self.inspect(container)["State"]

    def remove(self, container: str) -> None:
        self.wire.request("DELETE", f"/containers/{container}", force=True, v=True)

    def exec(self, container: str, *command: str, **config: Any) -> Ended:
        """Run a command in a running container to its end."""
        body = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command), **config}
        exec_id = str(self.wire.post(f"/containers/{container}/exec", body, status=201).json()["Id"])
        with self.wire.hijack(f"/exec/{exec_id}/start", {"Detach": False}) as stream:
            out, err = demux(stream.read_all())
        code = self.wire.get(f"/exec/{exec_id}/json")["ExitCode"]
        return Ended(exec_id, code, out.decode(), err.decode())

    def get_from(self, container: str, address: str, port: int) -> str:
        """What an HTTP server answers to a container, headers and all. (busybox's static wget crashes.)"""
        script = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 10 {address} {port}"
        return self.exec(container, "sh", "-c", script).out

    def bridge(self) -> tuple[ipaddress.IPv4Network, str]:
        """The default network's subnet, and the engine's own address on it."""
        config = self.wire.get("/networks/bridge")["IPAM"]["Config"][0]
        subnet = ipaddress.IPv4Network(config["Subnet"])
        return subnet, str(config.get("Gateway") or next(subnet.hosts()))

    # -- cleaning up

    def sweep(self) -> None:
        """Remove the containers of this run that nobody asked to keep."""
        filters = {"label": [f"{LABEL}={self.run_id}"]}
        for container in self.wire.get("/containers/json", all=True, filters=filters):
            if container["Id"] not in self.keep:
                self.remove(container["Id"])

    def close(self) -> None:
        """Remove everything of this run."""
        self.keep.clear()
        self.sweep()
        for network in self.wire.get("/networks"):
            if network["Name"].startswith(self.prefix):
                self.wire.request("DELETE", f"/networks/{network['Id']}")
        volumes = self.wire.request("GET", "/volumes")
        for volume in (volumes.json().get("Volumes") or []) if volumes.status == 200 else []:
            if volume["Name"].startswith(self.prefix):
                self.wire.request("DELETE", f"/volumes/{volume['Name']}", force=True)
        for image in self.wire.get("/images/json", all=True):
            tags = [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
            references = tags + [d for d in image.get("RepoDigests") or [] if not d.startswith("<none>")]
            labelled = (image.get("Labels") or {}).get(LABEL) == self.run_id
            for reference in references:
                if self.prefix in reference:
                    self.wire.request("DELETE", f"/images/{reference}", force=True)
            if labelled:
                self.wire.request("DELETE", f"/images/{image['Id']}", force=True)
        self.docker.close()
