"""Nodes → instructions, checked. Texts of errors: moby/buildkit frontend/dockerfile/instructions."""

import re
from collections.abc import Callable
from typing import Any

from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.dockerfile import lint, words
from compatd.engine.builder.dockerfile.errors import DockerfileError, suggested
from compatd.engine.builder.dockerfile.flags import Flags, parse_flags
from compatd.engine.builder.dockerfile.mounts import check_device, parse_mount
from compatd.engine.builder.dockerfile.parser import Dockerfile, Node
from compatd.engine.builder.dockerfile.text import SPACE, parse_duration, quote

MAX_STAGES = 1000

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")
_ONBUILD = re.compile(r"[\t\n\f\r ]*ONBUILD[\t\n\f\r ]*", re.IGNORECASE)
_TRANSFER = {"chown": "text", "chmod": "text", "link": "switch", "exclude": "list"}
_COPY = {**_TRANSFER, "from": "text", "parents": "switch"}
_ADD = {**_TRANSFER, "keep-git-dir": "switch", "checksum": "text", "unpack": "switch"}
_RUN = {"mount": "list", "network": "text", "security": "text", "device": "list"}
_HEALTH = dict.fromkeys(("interval", "timeout", "start-period", "start-interval", "retries"), "text")

Made = dict[str, Any]


def program(dockerfile: Dockerfile, linter: lint.Linter | None = None) -> i.Program:
    """All instructions of a Dockerfile, by stage. Raises DockerfileError."""
    arguments: list[i.Arg] = []
    stages: list[i.Stage] = []
    for node in dockerfile.nodes:
        try:
            found = instruction(node, linter)
        except DockerfileError as error:
            raise error.at(node.lines, f"dockerfile parse error on line {node.lines[0]}: ") from None
        if isinstance(found, i.From):
            stages.append(i.Stage(found))
            if len(stages) > MAX_STAGES:
                raise DockerfileError(f"more than {MAX_STAGES} stages", [node.lines])
        elif stages:
            stages[-1].instructions.append(found)
        elif isinstance(found, i.Arg):
            arguments.append(found)
        else:
            raise DockerfileError("no build stage in current context", [node.lines])
    if not stages:
        raise DockerfileError("dockerfile contains no stages to build")
    return i.Program(tuple(arguments), tuple(stages))


def instruction(node: Node, linter: lint.Linter | None = None) -> i.Instruction:
    """One instruction. Raises DockerfileError without a place."""
    name = node.keyword.lower()
    make = _MAKERS.get(name)
    if make is None:
        names = [known.upper() for known in _MAKERS]
        text = f"unknown instruction: {node.keyword}"
        raise DockerfileError(suggested(text, node.keyword, names, case=False))
    if linter:
        lint.check_node(linter.with_comments(node.comments), node)
    common = {
        "keyword": node.keyword, "original": node.original.strip(SPACE), "lines": node.lines,
        "comments": node.comments,
    }  # fmt: skip
    return make(node, common)


def _one(node: Node) -> str:
    if len(node.arguments) != 1:
        raise DockerfileError(f"{node.keyword.upper()} requires exactly one argument")
    return node.arguments[0]


def _some(node: Node) -> list[str]:
    if not node.arguments:
        raise DockerfileError(f"{node.keyword.upper()} requires at least one argument")
    return node.arguments


def _no_flags(node: Node) -> None:
    parse_flags(node.flags, {})


def _pairs(node: Node) -> tuple[i.Pair, ...]:
    _no_flags(node)
    keyword = node.keyword.upper()
    if not node.pairs:
        raise DockerfileError(f"{keyword} requires at least one argument")
    if any(not pair.key for pair in node.pairs):
        raise DockerfileError(f"{keyword} names can not be blank")
    return tuple(node.pairs)


def _arg(node: Node, common: Made) -> i.Arg:
    pairs = []
    for word in _some(node):
        key, equals, value = word.partition("=")
        if equals and not key:
            raise DockerfileError("ARG names can not be blank")
        pairs.append(i.Pair(key, value if equals else None))
    return i.Arg(pairs=tuple(pairs), **common)


def _maintainer(node: Node, common: Made) -> i.Maintainer:
    text = _one(node)
    _no_flags(node)
    return i.Maintainer(text=text, **common)


def _transfer(node: Node, known: dict[str, str]) -> tuple[Flags, Made]:
    keyword = node.keyword.upper()
    if len(node.arguments) < 2:
        raise DockerfileError(
            f"{keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    flags = parse_flags(node.flags, known)
    *given, destination = node.arguments
    if words.is_heredoc(destination):
        raise DockerfileError(f"{keyword} cannot accept a heredoc as a destination")
    documents = {heredoc.name: heredoc for heredoc in node.heredocs}
    sources, contents = [], []
    for source in given:
        heredoc = words.is_heredoc(source)
        if heredoc is None:
            sources.append(source)
        else:
            content = documents[heredoc.name].content if heredoc.name in documents else ""
            contents.append(i.Heredoc(heredoc.name, content, heredoc.expand, heredoc.chomp))
    return flags, {
        "sources": tuple(sources), "contents": tuple(contents), "destination": destination,
        "chown": flags.text("chown"), "chmod": flags.text("chmod"), "link": flags.switch("link"),
        "exclude": flags.all("exclude"),
    }  # fmt: skip


def _copy(node: Node, common: Made) -> i.Copy:
    flags, made = _transfer(node, _COPY)
    return i.Copy(source_stage=flags.text("from"), parents=flags.switch("parents"), **made, **common)


def _add(node: Node, common: Made) -> i.Add:
    flags, made = _transfer(node, _ADD)
    keep, unpack = flags.switches.get("keep-git-dir"), flags.switches.get("unpack")
    return i.Add(checksum=flags.text("checksum"), keep_git_dir=keep, unpack=unpack, **made, **common)


def _from(node: Node, common: Made) -> i.From:
    stage, given = "", node.arguments
    if len(given) == 3 and given[1].lower() == "as":
        stage = given[2].lower()
        if not _STAGE_NAME.fullmatch(stage):
            raise DockerfileError(
                f"invalid name for build stage: {quote(given[2])}, name can't start with a number or "
                "contain symbols"
            )
    elif len(given) != 1:
        raise DockerfileError("FROM requires either one or three arguments")
    flags = parse_flags(node.flags, {"platform": "text"})
    return i.From(base=given[0], stage=stage, platform=flags.text("platform"), **common)


def _command(node: Node) -> Made:
    found = tuple(node.arguments) if node.json else (" ".join(node.arguments),) if node.arguments else ()
    return {"words": found, "shell": not node.json, "files": tuple(node.heredocs)}


def _run(node: Node, common: Made) -> i.Run:
    flags = parse_flags(node.flags, _RUN)
    for device in flags.all("device"):
        check_device(device)
    mounts = tuple(parse_mount(text, None) for text in flags.all("mount"))
    network, security = flags.text("network", "default"), flags.text("security", "sandbox")
    if network not in ("default", "none", "host"):
        raise DockerfileError(f"invalid network mode {quote(network)}")
    if security not in ("sandbox", "insecure"):
        raise DockerfileError(f"security {quote(security)} is not valid")
    return i.Run(
        mount_flags=flags.all("mount"), mounts=mounts, network=network, security=security,
        devices=flags.all("device"), **_command(node), **common,
    )  # fmt: skip


def _cmd(node: Node, common: Made) -> i.Cmd:
    _no_flags(node)
    return i.Cmd(**_command(node), **common)


def _entrypoint(node: Node, common: Made) -> i.Entrypoint:
    _no_flags(node)
    return i.Entrypoint(**_command(node), **common)


def _interval(name: str, text: str) -> int:
    try:
        found = parse_duration(text) if text else 0
    except ValueError as error:
        raise DockerfileError(str(error)) from None
    if found and found < 1_000_000:
        raise DockerfileError(f"Interval {quote(name)} cannot be less than 1ms")
    return found


def _retries(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise DockerfileError(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    if len(text) > 12 or not -(1 << 31) <= int(text) < 1 << 31:
        raise DockerfileError(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
    if int(text) < 0:
        raise DockerfileError(f"--retries cannot be negative ({int(text)})")
    return int(text)


def _healthcheck(node: Node, common: Made) -> i.Healthcheck:
    kind, *command = _some(node)
    kind = kind.upper()
    if kind == "NONE":
        if command:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments")
        return i.Healthcheck(test=("NONE",), **common)
    flags = parse_flags(node.flags, _HEALTH)
    if kind != "CMD":
        raise DockerfileError(f"Unknown type {quote(kind)} in HEALTHCHECK (try CMD)")
    if not command:
        raise DockerfileError("Missing command after HEALTHCHECK CMD")
    test = ("CMD", *command) if node.json else ("CMD-SHELL", " ".join(command))
    times: Made = {
        name.replace("-", "_"): _interval(name, flags.text(name)) for name in _HEALTH if name != "retries"
    }
    return i.Healthcheck(test=test, retries=_retries(flags.text("retries")), **times, **common)


def _expose(node: Node, common: Made) -> i.Expose:
    ports = tuple(sorted(_some(node)))
    _no_flags(node)
    return i.Expose(ports=ports, **common)


def _user(node: Node, common: Made) -> i.User:
    user = _one(node)
    _no_flags(node)
    return i.User(user=user, **common)


def _workdir(node: Node, common: Made) -> i.Workdir:
    path = _one(node)
    _no_flags(node)
    return i.Workdir(path=path, **common)


def _volume(node: Node, common: Made) -> i.Volume:
    paths = tuple(path.strip(SPACE) for path in _some(node))
    _no_flags(node)
    if not all(paths):
        raise DockerfileError("VOLUME specified can not be an empty string")
    return i.Volume(paths=paths, **common)


def _shell(node: Node, common: Made) -> i.Shell:
    _no_flags(node)
    _some(node)
    if not node.json:
        raise DockerfileError("SHELL requires the arguments to be in JSON form")
    return i.Shell(words=tuple(node.arguments), **common)


def _onbuild(node: Node, common: Made) -> i.Onbuild:
    keyword = _some(node)[0].strip(SPACE).upper()
    _no_flags(node)
    if keyword == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("MAINTAINER", "FROM"):
        raise DockerfileError(f"{keyword} isn't allowed as an ONBUILD trigger")
    parts = [_ONBUILD.sub("", node.original, count=1)]
    parts += [f"\n{heredoc.content}{heredoc.name}" for heredoc in node.heredocs]
    return i.Onbuild(trigger="".join(parts), **common)


_MAKERS: dict[str, Callable[[Node, Made], i.Instruction]] = {
    "add": _add, "arg": _arg, "cmd": _cmd, "copy": _copy, "entrypoint": _entrypoint,
    "env": lambda node, common: i.Env(pairs=_pairs(node), **common),
    "expose": _expose, "from": _from, "healthcheck": _healthcheck,
    "label": lambda node, common: i.Label(pairs=_pairs(node), **common),
    "maintainer": _maintainer, "onbuild": _onbuild, "run": _run, "shell": _shell,
    "stopsignal": lambda node, common: i.StopSignal(signal=_one(node), **common),
    "user": _user, "volume": _volume, "workdir": _workdir,
}  # fmt: skip
