"""`docker import --change`, `docker commit --change`: Dockerfile instructions that alter only a config.

Source: moby builder/dockerfile (BuildFromConfig; the engine takes the instructions below and no others here).
"""

from dataclasses import replace
from typing import Any

from compatd.engine.errors import InvalidParameter

ALLOWED = frozenset(
    (
        *("cmd", "entrypoint", "env", "expose", "healthcheck", "label", "onbuild", "stopsignal", "user"),
        *("volume", "workdir"),
    )
)

Config = dict[str, Any]


def empty_config() -> Config:
    """A container config with nothing set, its fields in the order in which Docker's JSON has them."""
    return {
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False,
        "AttachStderr": False, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None,
        "Image": "", "Volumes": None, "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": None,
    }  # fmt: skip


_ORDER = (
    "Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr", "ExposedPorts", "Tty",
    "OpenStdin", "StdinOnce", "Env", "Cmd", "Healthcheck", "ArgsEscaped", "Image", "Volumes", "WorkingDir",
    "Entrypoint", "NetworkDisabled", "MacAddress", "OnBuild", "Labels", "StopSignal", "StopTimeout", "Shell",
)  # fmt: skip
_SORTED = ("ExposedPorts", "Volumes", "Labels")


def ordered(config: Config) -> Config:
    """The fields in the order in which Docker's JSON has them, those of maps by name."""
    found = {key: config[key] for key in _ORDER if key in config}
    return found | {key: dict(sorted(found[key].items())) for key in _SORTED if found.get(key)}


def apply(config: Config, changes: list[str]) -> Config:
    """`config` with all instructions applied, in Docker's order. Raises InvalidParameter."""
    return ordered(_evaluated(config, "\n".join(changes)) if changes else config)


def _evaluated(config: Config, text: str) -> Config:
    # The language asks for platforms, which this package has: it cannot be imported before that is there.
    from compatd.engine.builder import evaluate, graph
    from compatd.engine.builder.dockerfile import parser, typed
    from compatd.engine.builder.dockerfile.text import clean
    from compatd.engine.builder.state import State

    instructions = []
    for node in parser.parse(text.encode("utf-8", "surrogateescape") or b"\n", "changes").nodes:
        if node.keyword.lower() not in ALLOWED:
            raise InvalidParameter(f"{node.keyword} is not a valid change command")
        instructions.append(graph.Planned(typed.instruction(node)))
    plan = graph.plan(parser.parse(b"FROM scratch", "changes"), graph.Options())
    plan = replace(plan, stages=(replace(plan.stages[0], instructions=tuple(instructions)),))
    variables = dict(entry.partition("=")[::2] for entry in config.get("Env") or ())
    _, state = evaluate.evaluate(plan, 0, State({"config": config}, variables, plan.platform))
    result = {"Cmd": None, **state.config}
    # A stage gets no triggers of its base, an image of what it was keeps its own.
    result["OnBuild"] = [*(config.get("OnBuild") or ()), *(state.config.get("OnBuild") or ())] or None
    result.pop("ArgsEscaped", None)  # the classic builder's is for Windows only
    if result.get("WorkingDir"):
        result["WorkingDir"] = clean(result["WorkingDir"])
    return result
