"""Contexts from git repositories, and ADD's:
a worker runs the git binary, shut in (`runtime.storage.gitclone`).
"""

import asyncio
import base64
import codecs
import os
from typing import Any

from compatd.engine.builder.context.folder import Context, Contexts, Progress, filling
from compatd.engine.builder.context.sshproxy import agent
from compatd.engine.builder.dockerfile.gitref import GitRef
from compatd.engine.errors import EngineError

CLONE = "runtime.storage.gitclone:run"
_LINE_MAX = 1000
_PIECE = 1 << 16


async def clone(
    contexts: Contexts, ref: GitRef, *, classic: bool = False, progress: Progress | None = None,
    keep_git_dir: bool | None = None, checksum: str = "", auth_token: str = "", auth_header: str = "",
    ssh: Any = None, **_: Any,
) -> Context:  # fmt: skip
    """The repository's files. Raises EngineError with git's own words in it."""
    if ref.ref.startswith("-"):
        raise EngineError(f'invalid git ref "{ref.ref}"')
    if ref.remote.startswith("-"):
        raise EngineError(f'invalid git remote "{ref.remote}"')
    context = contexts.empty()
    keep = ref.keep_git_dir if ref.keep_git_dir is not None else keep_git_dir
    header = auth_header or (_basic(auth_token) if auth_token else "")
    remote = ref.remote if "://" in ref.remote or "@" in ref.remote else f"https://{ref.remote}"
    arguments = {
        "folder": str(context.folder), "remote": remote, "ref": ref.ref, "subdir": ref.subdir,
        "keep_git_dir": bool(keep), "submodules": ref.submodules is not False,
        "checksum": checksum or ref.checksum, "mtime": ref.mtime, "by_commit": ref.fetch_by_commit,
        "header": header, "classic": classic, "ssh": False,
    }  # fmt: skip
    async with filling(context):
        async with agent(ssh, context.folder) as socket_path:
            arguments["ssh"] = bool(socket_path)
            answer = await _run(contexts, arguments, progress)
        if "error" in answer:
            raise EngineError(answer["error"])
        context.commit = answer["commit"]
    return context


def _basic(token: str) -> str:
    return "basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()


async def _run(contexts: Contexts, arguments: dict[str, Any], progress: Progress | None) -> dict[str, Any]:
    read, write = os.pipe2(os.O_CLOEXEC)
    lines = asyncio.ensure_future(_lines(read, progress))
    try:
        answer: dict[str, Any] = await contexts.runtime.worker(CLONE, arguments, [write])
    finally:
        os.close(write)  # the end of what it says
        await lines
    return answer


async def _lines(read: int, progress: Progress | None) -> None:
    """git's own progress, line by line."""
    reader = asyncio.StreamReader(limit=_PIECE)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb", 0)
    )
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        while data := await reader.read(_PIECE):
            if progress:
                for line in decoder.decode(data).replace("\r", "\n").split("\n"):
                    if line.strip():
                        await progress(line.strip()[:_LINE_MAX], 0, 0)
    finally:
        transport.close()
