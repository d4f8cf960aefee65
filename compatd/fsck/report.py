"""What a check finds, what is done about it, and how many bytes belong to what."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_LONGEST = 2000


@dataclass
class Problem:
    """kind: orphan (nothing mentions it), missing, damaged, or stray (a file of nobody's in our folders).

    `path` is what an orphan takes up on disk. `fix` puts it right; None: only a person can, and `text` says
    how.
    """

    kind: str
    text: str
    fix: Callable[[], None] | None = None
    path: Path | None = None
    state: str = "found"  # "repaired", "left"

    def line(self) -> str:
        """As it is shown."""
        done = {"found": "", "repaired": " [repaired]", "left": " [left]"}[self.state]
        return f"{self.kind}: {self.text}{done}"


@dataclass
class Report:
    """All problems in the order in which they must be repaired, and the bytes on disk by class."""

    problems: list[Problem] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)

    def add(
        self, kind: str, text: str, fix: Callable[[], None] | None = None, path: Path | None = None
    ) -> None:
        """Note a problem."""
        self.problems.append(Problem(kind, text, fix, path))

    def repair(self) -> None:
        """Put right what can be. What fails is left, and its line says why."""
        for problem in self.problems:
            if problem.fix is None:
                problem.state = "left"
                continue
            try:
                problem.fix()
                problem.state = "repaired"
            except OSError as error:
                problem.text += f" (cannot be repaired: {error})"
                problem.state = "left"

    def count(self, root: Path, classes: dict[str, str]) -> None:
        """Add up the space of all below `root` (bytes of disk blocks, hard links once, folders too).

        `classes`: of paths relative to `root`, what belongs to them; the longest that fits rules. What a
        problem names is "orphans" instead.
        """
        named = {str(problem.path): "orphans" for problem in self.problems if problem.path}
        known = {str(root / path) if path else str(root): name for path, name in classes.items()} | named
        seen: set[tuple[int, int]] = set()
        info = root.lstat()
        self._add(known.get(str(root), "other"), info)
        self._walk(str(root), str(root), known, known.get(str(root), "other"), seen, info.st_dev)

    def _walk(
        self, top: str, shown: str, known: dict[str, str], name: str, seen: set[tuple[int, int]], device: int
    ) -> None:
        folders = [(top, shown, name)]
        while folders:
            folder, path, owner = folders.pop()
            try:
                fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                if len(folder) - len(top) > _LONGEST:
                    self._walk(f"/proc/self/fd/{fd}/.", path, known, owner, seen, device)
                    continue
                with os.scandir(fd) as entries:
                    for entry in entries:
                        info = entry.stat(follow_symlinks=False)
                        if info.st_dev != device or (info.st_dev, info.st_ino) in seen:
                            continue  # another file system is not below this root, only mounted there
                        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                            seen.add((info.st_dev, info.st_ino))
                        inner = f"{path}/{entry.name}"
                        belongs = known.get(inner, owner)
                        self._add(belongs, info)
                        if stat.S_ISDIR(info.st_mode):
                            folders.append((f"{folder}/{entry.name}", inner, belongs))
            finally:
                os.close(fd)

    def _add(self, name: str, info: os.stat_result) -> None:
        self.usage[name] = self.usage.get(name, 0) + info.st_blocks * 512
