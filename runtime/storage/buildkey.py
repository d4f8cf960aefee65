"""The worker that says what COPY and ADD would copy, without doing it: `runtime.storage.buildkey:run`.

The digest is of names, modes, owners, extended attributes, links, devices and content, not of times. Source
of the rules: moby/buildkit cache/contenthash (which paths count, texts of errors); the digest's form is our
own.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterator

from runtime.storage import buildview
from runtime.storage.buildaction import Action
from runtime.storage.buildcopy import unlimited
from runtime.storage.buildindex import Digests, Index, Later, file_digest
from runtime.storage.buildowner import UnknownOwner, resolve
from runtime.storage.buildpaths import CopyError, Root, is_folder, names, reason, shown, split
from runtime.storage.copyin import is_local
from runtime.storage.tarstream import load_thread_end
from runtime.storage.tree import OPEN_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

_LARGE = 1 << 20  # from here on a file is hashed beside the others
_AHEAD = 1024
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_IGNORED = ("trusted.overlay.", "user.overlay.", "security.selinux", "security.ima", "system.")


class NotThere(Exception):
    """A source is missing; the text is its path."""


class Forbidden(Exception):
    """A source is outside of its tree, for the classic builder; the text is its path."""


def run(arguments: Json, fds: list[int]) -> Json:
    """The digest of all "actions" (see `Action`) in the view that `buildview.enter` makes of the arguments.

    "indexes": for each source null, or the path of its `Index`; "owner": null, or what `buildowner.resolve`
    takes, with "source", whose files are read for names. Answer: {"digest", "kinds": for each action "file",
    "dir" or "multi", "count": of sources, "owner": null or [uid, gid]}; {"missing": path} for a source that
    is not there, {"forbidden": path} for one outside of the tree ("classic" only), or {"error": text,
    "owner": true when it is about that}.
    """
    (answer,) = many({**arguments, "jobs": [arguments]}, fds)["answers"]
    return dict(answer)


def many(arguments: Json, fds: list[int]) -> Json:
    """As `run`, for each of "jobs" ("actions", "owner") in the same view: {"answers": [one for each]}."""
    unlimited()
    load_thread_end()
    answers: list[Json] = []
    classic = arguments.get("classic", False)
    try:
        indexes = [Index(path) if path else None for path in arguments["indexes"]]
        told = [_actions(job["actions"], classic=classic) for job in arguments["jobs"]]
        view = buildview.enter(arguments)
    except OSError as error:
        failed = {"error": f"reading failed: {reason(error)}", "errno": error.errno}
        return {"answers": [failed for _ in arguments["jobs"]]}
    for job, found in zip(arguments["jobs"], told, strict=True):
        answers.append(found if isinstance(found, dict) else _answer(view, indexes, found, job, classic))
    try:
        for index in indexes:
            if index:
                index.save()
    except OSError as error:
        failed = {"error": f"reading failed: {reason(error)}", "errno": error.errno}
        return {"answers": [failed for _ in answers]}
    return {"answers": answers}


def _actions(told: list[Json], *, classic: bool) -> list[Action] | Json:
    """The actions, whose patterns are read before the view is entered; or the answer for one that is none."""
    try:
        return [Action(one) for one in told]
    except ValueError as error:  # a pattern that means nothing
        if classic:  # it matches nothing
            return {"digest": "", "kinds": [], "count": 0, "owner": None}
        return {"error": str(error)}


def _answer(
    view: buildview.View, indexes: list[Index | None], actions: list[Action], job: Json, classic: bool
) -> Json:
    try:
        walker = Walker([Root(fd) for fd in view.sources], indexes, classic=classic)
        for action in actions:
            walker.add(action)
        walker.finish()
        owner = None
        if told := job.get("owner"):
            owner = resolve(view.sources[told["source"]], told)
    except ValueError as error:  # as in `_actions`
        if classic:
            return {"digest": "", "kinds": [], "count": 0, "owner": None}
        return {"error": str(error)}
    except NotThere as error:
        return {"missing": str(error)}
    except Forbidden as error:
        return {"forbidden": str(error)}
    except UnknownOwner as error:
        return {"error": str(error), "owner": True}
    except CopyError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": f"reading failed: {reason(error)}", "errno": error.errno}
    digest = "sha256:" + walker.digest.hexdigest()
    return {"digest": digest, "kinds": walker.kinds, "count": walker.count, "owner": owner}


class Walker:
    """Adds up what actions stand for."""

    def __init__(self, sources: list[Root], indexes: list[Index | None], *, classic: bool) -> None:
        self.digest = hashlib.sha256()
        self.kinds: list[str] = []
        self.count = 0
        self._classic = classic
        self._threads = Digests()  # they begin behind `enter`, and live in the view
        self._sources, self._indexes = sources, indexes
        self._waiting: deque[tuple[bytes, Later | bytes]] = deque()
        self._buffer = bytearray(_LARGE)
        self._index: Index | None = None

    def add(self, action: Action) -> None:
        """One action. Raises NotThere, CopyError, OSError."""
        root = self._sources[action.source]
        self._index = self._indexes[action.source]
        self._mark(b"action")
        found = list(self._meant(root, action) if self._classic else self._found(root, action))
        self.count += len(found)
        whole = action.include is None and action.exclude is None
        for path, followed in found:
            self._mark(os.path.basename(path))
            self._path(root, path, followed, action if not whole else None)
        self.kinds.append("multi" if len(found) != 1 else self._kind)

    def _found(self, root: Root, action: Action) -> Iterator[tuple[bytes, bytes]]:
        """Each path that is meant, and what it is, links followed."""
        if action.wildcards is not None:
            try:
                matches = list(action.wildcards.matches(root))
            except OSError:
                return
            for path in matches:
                yield path, root.canonical(path, last=action.follow)
            return
        followed = root.canonical(action.path, last=action.follow)
        if root.there(followed) is None:
            raise NotThere(shown(followed))
        for required in action.required:
            place = root.canonical(os.fsencode(required), last=action.follow)
            if root.there(place) is None:
                raise NotThere(required)
        yield action.path, followed

    def _meant(self, root: Root, action: Action) -> Iterator[tuple[bytes, bytes]]:
        """As `_found`, by the classic builder's rules."""
        if action.wildcards is not None:
            try:
                paths = list(action.wildcards.matches(root, into=True))
            except OSError:
                return
        else:
            if not is_local(action.path):
                raise Forbidden(action.text)
            paths = [b"/" + action.path]
        for path in paths:
            followed = root.canonical(path)
            try:
                found = root.there(followed)
            except NotADirectoryError:
                raise CopyError(f"lstat {shown(path)}: not a directory") from None
            if found is None:
                raise NotThere(shown(path[1:]))
            yield path, followed

    _kind = "file"

    def _path(self, root: Root, path: bytes, followed: bytes, patterns: Action | None) -> None:
        info = root.there(followed)
        if info is None:
            raise NotThere(shown(followed))
        self._kind = "dir" if is_folder(info) else "file"
        if not is_folder(info):
            above, name = split(followed)
            folder = root.folder(above)
            self._entry(folder, name, b"", info)
            os.close(folder)
            return
        fd = root.folder(followed)
        if followed != b"/":
            self._header(fd, b"", info, b"")
        if patterns is None:
            self._all(fd, b"")
        else:
            self._some(fd, "", patterns, None, None)
        os.close(fd)

    def _all(self, folder: int, above: bytes) -> None:
        for name in names(folder):
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
            path = above + b"/" + name
            if not stat.S_ISDIR(info.st_mode):
                self._entry(folder, name, path, info)
                continue
            inner = os.open(name, OPEN_DIRECTORY, dir_fd=folder)
            self._header(inner, path, info, b"")
            self._all(inner, path)
            os.close(inner)

    def _some(self, folder: int, above: str, action: Action, include: Any, exclude: Any) -> None:
        for name in names(folder):
            path = f"{above}/{os.fsdecode(name)}" if above else os.fsdecode(name)
            wanted, may, included, excluded = action.wanted(path, include, exclude)
            if not wanted and not may:
                continue
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(info.st_mode):
                if wanted:
                    self._entry(folder, name, b"/" + os.fsencode(path), info)
                continue
            inner = os.open(name, OPEN_DIRECTORY, dir_fd=folder)
            # A folder that is made only for the sake of what is in it counts if there is something
            before = self._count
            self._some(inner, path, action, included, excluded)
            if wanted or self._count != before:
                self._header(inner, b"/" + os.fsencode(path), info, b"")
            os.close(inner)

    _count = 0

    def _entry(self, folder: int, name: bytes, path: bytes, info: os.stat_result) -> None:
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFLNK:
            self._push(_header(path, info, {}) + os.readlink(name, dir_fd=folder), b"")
            return
        if kind != stat.S_IFREG:
            self._push(_header(path, info, {}), b"")
            return
        fd = os.open(name, _OPEN_FILE, dir_fd=folder)
        try:
            header = _header(path, info, _attributes(fd))
            known = self._index.get(info) if self._index else None
            if known is not None:
                self._push(header, known)
            elif info.st_size < _LARGE:
                digest = file_digest(fd, self._buffer)
                if self._index:
                    self._index.put(info, digest)
                self._push(header, digest)
            else:
                self._push(header, self._threads.of(os.dup(fd), info, self._index))
        finally:
            os.close(fd)

    def _header(self, fd: int, path: bytes, info: os.stat_result, rest: bytes) -> None:
        self._push(_header(path, info, _attributes(fd)) + rest, b"")

    def _push(self, header: bytes, digest: Later | bytes) -> None:
        self._count += 1
        self._waiting.append((header, digest))
        if len(self._waiting) > _AHEAD:
            self._pop()

    def _pop(self) -> None:
        header, digest = self._waiting.popleft()
        content = digest if isinstance(digest, bytes) else digest.result()
        self.digest.update(b"%d:%b%d:%b" % (len(header), header, len(content), content))

    def _mark(self, text: bytes) -> None:
        self._push(b"\0" + text, b"")

    def finish(self) -> None:
        """All that still waits."""
        while self._waiting:
            self._pop()


def _header(path: bytes, info: os.stat_result, attributes: dict[str, bytes]) -> bytes:
    size = info.st_size if stat.S_ISREG(info.st_mode) else 0
    numbers = (info.st_mode, info.st_uid, info.st_gid, size, info.st_rdev)
    text = b"%b\0%d %d %d %d %d\0" % (path, *numbers)
    for name in sorted(attributes):
        text += b"%b=%b\0" % (os.fsencode(name), attributes[name].hex().encode())
    return text


def _attributes(fd: int) -> dict[str, bytes]:
    try:
        return {name: os.getxattr(fd, name) for name in os.listxattr(fd) if not name.startswith(_IGNORED)}
    except OSError:
        return {}
