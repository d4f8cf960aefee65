"""From resolved mounts to the runtime's: what they are made of, for as long as the command runs."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.mountrules import ResolvedMount
from compatd.engine.builder.running.agents import Agent
from compatd.engine.builder.running.confidential import Vault
from compatd.engine.builder.running.model import Run
from compatd.engine.builder.snapshots import Folder, LayerTree
from compatd.engine.builder.state import SCRIPTS
from compatd.engine.errors import NotFound
from compatd.engine.images.registry.threads import to_the_end
from runtime.client import WorkerError
from runtime.init.options import STUB

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Json = dict[str, Any]
_AGENT_MODE, _FOLDER_MODE = 0o600, 0o755


class Mounting:
    """The mounts of one RUN. `mounts` and `environment` are for its spec once `prepare` is through."""

    def __init__(self, engine: "Engine", run: Run, bundle: Path) -> None:
        self._engine, self._run, self._bundle = engine, run, bundle
        self._vault = Vault(bundle)
        self._undo = contextlib.AsyncExitStack()
        self.mounts: list[Json] = []
        self.environment: list[str] = []

    async def prepare(self) -> None:
        """Make all of them. Raises BuildError, NotFound, OSError; `close` is due in any case."""
        make: dict[str, Callable[[ResolvedMount], Awaitable[None]]] = {
            "bind": self._bind,
            "cache": self._cache,
            "tmpfs": self._tmpfs,
            "secret": self._secret,
            "ssh": self._agent,
        }
        for path in self._run.volumes:
            await self._volume(path)
        for one in self._run.mounts:
            await make[one.mount.type](one)
        if self._run.script is not None:
            self._script(self._run.script.name, self._run.script.content)

    async def close(self) -> None:
        """Take away what was made; nothing may have it mounted any more."""
        await self._undo.aclose()

    def _add(self, target: str, kind: str, source: str, *options: str, **more: Any) -> None:
        mount = {"destination": target, "type": kind, "source": source, "options": [*options, STUB], **more}
        self.mounts.append(mount)

    def _scratch(self) -> Path:
        """A new empty folder for what is written and then forgotten."""
        name, storage = secrets.token_hex(32), self._engine.storage
        self._undo.callback(storage.remove_rw, name)
        storage.create_rw(name, 0)
        return Path(storage.rw) / name

    async def _bind(self, one: ResolvedMount) -> None:
        if one.mount.read_only and one.tree is not None:
            plan = await self._tree(one)
        else:
            plan = await self._writable(one)
        mode = "ro" if one.mount.read_only else "rw"
        self._add(one.target, "tree", one.source, "rbind", mode, tree=plan, subpath=one.source.strip("/"))

    async def _tree(self, one: ResolvedMount) -> Json:
        if isinstance(one.tree, Folder):
            return {"flat": str(one.tree.path)}
        lower = await self._engine.builder.snapshots.tree_lower(one.tree) if one.tree is not None else []
        return {"lower": lower} if lower else {"flat": str(self._scratch() / "diff")}

    async def _writable(self, one: ResolvedMount) -> Json:
        """What is written goes into a folder of its own and is gone with the command."""
        tree = await self._tree(one)
        if one.tree is None or (not isinstance(one.tree, Folder) and "flat" in tree):
            return tree
        lower = tree.get("lower") or [tree["flat"]]
        scratch = self._scratch()
        if not (scratch / "work").is_dir():  # a driver without overlays
            await self._copy(lower, "/", scratch / "diff")
            return {"flat": str(scratch / "diff")}
        top = Path(lower[0]).stat()
        os.chown(scratch / "diff", top.st_uid, top.st_gid)  # the root of an overlay is its upper folder
        (scratch / "diff").chmod(top.st_mode & 0o7777)
        return {"lower": lower, "upper": str(scratch / "diff"), "work": str(scratch / "work")}

    async def _volume(self, path: str) -> None:
        """A volume of the container's own: it begins with what the image has there."""
        folder = self._scratch() / "diff"
        tree = LayerTree(self._run.snapshot.chain_ids)
        lower = await self._engine.builder.snapshots.tree_lower(tree)
        if lower:
            await self._copy(lower, path, folder, required=False)
        mount = {"destination": path, "type": "bind", "source": str(folder), "options": ["rbind"]}
        self.mounts.append(mount)

    async def _copy(self, lower: list[str], path: str, target: Path, *, required: bool = True) -> None:
        """Copy a path of a tree, links in it looked up inside of it, into a folder. Raises BuildError."""
        place = Path(self._engine.storage.tmp) / f"copy-{secrets.token_hex(8)}"
        place.mkdir(mode=0o700)
        fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        arguments = {"overlay": {"lower": lower}, "path": path, "mount": str(place), "target_fd": 0}
        try:
            answer = await self._engine.runtime.worker("runtime.storage.copyup:run", arguments, [fd])
        except WorkerError as error:
            raise BuildError(f"failed to copy {path}: {error.message}") from None
        finally:
            os.close(fd)
            place.rmdir()
        if answer.get("error"):
            raise BuildError(f"failed to copy {path}: {answer['error']}")
        if not answer["copied"] and required:
            raise BuildError(f"lstat {path}: no such file or directory")

    async def _cache(self, one: ResolvedMount) -> None:
        mount, caches, cache = one.mount, self._engine.runs.caches, self._engine.builder.cache
        owned = one.source == "/" and (mount.uid, mount.gid, mount.mode) != (None, None, None)
        mode = _FOLDER_MODE if mount.mode is None else mount.mode
        words = [f"{mount.uid or 0}:{mount.gid or 0}:{mode:o}"] if owned else []
        if one.tree is not None:
            words.append(f"{_name(one)}{one.source}")

        async def fill(folder: Path) -> None:
            if one.tree is not None and not owned:
                tree = await self._tree(one)
                await self._copy(tree.get("lower") or [tree["flat"]], one.source, folder)
            if owned:
                os.chown(folder, mount.uid or 0, mount.gid or 0)
                folder.chmod(mode)

        text = f"cached mount {one.target} from exec {' '.join(self._run.args)}"
        text += f' with id "{one.id}"' if one.id != one.target else ""
        key = ":".join(["cachemount", one.id, *words])
        record = await caches.acquire(cache, key, mount.sharing, text, fill)
        self._undo.push_async_callback(caches.release, cache, record)
        options = "ro" if mount.read_only else "rw"
        inside = "" if one.tree is not None else one.source.strip("/")  # of a seed only that part is copied
        plan = {"flat": str(cache.folder(record))}
        self._add(one.target, "tree", one.id, "rbind", options, tree=plan, subpath=inside)

    async def _tmpfs(self, one: ResolvedMount) -> None:
        options = ["nosuid"]
        if one.mount.read_only:
            options.append("ro")
        if one.mount.size > 0:
            options.append(f"size={one.mount.size}")
        self._add(one.target, "tmpfs", "tmpfs", *options)

    async def _secret(self, one: ResolvedMount) -> None:
        mount = one.mount
        try:
            if self._run.secrets is None:
                raise NotFound(f"secret {one.id}: not found")
            data = await self._run.secrets.get(one.id)
        except NotFound:
            if mount.required:
                raise
            return
        if mount.env:
            self.environment.append(f"{mount.env}={data.decode('utf-8', 'surrogateescape')}")
        if not one.target:
            return
        self._undo.push_async_callback(asyncio.to_thread, self._vault.close)
        path = await to_the_end(self._vault.put, data, mount.uid or 0, mount.gid or 0, mount.mode)
        runs = mount.mode is not None and mount.mode & 0o111
        options = ["rbind", "ro", "nodev", "nosuid", "exec" if runs else "noexec"]
        self._add(one.target, "bind", str(path), *options)

    async def _agent(self, one: ResolvedMount) -> None:
        mount, ssh = one.mount, self._run.ssh
        try:
            if ssh is None:
                raise NotFound(f'no SSH key "{one.id}" forwarded from the client')
            (await ssh.connect(one.id)).close()
        except NotFound:
            if mount.required:
                raise
            return
        agent = Agent(ssh, one.id, self._bundle / f"ssh_agent.{len(self.mounts)}")
        mode = _AGENT_MODE if mount.mode is None else mount.mode & 0o777
        agent.open(mount.uid or 0, mount.gid or 0, mode)
        self._undo.push_async_callback(agent.close)
        self._add(one.target, "bind", str(agent.path), "rbind")

    def _script(self, name: str, content: str) -> None:
        path = self._bundle / "script"
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
        path.chmod(0o755)
        self._add(SCRIPTS + name, "bind", str(path), "rbind", "ro", "exec")


def _name(one: ResolvedMount) -> str:
    """What a cache begins as, by name: another one is another cache."""
    if one.tree is None or isinstance(one.tree, Folder):
        return "@" + one.mount.source_stage
    return one.tree.chain_ids[-1] if one.tree.chain_ids else "scratch"
