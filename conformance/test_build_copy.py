"""COPY and ADD on real engines: the same trees (names, modes, owners, links, content), the same errors.

All cases of a door are stages of one build, which a last stage collects.
"""

import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.builds import build
from conformance.copycases import CASES, SAME, TAR, WHEN, Case, D
from conformance.engine import LABEL, Engine
from conformance.images import Tar
from conformance.kits import make

CLASSIC, KIT = ("ImageBuild",), ("Grpc", "Session")
BASE_WHEN = 1_000_000_000
USERS = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/:/bin/sh\nbob:x:1002:1003::/:/bin/sh\n"
GROUPS = "root:x:0:\nalice:x:1001:\nstaff:x:50:\n"


@pytest.fixture
def base(engine: Engine) -> Iterator[str]:
    """An image with a few folders, files and links."""
    tar = Tar()
    folders = {"etc": (0o755, 0, 0), "dir": (0o700, 7, 8), "tmp": (0o1777, 0, 0), "sub": (0o755, 0, 0)}
    for name, (mode, uid, gid) in folders.items():
        tar.add(name, mode=mode, uid=uid, gid=gid, mtime=BASE_WHEN)
    tar.add("sub/inner", mtime=BASE_WHEN)
    files = {"etc/passwd": USERS, "etc/group": GROUPS, "dir/old": "old", "file": "file", "sub/f": "f"}
    for name, data in files.items():
        tar.add(name, data, mtime=BASE_WHEN)
    links = {
        "link": "/dir", "rel": "dir", "up": "../../../dir", "dangling": "/nowhere/deep", "linkfile": "file",
        "loop": "loop",
    }  # fmt: skip
    for name, target in links.items():
        tar.link(name, target)
    name = engine.name("copybase")
    label = f'LABEL {LABEL}="{engine.run_id}"'
    engine.wire.post(
        "/images/create", tar.bytes(), status=200, fromSrc="-", repo=name, tag="1", changes=label
    )
    yield f"{name}:1"
    engine.wire.request("DELETE", f"/images/{name}:1", force=True)


def write(folder: Path, files: dict[str, Any], where: str) -> None:
    """A case's files."""
    for name, value in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if value is None or value[0] == "dir":
            path.mkdir(exist_ok=True)
            path.chmod(value[1] if value else 0o755)
        elif isinstance(value, bytes | str):
            path.write_bytes(value.encode() if isinstance(value, str) else value)
        elif value[0] == "link":
            path.symlink_to(value[1].replace("{c}", where))
        elif value[0] == "hard":
            path.hardlink_to(folder / value[1])
        elif value[0] == "fifo":
            os.mkfifo(path)
        elif value[0] == "file":
            path.write_text(value[1])
            path.chmod(value[2])
        else:
            path.write_bytes(value[0])
            path.chmod(value[1])
    for above, folders, names in os.walk(folder, topdown=False):
        for name in [*folders, *names]:
            os.utime(Path(above, name), (WHEN, WHEN), follow_symlinks=False)
    os.utime(folder, (WHEN, WHEN))


def packed(folder: Path) -> bytes:
    """The folder as a context's tar, all of root."""
    buffer = io.BytesIO()

    def of_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        return info

    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name, filter=of_root)
    return buffer.getvalue()


def all_cases(folder: Path, base: str, *, classic: bool) -> dict[str, Case]:
    """Write files and a Dockerfile of all cases that the door takes, named c0, c1 and so on."""
    chosen = [case for case in CASES.values() if case.wanted(classic=classic) is not None]
    if classic:  # each step takes dockerd a while: those that differ, and some that do not
        chosen = [case for case in chosen if "--link" not in case.line]  # unknown to 20.10
        differing = [case for case in chosen if case.classic != SAME]
        chosen = [*differing, *[case for case in chosen if case.classic == SAME][::4]]
    named = {f"c{number}": case for number, case in enumerate(chosen)}
    lines, last = [], ["FROM scratch"]
    for name, case in named.items():
        write(folder / name, case.files, name)
        line = case.line.replace("{c}", name).replace("copybase:1", base)
        lines += [f"FROM {base} AS {name}", line]
        last.append(f"COPY --from={name} / /{name}/")
    (folder / "Dockerfile").write_text("\n".join([*lines, *last, ""]))
    return named


def saved(engine: Engine, image: str) -> dict[str, str]:
    """All entries of an image's layers."""
    answer = engine.wire.request("GET", f"/images/{image}/get")
    found: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest
        for layer in json.load(manifest)[0]["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as tar:
                found.update({info.name.rstrip("/"): entry(tar, info) for info in tar})
    return found


def entry(tar: tarfile.TarFile, info: tarfile.TarInfo) -> str:
    kind = {"0": "f", "5": "d", "2": "l", "1": "h"}.get(info.type.decode(), info.type.decode())
    content = info.linkname
    if kind == "h":
        content = info.linkname.partition("/")[2]
    elif kind == "f":
        file = tar.extractfile(info)
        assert file
        content = file.read().decode("latin-1")
    kept = " kept" if int(info.mtime) == WHEN else ""
    return f"{kind} {info.mode & 0o7777:o} {info.uid}:{info.gid} {content}".rstrip() + kept


def compare(engine: Engine, image: str, named: dict[str, Case], *, classic: bool) -> None:
    found = saved(engine, image)
    plain = {"etc", "etc/passwd", "etc/group", "dir", "dir/old", "tmp", "sub", "sub/inner", "sub/f", "file",
             "link", "rel", "up", "dangling", "linkfile", "loop"}  # fmt: skip
    wrong = {}
    for name, case in named.items():
        wanted = case.wanted(classic=classic)
        assert wanted is not None
        there = {path.partition("/")[2]: text for path, text in found.items() if path.startswith(f"{name}/")}
        differ = {path: (text, there.get(path)) for path, text in wanted.items() if there.get(path) != text}
        differ |= {path: ("nothing", there[path]) for path in set(there) - set(wanted) - plain}
        if differ:
            wrong[case.line] = differ
    assert not wrong, "\n".join(f"{line}: {differ}" for line, differ in wrong.items())


@pytest.mark.operation(*CLASSIC)
def test_trees_by_the_classic_door(engine: Engine, base: str, tmp_path: Path) -> None:
    named = all_cases(tmp_path, base, classic=True)
    done = build(engine, None, body=packed(tmp_path), version="1")
    assert not done.error
    compare(engine, done.image, named, classic=True)


@pytest.mark.operation(*KIT)
@pytest.mark.since("1.45")
def test_trees_by_buildkit(engine: Engine, base: str, tmp_path: Path) -> None:
    kit = make(engine, tmp_path, buildx=True)
    named = all_cases(kit.folder, base, classic=False)
    compare(engine, kit.image("--no-cache"), named, classic=False)


NOT_FOUND = r"failed to calculate checksum of ref \S+: \"/nope\": not found"
IN_IMAGE = rf"({NOT_FOUND}|lstat \S+/nope: no such file or directory)"  # whichever is first
EXCLUDED = (
    r"COPY failed: file not found in build context or excluded by .dockerignore: stat {}: file does not exist"
)
MAPPING = r"unable to convert uid/gid chown string to host mapping: "
FAILED = r"failed to copy files: .*"
NO_FOLDER = r"mkdir \S*/file: not a directory"
MANY = r"When using COPY with more than one source file, the destination must be a directory and end with a /"
REFUSED: list[tuple[str, str, str]] = [  # line, BuildKit's words, the classic builder's; "" where it is taken
    ("COPY nope /new", NOT_FOUND, EXCLUDED.format("nope")),
    ("COPY broken /new", NOT_FOUND, EXCLUDED.format("broken")),
    ("COPY --from=BASE /nope /t", IN_IMAGE, r"COPY failed: stat nope: file does not exist"),
    ("COPY a /loop/x", r"too many links", FAILED + r"evalSymlinksInScope: too many links in \S+/loop/x"),
    ("COPY a /file/x", NO_FOLDER, FAILED + r"lstat \S+/file/x: not a directory"),
    ("COPY a /file/", NO_FOLDER, FAILED + "failed to create new directory: " + NO_FOLDER),
    ("COPY d /file", r"cannot copy to non-directory: \S+/merged/file", FAILED + NO_FOLDER),
    ("COPY dirs /sub", r"cannot replace to directory \S+/merged/sub/inner with file", ""),
    ("ADD cut.tar /x", r"unexpected EOF", FAILED + "unexpected EOF"),
    ("COPY ../a /new", "", r"COPY failed: forbidden path outside the build context: ../a \(\)"),
    ("COPY a b.txt /new", "", MANY),
    ("COPY *.nope /new/", "", r"COPY failed: no source files were specified"),
    ("COPY --chown=carol a /n", "", MAPPING + "can't find uid for user carol: no such user: carol"),
    ("COPY --chown=alice:none a /n", "", MAPPING + "can't find gid for group none: no such group: none"),
    ("COPY --chown=1:2:3 a /n", "", MAPPING + "invalid chown string format: 1:2:3"),
    ("COPY --chmod=600 a /n", "", r"the --chmod option requires BuildKit. Refer to https://docs.docker.com/.*"),
    ("ADD hard.tar /x", r"link /etc/passwd /h: no such file or directory",
     FAILED + "link /etc/passwd /h: no such file or directory"),
    ("ADD through.tar /x", r"open /s/evil: no such file or directory",
     FAILED + "open /s/evil: no such file or directory"),
]  # fmt: skip


def awkward(folder: Path) -> None:
    """The files of REFUSED."""
    write(folder, {**D, "dirs/inner": "a file", "cut.tar": TAR[:1027]}, "")
    (folder / "hard.tar").write_bytes(Tar().link("h", "../../etc/passwd", tarfile.LNKTYPE).bytes())
    (folder / "through.tar").write_bytes(Tar().link("s", "/etc").add("s/evil", "evil").bytes())


@pytest.mark.operation(*CLASSIC)
@pytest.mark.parametrize(("line", "text"), [(line, text) for line, _, text in REFUSED if text])
def test_refused_by_the_classic_door(engine: Engine, base: str, tmp_path: Path, line: str, text: str) -> None:
    awkward(tmp_path)
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\n{line.replace('BASE', base)}\n")
    done = build(engine, None, body=packed(tmp_path), version="1")
    assert re.fullmatch(text, done.error), done.error


@pytest.mark.operation(*KIT)
@pytest.mark.since("1.45")
@pytest.mark.parametrize(("line", "text"), [(line, text) for line, text, _ in REFUSED if text])
def test_refused_by_buildkit(engine: Engine, base: str, tmp_path: Path, line: str, text: str) -> None:
    kit = make(engine, tmp_path, buildx=True)
    awkward(kit.folder)
    kit.files(f"FROM {base}\n{line.replace('BASE', base)}\n")
    said = kit.fails("--no-cache").err.strip().splitlines()[-1]
    pattern = rf"ERROR: failed to solve: (failed to compute cache key: )?{text}"
    assert re.fullmatch(pattern, said), said
