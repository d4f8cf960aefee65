"""What is known of an image between its steps, and the steps themselves."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.graph import PlannedStage, Source
from compatd.engine.builder.scope import SCRATCH
from compatd.engine.builder.sources import normal_path
from compatd.engine.images.platform import Platform

Json = dict[str, Any]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SCRIPTS = "/dev/pipes/"  # where the script of `RUN <<EOF` with a `#!` is mounted
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


@dataclass(frozen=True, slots=True)
class State:
    """What a stage hands on to those that stand on it.

    `image` is its image document (architecture, os, config, history …; no rootfs), `variables` what words are
    expanded with and RUN sees, `args` the ARGs so far. Neither may be changed.
    """

    image: Json
    variables: dict[str, str]
    platform: Platform
    args: tuple[i.Pair, ...] = ()
    workdir_set: bool = False

    @property
    def config(self) -> Json:
        found: Json = self.image["config"]
        return found


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction, expanded, with what carrying it out needs.

    `kind`: run, copy, add, workdir (makes the folder) or config (nothing to do). `title` is how progress
    shows it, "" for config. `before` is what it runs with, `state` what is known after it, its history entry
    (without `created`) included. `created_by` and `classic_created_by` are the texts for the history; for a
    classic COPY or ADD ask `history.classic_text` once the content is known.
    """

    instruction: i.Instruction
    kind: str
    title: str
    before: State
    state: State
    created_by: str
    classic_created_by: str
    layer: bool = False
    sources: tuple[Source, ...] = ()
    args: tuple[str, ...] = ()  # RUN: what is executed
    script: i.Heredoc | None = None  # RUN: a file of this name and content (mode 0755) below SCRIPTS
    destination: str = ""  # COPY and ADD: absolute; WORKDIR: the folder
    triggered: bool = False

    @property
    def environment(self) -> list[str]:
        """`K=V` for RUN; `proxy_environment` goes behind it."""
        return [f"{key}={value}" for key, value in self.before.variables.items()]


def scratch(platform: Platform) -> Json:
    """The image document of nothing."""
    image: Json = {"architecture": platform.architecture, "os": platform.os}
    if platform.variant:
        image["variant"] = platform.variant
    return image | {"config": {"Env": [f"PATH={PATH}"], "WorkingDir": "/"}}


def proxy_environment(build_args: Mapping[str, str], *, classic: bool = False) -> list[str]:
    """The proxies among the build arguments, in both cases (the classic builder: as they are given): for RUN,
    but for no cache key and no history.
    """
    if classic:
        names = {name for one in PROXIES for name in (one, one.upper())}
        return [f"{key}={build_args[key]}" for key in sorted(build_args) if key in names]
    found: dict[str, str] = {}
    for name in sorted(build_args):
        if name.lower() in PROXIES:
            found[name.lower()] = build_args[name]
    return [f"{key}={found[name]}" for name in PROXIES if found.get(name) for key in (name.upper(), name)]


def base_state(stage: PlannedStage, image: Mapping[str, Any] | None, platform: Platform) -> State:
    """The state of a stage's base image; None for scratch."""
    document = copy.deepcopy(dict(image)) if image else scratch(platform)
    document.pop("created", None)
    document.pop("rootfs", None)
    config = document["config"] = document.get("config") or {}
    env = config["Env"] = list(config.get("Env") or [])
    if not any(entry.split("=")[0] == "PATH" for entry in env):
        env.append(f"PATH={PATH}")
    config.pop("OnBuild", None)
    if config.get("WorkingDir"):
        config["WorkingDir"] = normal_path("/", config["WorkingDir"])
    variables = dict(entry.partition("=")[::2] for entry in env)
    if stage.base != SCRATCH and stage.platform:
        platform = stage.platform
    return State(document, variables, platform)
