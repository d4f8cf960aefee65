"""A build as the classic API has it: context and Dockerfile taken in, built, named, and told in text."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.bases import Auth
from compatd.engine.builder.classic import refusals
from compatd.engine.builder.classic.text import Buffer, ClassicText, Write, short
from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.graph import Options as PlanOptions
from compatd.engine.builder.progress import StepEvent
from compatd.engine.builder.request import CLASSIC, BuildRequest, BuildResult
from compatd.engine.containers import validate
from compatd.engine.containers.hostconfig import user_host_config
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.images import platform as platforms
from compatd.engine.images import reference
from compatd.engine.images.platform import Platform
from compatd.engine.images.reference import Reference

if TYPE_CHECKING:
    from compatd.engine.builder.context import Context
    from compatd.engine.engine import Engine

Json = dict[str, Any]

DOCKERFILE = "Dockerfile"
SESSION = "client-session"
DOWNLOADING = "Downloading"


@dataclass(frozen=True, slots=True)
class Body:
    """The request's body: `chunks()` reads it, `lend()` gives the client's socket to a reader (or None)."""

    chunks: Callable[[], AsyncIterator[bytes]]
    lend: Callable[[], Awaitable[Any]] | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What a request says, decoded. `build_args` of None are names without a value."""

    dockerfile: str = DOCKERFILE
    remote: str = ""
    tags: tuple[str, ...] = ()
    quiet: bool = False
    no_cache: bool = False
    pull: bool = False
    squash: bool = False
    platform: str = ""
    target: str = ""
    build_args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    cache_from: tuple[str, ...] = ()
    network: str = ""
    resources: Json = field(default_factory=dict)
    extra_hosts: tuple[str, ...] = ()
    build_id: str = ""
    auth: Auth | None = None
    remove: bool = True
    force_remove: bool = False
    limits: Any = None


async def build(engine: "Engine", options: Options, body: Body, write: Write, *, aux: bool) -> None:
    """Build, and write the messages of the stream.

    `body` gives the context where it is not remote; `aux`: the client knows messages with image IDs. Raises
    EngineError, BuildError: before the first message it is to be the request's status.
    """
    if options.squash and not engine.config.experimental:
        raise InvalidParameter("squash is only supported with experimental mode")
    tags = _references(options.tags)
    quiet = Buffer(engine.storage.tmp) if options.quiet else None
    try:
        if quiet is None:
            await _build(engine, options, tags, body, write, aux=aux)
            return

        async def keep(message: Json) -> None:
            quiet.put(message)

        try:
            image = await _build(engine, options, tags, body, keep, aux=aux)
        except BaseException:
            for message in quiet.take():
                await write(message)
            raise
        await write({"stream": image + "\n"})
    finally:
        if quiet:
            quiet.close()


def _references(tags: tuple[str, ...]) -> list[Reference]:
    """The names for the image, each once. Raises EngineError: as dockerd, with status 500."""
    found: dict[str, Reference] = {}
    for tag in filter(None, tags):
        try:
            name = reference.parse(tag)
        except InvalidParameter as error:
            raise EngineError(error.message) from None
        if name.digest:
            raise EngineError("build tag cannot contain a digest")
        found.setdefault(str(name.tagged()), name.tagged())
    return list(found.values())


async def _build(
    engine: "Engine",
    options: Options,
    tags: list[Reference],
    body: Body,
    write: Write,
    *,
    aux: bool,
) -> str:
    platform = platforms.parse(options.platform) if options.platform else None
    context = await _context(engine, options, body, write)
    try:
        name = options.dockerfile or DOCKERFILE
        source = await context.dockerfile(name, classic=True)
        reading = await asyncio.to_thread(refusals.read, source, name, options.target, options.labels)
        text = ClassicText(
            write, engine.storage.tmp, aux=aux, remove=options.remove, force=options.force_remove
        )
        try:
            return await _told(engine, options, platform, context, source, reading, text, tags)
        finally:
            text.close()
    finally:
        await context.close()


async def _context(engine: "Engine", options: Options, body: Body, write: Write) -> "Context":
    if options.remote == SESSION:
        raise InvalidParameter(
            "experimental session with v1 builder is no longer supported, use builder version v2 (BuildKit) "
            "instead"
        )
    if not options.remote:
        return await engine.builder.contexts.from_tar(body.chunks(), lend=body.lend)

    async def progress(text: str, current: int, total: int) -> None:
        if text != DOWNLOADING:
            return  # git's own words, which dockerd does not show
        detail = {"current": current, "total": total} if total else {"current": current}
        await write({"status": options.remote, "progressDetail": detail, "id": "Downloading context"})

    return await engine.builder.contexts.from_remote(options.remote, classic=True, progress=progress)


class _Loaded:
    """A context that is there already."""

    def __init__(self, context: "Context") -> None:
        self.context = context

    async def load(self, paths: Any) -> "Context":
        return self.context


async def _told(
    engine: "Engine",
    options: Options,
    platform: Platform | None,
    context: "Context",
    source: bytes,
    reading: refusals.Reading,
    text: ClassicText,
    tags: list[Reference],
) -> str:
    name = options.dockerfile or DOCKERFILE
    for instruction in reading.continued:
        await text.warn(f"Empty continuation line found in: {instruction}")
    if reading.continued:
        await text.warn("Empty continuation lines will become errors in a future release.")
    refused = reading.refused
    if refused is not None:
        await _begin(text, reading, refused)
        raise BuildError(reading.steps[refused].refused)
    resources = await _checked(engine, options, text, reading)
    given = {key: value for key, value in options.build_args.items() if value is not None}
    request = BuildRequest(
        source,
        name,
        PlanOptions(options.target, given, platform, labels=options.labels, label_steps=True),
        context=None if context.dockerfile_only is not None else _Loaded(context),
        pull=options.pull,
        no_cache=options.no_cache,
        cache_images=options.cache_from,
        network=options.network or "default",
        resources=resources,
        extra_hosts=options.extra_hosts,
        auth=options.auth,
        door=CLASSIC,
        every_stage=True,
        squash=options.squash,
        limits=options.limits,
    )
    for number in range(
        1, reading.global_arguments + 2
    ):  # and the first FROM: what is pulled comes behind it
        stage = -1 if number <= reading.global_arguments else 0
        await text.step(StepEvent("begin", stage, number, len(reading.steps), reading.steps[number - 1].text))
    try:
        result = await engine.builder.build(request, text, build_id=options.build_id)
    except EngineError as error:
        await text.finish(failed=True)
        place = (
            reading.at(error.locations[-1])
            if isinstance(error, DockerfileError) and error.locations
            else None
        )
        if place is not None and text.shown <= place:
            await _begin(text, reading, place)
        raise _worded(error, name) from error
    async with result:
        await text.finish()
        return await _named(engine, options, result, reading, text, tags)


async def _checked(engine: "Engine", options: Options, text: ClassicText, reading: refusals.Reading) -> Json:
    """The limits of commands, without those that this kernel cannot set.

    Raises BuildError at the first step that dockerd would make a container for.
    """
    asked = {**options.resources, "ExtraHosts": list(options.extra_hosts), "NetworkMode": options.network}
    host = user_host_config(asked)
    try:
        validate.check_host(host, engine.containers.capabilities)
        validate.check_platform(None, host, engine.containers.info)
    except InvalidParameter as error:
        index = reading.first_container
        if index is None:
            return {}
        await _begin(text, reading, index)
        raise BuildError(error.message) from None
    return {name: host[name] for name in options.resources}


async def _begin(text: ClassicText, reading: refusals.Reading, index: int) -> None:
    """Show the step at which it ends."""
    step = reading.steps[index]
    await text.step(StepEvent("begin", 0, index + 1, len(reading.steps), step.text))
    await text.finish(failed=True)


def _worded(error: EngineError, name: str) -> BuildError:
    if isinstance(error, BuildError):
        return BuildError(error.classic_text, code=error.code)
    if not isinstance(error, DockerfileError):
        return BuildError(error.message)
    text = error.classic(name)
    return BuildError(f"COPY failed: {text}" if text.endswith(" for COPY") else text)


async def _named(
    engine: "Engine",
    options: Options,
    result: BuildResult,
    reading: refusals.Reading,
    text: ClassicText,
    tags: list[Reference],
) -> str:
    found = result.results[0]
    triggers = [
        one for base in found.bases for one in (base.document.get("config") or {}).get("OnBuild") or ()
    ]
    unused = refusals.unused(options.build_args, reading.arguments, triggers)
    if unused:
        await text.say(f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n")
    if options.squash:
        await text.message({"id": "moby.image.id", "aux": {"ID": found.image}})
    await text.say(f"Successfully built {short(found.image)}\n")
    image = engine.images.resolve(found.image)
    for tag in tags:
        engine.images.tag(image, tag)
        await text.say(f"Successfully tagged {tag.familiar}\n")
    return found.image
