"""What ADD brings from elsewhere: URLs as files, git repositories as folders.

Source: moby/buildkit source/http, frontend/dockerfile/dockerfile2llb; moby daemon/builder/dockerfile/copy.go.
"""

import asyncio
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compatd.engine.builder.context import credentials, git, remote
from compatd.engine.builder.context.download import Response, disposition_name, get, url_name
from compatd.engine.builder.context.folder import Context, Contexts, Progress
from compatd.engine.builder.dockerfile import gitref
from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.sources import kind
from compatd.engine.errors import EngineError

Json = dict[str, Any]

UNNAMED = "__unnamed__"
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}")
_ZERO_TIME = -62135596800  # Go's zero time, which the classic builder sets; ext4 cuts it


@dataclass(slots=True)
class Fetched:
    """`name` is the file's; "" for a repository's files. `data` and `index` are as a Context's."""

    name: str
    context: Context

    @property
    def data(self) -> Path:
        return self.context.data

    @property
    def index(self) -> Path:
        return self.context.index

    async def close(self) -> None:
        """Remove it."""
        await self.context.close()


async def fetch(
    contexts: Contexts, add: i.Add, fetched: list[Fetched], classic: bool, progress: Progress | None,
    options: Json,
) -> None:  # fmt: skip
    """Append what the sources that are not local are, in their order. Raises BuildError."""
    for source in add.sources:
        which = kind(source)
        try:
            if which == "http" or (which == "git" and classic and source.startswith(("http://", "https://"))):
                fetched.append(await _url(contexts, source, add, classic, progress, options))
            elif which == "git" and not classic:
                fetched.append(await _repository(contexts, source, add, progress, options))
        except EngineError as error:
            if isinstance(error, BuildError):
                raise
            raise BuildError(f"ADD failed: {error.message}" if classic else error.message) from error


async def _repository(
    contexts: Contexts, source: str, add: i.Add, progress: Progress | None, options: Json
) -> Fetched:
    ref = gitref.parse(source)
    assert ref is not None
    keep = add.keep_git_dir
    if keep is not None and ref.keep_git_dir is not None and keep != ref.keep_git_dir:
        raise BuildError("inconsistent keep-git-dir configuration")
    if add.checksum and ref.checksum and add.checksum != ref.checksum:
        raise BuildError(f'checksum mismatch "{add.checksum}" != "{ref.checksum}"')
    header = await credentials.for_git(options.get("secrets"), ref.remote)
    context = await git.clone(
        contexts, ref, keep_git_dir=keep, checksum=add.checksum, progress=progress, auth_header=header,
        ssh=options.get("ssh"),
    )  # fmt: skip
    return Fetched("", context)


async def _url(
    contexts: Contexts, url: str, add: i.Add, classic: bool, progress: Progress | None, options: Json
) -> Fetched:
    checksum = add.checksum
    if checksum and not _DIGEST.fullmatch(checksum):
        raise BuildError(_digest_error(checksum))
    context = contexts.empty()
    try:
        headers = await credentials.for_url(options.get("secrets"), url)
        async with get(url, headers) as response:
            remote.check(url, response, classic=classic)
            name = _name(url, response, add, classic)
            digest = await response.save(context.data / name, progress)
        if checksum and not checksum.startswith("sha256:"):
            digest = await asyncio.to_thread(_other_digest, context.data / name, checksum.partition(":")[0])
        if checksum and digest != checksum:
            raise BuildError(f"digest mismatch {digest}: {checksum}")
        modified = response.head.modified
        when = (_ZERO_TIME if classic else 0) if modified is None else modified
        await asyncio.to_thread(os.utime, context.data / name, (when, when))
    except BaseException as error:
        await context.close()
        if isinstance(error, OSError):
            raise EngineError(f"failed to write: {os.strerror(error.errno or 0).lower()}") from error
        raise
    return Fetched(name, context)


def _name(url: str, response: Response, add: i.Add, classic: bool) -> str:
    name = url_name(url)
    if classic:
        if not name or url.partition("?")[0].endswith("/"):
            name = disposition_name(response.head.disposition)
        if not name and add.destination.endswith("/"):
            raise EngineError(f"cannot determine filename for source {url}")
    return UNNAMED if name in ("", ".", "..") or "\0" in name or "/" in name else name


def _other_digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _digest_error(text: str) -> str:
    algorithm, colon, _ = text.partition(":")
    if not colon or not algorithm:
        return "invalid checksum digest format"
    if algorithm not in ("sha256", "sha384", "sha512"):
        return "unsupported digest algorithm"
    return "invalid checksum digest length"
