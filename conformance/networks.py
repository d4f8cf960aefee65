"""Networks for tests: made with names of this run, removed with all that is on them."""

import re
import subprocess
from typing import Any

from conformance import netns
from conformance.engine import Engine
from conformance.wire import Answer

OVERLAP = {
    "1.24": "Pool overlaps with other one on this address space",
    "1.46": "invalid pool request: Pool overlaps with other one on this address space",
}
"""A subnet that another network has, by API version."""


class Made:
    """The networks that one test makes."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.names: list[str] = []

    def ask(self, **fields: Any) -> Answer:
        """A create request, with a new name unless one is given; whatever the answer."""
        fields.setdefault("Name", self.engine.name("net"))
        self.names.append(fields["Name"])
        return self.engine.wire.request("POST", "/networks/create", fields)

    def create(self, **fields: Any) -> str:
        """A network; its name."""
        answer = self.ask(**fields)
        assert answer.status == 201, answer
        return self.names[-1]

    def subnet(self, prefix: str, *more: dict[str, Any], **fields: Any) -> str:
        """A network with that subnet (and `more` entries of IPAM.Config); its name."""
        return self.create(IPAM={"Config": [{"Subnet": prefix}, *more]}, **fields)

    def inspect(self, name: str, **query: Any) -> dict[str, Any]:
        """What the engine says of it."""
        return dict(self.engine.wire.get(f"/networks/{name}", **query))

    def connect(self, network: str, container: str, **settings: Any) -> None:
        """Put a container on it."""
        body = {"Container": container, "EndpointConfig": settings}
        self.engine.wire.post(f"/networks/{network}/connect", body, status=200)

    def disconnect(self, network: str, container: str, *, force: bool = False) -> None:
        """Take a container off it."""
        body = {"Container": container, "Force": force}
        self.engine.wire.post(f"/networks/{network}/disconnect", body, status=200)

    def refused(self, network: str, container: str, what: str = "connect", **body: Any) -> tuple[int, str]:
        """Status and message of a connect or disconnect that fails."""
        answer = self.engine.wire.request(
            "POST", f"/networks/{network}/{what}", {"Container": container, **body}
        )
        assert answer.status >= 400, answer
        return answer.status, answer.message

    def remove(self) -> None:
        """All of them, with the containers of this run."""
        self.engine.sweep()
        for name in self.names:
            found = self.engine.wire.get("/networks", filters={"name": [f"^{re.escape(name)}$"]})
            for network in found:
                self.engine.wire.request("DELETE", f"/networks/{network['Id']}")


def on(engine: Engine, container: str) -> dict[str, dict[str, Any]]:
    """A container's NetworkSettings.Networks."""
    return dict(engine.inspect(container)["NetworkSettings"]["Networks"])


def sleeper(engine: Engine, network: str, name: str = "", **settings: Any) -> str:
    """A container that does nothing, on that network with these EndpointSettings."""
    container = create(engine, network, {network: settings}, name=name)
    engine.start(container)
    return container


def create(
    engine: Engine, mode: str, endpoints: dict[str, dict[str, Any]], name: str = "", **fields: Any
) -> str:
    """A container with that NetworkMode and EndpointsConfig; its ID."""
    answer = ask_create(engine, mode, endpoints, name, **fields)
    assert answer.status == 201, answer
    return str(answer.json()["Id"])


def ask_create(
    engine: Engine, mode: str, endpoints: dict[str, dict[str, Any]], name: str = "", **fields: Any
) -> Answer:
    """The answer to such a request."""
    host = {"NetworkMode": mode, **fields.pop("host", {})}
    body = {
        "Image": engine.image,
        "Cmd": ["sleep", "1000"],
        "HostConfig": host,
        "NetworkingConfig": {"EndpointsConfig": endpoints},
        **fields,
    }
    query: dict[str, Any] = {"name": name} if name else {}
    return engine.wire.request("POST", "/containers/create", body, **query)


def links(engine: Engine, container: str) -> list[str]:
    """The interfaces that a container has, without loopback."""
    return sorted(set(engine.exec(container, "ls", "/sys/class/net").out.split()) - {"lo"})


def addresses(engine: Engine, container: str, interface: str) -> list[str]:
    """Global addresses of an interface with prefix lengths."""
    out = engine.exec(container, "ip", "-o", "addr", "show", interface).out
    return re.findall(r"inet6? (\S+)(?: brd \S+)? scope global", out)


def default_routes(engine: Engine, container: str, *options: str) -> list[tuple[str, str]]:
    """(gateway, interface) of each default route; `-6` as option for IPv6."""
    out = engine.exec(container, "ip", *options, "route").out
    return re.findall(r"(?m)^default via (\S+) dev (\S+)", out)


def host_ip(*arguments: str) -> str:
    """`ip` in the engine's network namespace. Raises CalledProcessError."""
    done = subprocess.run(
        [*netns.prefix(), "ip", *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout
