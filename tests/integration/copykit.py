"""COPY and ADD without a daemon: storage in a folder, a runtime for workers, files by dictionaries."""

import asyncio
import os
import stat
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from compatd.engine.builder import copying
from compatd.engine.builder.cache import Cache
from compatd.engine.builder.context import Context, Contexts
from compatd.engine.builder.dockerfile.parser import parse
from compatd.engine.builder.evaluate import evaluate
from compatd.engine.builder.graph import Options, plan
from compatd.engine.builder.snapshots import LayerTree, Snapshots
from compatd.engine.images.platform import Platform
from runtime.client import Runtime
from runtime.storage.overlay import Overlay
from tests.unit.images.imagekit import FakeStore, FakeTable

Files = Mapping[str, Any]
Tree = dict[str, str]
Result = TypeVar("Result")
WHEN = 1_500_000_000


class Kit:
    """A builder's parts below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.storage = Overlay(root / "compatd")
        self.storage.open()
        self.loop = asyncio.new_event_loop()
        self.runtime = runtime = Runtime(root / "exec", on_event=lambda *_: None)
        self.loop.run_until_complete(runtime.open())
        self.store = FakeStore()
        self.store.build_cache = FakeTable()  # type: ignore[attr-defined]
        index: Any = SimpleNamespace(layers={}, images={}, release=lambda chains: None)
        self.cache = Cache(self.store, index, self.storage)
        self.cache.open()
        self.builder: Any = SimpleNamespace(
            engine=SimpleNamespace(
                storage=self.storage, runtime=runtime, config=SimpleNamespace(data_root="/data")
            ),
            contexts=Contexts(self.storage, runtime, self.cache),
            snapshots=Snapshots(None, self.storage, runtime),  # type: ignore[arg-type]
        )
        self._layers = 0

    def layer(self, files: Files) -> str:
        """A layer with these files; its chain ID."""
        self._layers += 1
        chain_id = f"sha256:{self._layers:064x}"[:7] + f"{self._layers:064x}"[::-1]
        prepared = self.storage.prepare_layer()
        write(prepared / "diff", files)
        self.storage.commit_layer(prepared, chain_id)
        return chain_id

    def context(self, files: Files) -> Context:
        """A build context with these files."""
        context: Context = self.builder.contexts.empty()
        write(context.data, files)
        return context

    def copy(
        self, line: str, files: Files | LayerTree, base: list[str] | None = None, *, classic: bool = False,
        workdir: str = "/",
    ) -> "Done":  # fmt: skip
        """Carry out one line of a Dockerfile on layers (`base`). Raises BuildError."""
        return self.run(self._copy(line, files, base or [], classic, workdir))

    async def _copy(
        self, line: str, files: Files | LayerTree, base: list[str], classic: bool, workdir: str
    ) -> "Done":
        source = files if isinstance(files, LayerTree) else self.context(files)
        what = copying.Copy(step(line, workdir), source, base, classic)
        try:
            await copying.fetch(self.builder, what)
            key = await copying.key(self.builder, what)
            linked = not classic and what.instruction.link
            snapshot = await self.builder.snapshots.create([] if linked else base)
            await copying.copy(self.builder, what, snapshot)
            folder = self.storage.rw / snapshot.id / "diff"
            return Done(key, read(folder), folder)
        finally:
            await what.close()
            if isinstance(source, Context):
                await source.close()

    def key(self, line: str, files: Files | LayerTree, base: list[str] | None = None) -> copying.Key:
        """Only the key."""

        async def find() -> copying.Key:
            source = files if isinstance(files, LayerTree) else self.context(files)
            try:
                return await copying.key(self.builder, copying.Copy(step(line, "/"), source, base or []))
            finally:
                if isinstance(source, Context):
                    await source.close()

        return self.run(find())

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run it on the kit's loop."""
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        """End the runtime, and wait until what was thrown away is gone."""
        self.run(self.runtime.close())
        self.loop.close()
        self.storage.settle()


class Done:
    """What came of a copy."""

    def __init__(self, key: copying.Key, tree: Tree, folder: Path) -> None:
        self.key, self.tree, self.folder = key, tree, folder


def close(kit: Kit, context: Context) -> None:
    """Close a context; nothing of it may be left."""
    kit.run(context.close())
    kit.storage.settle()
    assert not context.folder.exists()


def step(line: str, workdir: str) -> Any:
    """The step of a line, which may be several with a heredoc."""
    text = f"FROM scratch AS other\nFROM scratch\nWORKDIR {workdir}\n{line}\n"
    found = plan(parse(text.encode(), "Dockerfile"), Options(), build_platform=Platform("linux", "amd64"))
    steps, _ = evaluate(found, found.target, None)
    return steps[-1]


def write(folder: Path, files: Files) -> None:
    """Bytes or text are files; None and ("dir", mode, uid, gid) are folders.

    Others are ("link", target), ("hard", name), ("fifo",), ("file", content, mode, uid, gid),
    ("sparse", size), ("xattr", content, name, value), ("device", kind, number).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if value is None or value[0] == "dir":
            path.mkdir(exist_ok=True)
            if value:
                path.chmod(value[1])
                os.chown(path, *(value[2:4] or (0, 0)))
        elif isinstance(value, bytes | str):
            path.write_bytes(value.encode() if isinstance(value, str) else value)
        else:
            _MAKERS[value[0]](path, *value[1:])
            if value[0] == "hard":
                path.hardlink_to(folder / value[1])
    for above, folders, names in os.walk(folder, topdown=False):
        for name in [*folders, *names]:
            os.utime(Path(above, name), (WHEN, WHEN), follow_symlinks=False)


def _file(path: Path, content: str, mode: int, uid: int = 0, gid: int = 0) -> None:
    path.write_text(content)
    os.chown(path, uid, gid)
    path.chmod(mode)


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.seek(size - 1)
        file.write(b"x")


def _xattr(path: Path, content: str, name: str, value: bytes) -> None:
    path.write_text(content)
    os.setxattr(path, name, value)


_MAKERS: dict[str, Callable[..., Any]] = {
    "link": lambda path, target: path.symlink_to(target),
    "hard": lambda path, name: None,
    "fifo": os.mkfifo,
    "file": _file,
    "sparse": _sparse,
    "xattr": _xattr,
    "device": lambda path, kind, number: os.mknod(path, kind | 0o600, number),
}


def read(folder: Path) -> Tree:
    """Each entry of a layer as a line: kind, mode, owner, what is in it, and its time unless it is new."""
    found: Tree = {}
    inodes: dict[int, str] = {}
    now = time.time() - 3600
    for above, folders, names in os.walk(folder):
        for name in sorted([*folders, *names]):
            path = Path(above, name)
            info = path.lstat()
            kind, content = "?", ""
            if stat.S_ISDIR(info.st_mode):
                kind = "d"
            elif stat.S_ISLNK(info.st_mode):
                kind, content = "l", str(path.readlink())
            elif stat.S_ISREG(info.st_mode):
                kind, content = "f", path.read_text("latin-1") if info.st_size < 100 else str(info.st_size)
                if info.st_nlink > 1:
                    first = inodes.setdefault(info.st_ino, str(path.relative_to(folder)))
                    if first != str(path.relative_to(folder)):
                        kind, content = "h", first
            elif stat.S_ISFIFO(info.st_mode):
                kind = "p"
            elif stat.S_ISSOCK(info.st_mode):
                kind = "s"
            elif stat.S_ISCHR(info.st_mode):
                kind = "c" if info.st_rdev else "w"
            when = str(int(info.st_mtime)) if info.st_mtime < now else ""
            mode = stat.S_IMODE(info.st_mode)
            text = f"{kind} {mode:o} {info.st_uid}:{info.st_gid} {content} {when}".strip()
            found[str(path.relative_to(folder))] = text
    return found
