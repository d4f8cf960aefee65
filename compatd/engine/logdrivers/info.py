"""What log drivers know of a container: the tag's template is filled from it, labels and variables chosen."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from compatd.engine.containers.model import Container
from compatd.engine.logdrivers.template import render
from compatd.engine.logdrivers.values import compile_regex

#: Options that every driver but `none` takes.
COMMON = frozenset({"env", "env-regex", "labels", "labels-regex", "tag"})


@dataclass(frozen=True)
class Info:
    """One container, for the drivers."""

    options: dict[str, str]
    container_id: str
    name: str
    entrypoint: str
    arguments: list[str]
    image_id: str
    image_name: str
    created: str
    env: list[str]
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command line."""
        return " ".join([self.entrypoint, *self.arguments])

    def fields(self) -> dict[str, Any]:
        """What a tag's template may name."""
        return {
            "Config": self.options,
            "ContainerID": self.container_id,
            "ContainerName": f"/{self.name}",
            "ContainerEntrypoint": self.entrypoint,
            "ContainerArgs": self.arguments,
            "ContainerImageID": self.image_id,
            "ContainerImageName": self.image_name,
            "ContainerCreated": self.created,
            "ContainerEnv": self.env,
            "ContainerLabels": self.labels,
            "LogPath": "",
            "DaemonName": "docker",
            "ID": self.container_id[:12],
            "FullID": self.container_id,
            "Name": self.name,
            "Command": self.command,
            "ImageID": self.image_id.partition(":")[2][:12] or self.image_id[:12],
            "ImageFullID": self.image_id,
            "ImageName": self.image_name,
            "Hostname": socket.gethostname(),
        }

    def tag(self, default: str = "{{.ID}}") -> str:
        """The option `tag`, filled in. Raises LogOptionError."""
        return render(self.options.get("tag") or default, self.fields())

    def attributes(self, rename: Callable[[str], str] = lambda name: name) -> dict[str, str]:
        """Labels and variables that `labels`, `env` and their regular expressions choose.

        Raises LogOptionError.
        """
        variables = dict(entry.split("=", 1) for entry in self.env if "=" in entry)
        found: dict[str, str] = {}
        for option, values in (("labels", self.labels), ("env", variables)):
            for name in self.options.get(option, "").split(","):
                if name in values:
                    found[rename(name)] = values[name]
            if self.options.get(f"{option}-regex"):
                chosen = compile_regex(self.options[f"{option}-regex"])
                found |= {rename(name): value for name, value in values.items() if chosen(name)}
        return found

    def attributes_with_tag(self) -> dict[str, str]:
        """The same with `tag`, if the user asked for one."""
        found = self.attributes()
        tag = self.tag(default="")
        return {**found, "tag": tag} if tag else found


def info_of(container: Container, created: str) -> Info:
    """Info of a container; `created`: RFC 3339."""
    config = container.config
    return Info(
        options=container.host_config["LogConfig"]["Config"] or {},
        container_id=container.id,
        name=container.name,
        entrypoint=container.path,
        arguments=list(container.args),
        image_id=container.image_id,
        image_name=config["Image"],
        created=created,
        env=list(config["Env"] or []),
        labels=dict(config["Labels"] or {}),
    )
