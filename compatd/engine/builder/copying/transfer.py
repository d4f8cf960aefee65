"""COPY and ADD, as the executor calls them: `fetch`, then `key`, then (unless it is cached) `copy`."""

import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from compatd.engine.builder.context.folder import Context, Progress
from compatd.engine.builder.copying import fetching, owner
from compatd.engine.builder.copying.actions import LOCAL, Work, work
from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.snapshots import LayerTree, Snapshot
from compatd.engine.builder.state import Step
from compatd.engine.errors import EngineError
from runtime.client.types import WorkerError

if TYPE_CHECKING:
    from compatd.engine.builder.service import Builder

Json = dict[str, Any]

COPY = "runtime.storage.buildcopy:run"
KEY = "runtime.storage.buildkey:run"
KEYS = "runtime.storage.buildkey:many"
_FEW = 2

_KNOWN: OrderedDict[bytes, Json] = OrderedDict()  # what was found in layers, which never change
_MAX_KNOWN = 4096
_CHMOD = (
    "the --chmod option requires BuildKit. Refer to https://docs.docker.com/go/buildkit/ to learn how to "
    "build images with BuildKit enabled"
)
_MANY = "When using {} with more than one source file, the destination must be a directory and end with a /"


@dataclass(slots=True)
class Copy:
    """One COPY or ADD. `source`: where its paths are looked for (None: there is no context).

    `users`: the layers in whose `/etc/passwd` and `/etc/group` --chown's names are looked up: those that the
    step stands on. `fetched`: what `fetch` brought, to be closed.
    """

    step: Step
    source: Context | LayerTree | None
    users: Sequence[str] = ()
    classic: bool = False
    fetched: list[fetching.Fetched] = field(default_factory=list)
    owner: list[int] | None = None  # known after `key`
    known: Json | None = None  # the worker's answer, by `ahead`

    async def close(self) -> None:
        """Remove what `fetch` brought."""
        for one in self.fetched:
            await one.close()
        self.fetched.clear()

    @property
    def instruction(self) -> i.Transfer:
        one = self.step.instruction
        assert isinstance(one, i.Transfer)
        return one

    def work(self) -> Work:
        """What the workers are to do. Raises DockerfileError."""
        return work(self.step, classic=self.classic, names=[one.name for one in self.fetched])


@dataclass(frozen=True, slots=True)
class Key:
    """`digest`: of all that is copied (names, modes, owners, attributes, links, content; no times).

    `hash`: how the classic history calls it: `file:<hex>`, `dir:<hex>`, `multi:<hex>`.
    """

    digest: str
    hash: str = ""


async def fetch(builder: "Builder", copy: Copy, progress: Progress | None = None, **options: Any) -> None:
    """Bring what ADD wants from URLs and git repositories; nothing for all else. Raises BuildError.

    `options`: `secrets` and `ssh`, as in a `BuildRequest`, that may open them.
    """
    if isinstance(copy.instruction, i.Add) and not copy.fetched:
        await fetching.fetch(
            builder.contexts, copy.instruction, copy.fetched, copy.classic, progress, options
        )


async def key(builder: "Builder", copy: Copy) -> Key:
    """What would be copied. Raises BuildError in the words of either door (sources that are missing …)."""
    keyword = copy.step.kind.upper()
    if copy.classic and copy.instruction.chmod:
        raise BuildError(_CHMOD)
    todo = copy.work()
    if copy.classic and not todo.actions:
        raise BuildError(f"{keyword} failed: no source files were specified")
    if LOCAL in todo.sources and copy.source is None:
        raise BuildError(f"{keyword} failed: missing build context" if copy.classic else "no build context")
    told = owner.parse(copy.instruction.chown, classic=copy.classic)
    answer = await _known(builder, copy, todo, told)
    _check(copy, answer, keyword)
    copy.owner = answer["owner"]
    if copy.classic and copy.owner is None and not isinstance(copy.source, LayerTree):
        copy.owner = [0, 0]
    prefix = answer["kinds"][0] if answer["count"] == 1 else "multi"
    digest = f"{answer['digest']} {copy.owner}" if told else answer["digest"]
    return Key(digest, f"{prefix}:{answer['digest'].removeprefix('sha256:')}")


def _check(copy: Copy, answer: Json, keyword: str) -> None:
    if "missing" in answer:
        path = answer["missing"]
        if not copy.classic:
            ref = f"{_reference()}::{_reference()}"
            raise BuildError(
                f'failed to compute cache key: failed to calculate checksum of ref {ref}: "{path}": not found'
            )
        text = f"stat {path}: file does not exist"
        if isinstance(copy.source, Context):
            text = f"file not found in build context or excluded by .dockerignore: {text}"
        raise BuildError(f"{keyword} failed: {text}")
    if "forbidden" in answer:
        raise BuildError(
            f"{keyword} failed: forbidden path outside the build context: {answer['forbidden']} ()"
        )
    if "error" in answer:
        if copy.classic:
            text = answer["error"]
            raise BuildError(owner.mapping(text) if answer.get("owner") else f"{keyword} failed: {text}")
        raise BuildError(answer["error"])
    if copy.classic and not answer["count"]:
        raise BuildError(f"{keyword} failed: no source files were specified")
    if copy.classic and answer["count"] > 1 and not copy.step.destination.endswith("/"):
        raise BuildError(_MANY.format(keyword))


async def ahead(builder: "Builder", copies: Sequence[Copy]) -> None:
    """Let one worker look at what all of these take from one context, for their `key`s.

    Those that take something else, too, are left out, and so are errors: `key` will tell.
    """
    together: list[tuple[Copy, Json]] = []
    for copy in copies:
        try:
            todo, told = copy.work(), owner.parse(copy.instruction.chown, classic=copy.classic)
        except EngineError:
            continue
        plain = todo.actions and all(one == LOCAL for one in todo.sources)
        if plain and isinstance(copy.source, Context) and not (told and owner.named(told)):
            numbers = told | {"source": 0} if told else None  # no file is read
            together.append((copy, {"actions": todo.actions, "owner": numbers}))
    if len(together) < _FEW:
        return
    first = together[0][0]
    jobs = [job for _, job in together]
    arguments: Json = {"jobs": jobs, "classic": first.classic, "indexes": [_index(first, LOCAL)]}
    answer = await _run(builder, KEYS, arguments, first, Work([LOCAL]), None, [])
    for (copy, _), found in zip(together, answer["answers"], strict=True):
        copy.known = found


async def _known(builder: "Builder", copy: Copy, todo: Work, told: Json | None) -> Json:
    """The worker's answer, or the same one from before where only layers are looked at."""
    if copy.known is not None:
        return copy.known
    memory = b""
    if all(one == LOCAL for one in todo.sources) and isinstance(copy.source, LayerTree):
        users = list(copy.users) if owner.named(told) else []
        tree = list(copy.source.chain_ids)
        actions = [{**action, "target": ""} for action in todo.actions]
        memory = orjson.dumps([tree, actions, told, users, copy.classic])
        if memory in _KNOWN:
            _KNOWN.move_to_end(memory)
            return _KNOWN[memory]
    arguments: Json = {
        "actions": todo.actions,
        "classic": copy.classic,
        "indexes": [_index(copy, one) for one in todo.sources],
        "owner": told,
    }
    if told:
        arguments["owner"] = told | {"source": len(todo.sources)}
    extra = [LayerTree(tuple(copy.users))] if told and owner.named(told) else []
    if told and not extra:
        arguments["owner"]["source"] = 0  # numbers: no file is read
    answer = await _run(builder, KEY, arguments, copy, todo, None, extra)
    if memory and "digest" in answer:
        _KNOWN[memory] = answer
        if len(_KNOWN) > _MAX_KNOWN:
            _KNOWN.popitem(last=False)
    return answer


def _index(copy: Copy, source: str | Json | int) -> str | None:
    if source == LOCAL and isinstance(copy.source, Context):
        return str(copy.source.index)
    if isinstance(source, int):
        return str(copy.fetched[source].index)
    return None


async def copy(builder: "Builder", copy: Copy, snapshot: Snapshot) -> None:
    """Do it. With `--link` the snapshot is one of no layers, and its layer goes onto whatever.

    Raises BuildError.
    """
    todo = copy.work()
    arguments: Json = {"actions": todo.actions, "owner": copy.owner, "classic": copy.classic}
    answer = await _run(builder, COPY, arguments, copy, todo, builder.snapshots.view(snapshot), [])
    if "error" in answer:
        root = f"{builder.engine.config.data_root}/overlay2/{_reference()}/merged"
        text = answer["error"].replace("@", root, 1)
        raise BuildError(f"failed to copy files: {text}" if copy.classic else text)


async def _run(
    builder: "Builder", function: str, arguments: Json, copy: Copy, todo: Work, target: Json | None,
    extra: list[LayerTree],
) -> Json:  # fmt: skip
    arguments["target"] = target
    arguments["sources"] = [await _tree(builder, copy, one) for one in todo.sources]
    arguments["sources"] += [{"lower": await builder.snapshots.tree_lower(tree)} for tree in extra]
    async with _scratch(builder) as scratch:
        arguments["scratch"] = scratch
        try:
            answer: Json = await builder.engine.runtime.worker(function, arguments)
        except WorkerError as error:
            raise BuildError(str(error)) from error
    return answer


async def _tree(builder: "Builder", copy: Copy, source: str | Json | int) -> Json:
    if isinstance(source, dict):
        return source
    if isinstance(source, int):
        return {"folder": str(copy.fetched[source].data)}
    if isinstance(copy.source, Context):
        return {"folder": str(copy.source.data)}
    assert copy.source is not None
    if not copy.source.chain_ids:
        return {"lower": []}
    return {"lower": await builder.snapshots.tree_lower(copy.source)}


@asynccontextmanager
async def _scratch(builder: "Builder") -> AsyncIterator[str]:
    """An empty folder for a worker to mount on."""
    path = builder.engine.storage.tmp / f"copy-{secrets.token_hex(8)}"
    path.mkdir(mode=0o700)
    try:
        yield str(path)
    finally:
        path.rmdir()


def _reference() -> str:
    """A name as BuildKit gives to what it keeps: 25 letters and digits."""
    alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"
    return "".join(secrets.choice(alphabet) for _ in range(25))
