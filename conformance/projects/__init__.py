"""Dockerfiles as people write them, one folder each, and what a real engine makes of them.

`expected.json` holds for each project the files below its paths, the config, and the history by either door,
as dockerd 26.1 made them; `python -m conformance.projects` asks the engine of DOCKER_HOST and writes it anew.
Times are left out.
"""

import gzip
import io
import json
import re
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.engine import LABEL, Engine
from conformance.images import Tar

FOLDER = Path(__file__).parent
EXPECTED = FOLDER / "expected.json"
BUSYBOX, DEBIAN = "busybox", "debian"
CLASSIC, BUILDKIT = "classic", "buildkit"
_CONFIG = (
    "User", "ExposedPorts", "Env", "Cmd", "Healthcheck", "Volumes", "WorkingDir", "Entrypoint", "OnBuild",
    "Labels", "StopSignal", "Shell",
)  # fmt: skip
_HASH = re.compile(r"\b(file|dir|multi):[0-9a-f]{64}\b")
_OWN = (
    "/dev",
    "/proc",
    "/sys",
    "/.dockerenv",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/mtab",
)
"""What an engine puts into each container."""


@dataclass(frozen=True)
class Project:
    """One folder. `paths`: what is compared of the image; `contexts`: named contexts, by folder."""

    name: str
    paths: tuple[str, ...]
    base: str = BUSYBOX
    doors: tuple[str, ...] = (CLASSIC, BUILDKIT)
    arguments: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    folder: str = ""
    contexts: Mapping[str, str] = field(default_factory=dict)
    archives: tuple[str, ...] = ()  # .tar.gz files that are made for it


PROJECTS = (
    Project("node", ("/usr/src",), arguments={"NODE_ENV": "staging"}),
    Project("go", ("/",), arguments={"VERSION": "1.2.3"}),
    Project(
        "nginx",
        ("/var/www", "/etc/nginx/conf.d", "/etc/nginx/sites-enabled"),
        DEBIAN,
        (CLASSIC,),
        archives=("site",),
    ),
    Project(
        "apt", ("/usr/bin/greeter", "/usr/share/greeter", "/var/lib/greeter", "/greeting"), DEBIAN, (CLASSIC,)
    ),
    Project("python", ("/venv", "/app", "/usr/local/bin", "/greeting"), DEBIAN, (BUILDKIT,)),
    Project("onbuild", ("/srv", "/result")),
    Project("heredocs", ("/srv", "/etc/own", "/usr/local/bin"), doors=(BUILDKIT,), arguments={"NAME": "you"}),
    Project("monorepo", ("/app",), doors=(BUILDKIT,), folder="services/api", contexts={"shared": "shared"}),
    Project("legacy", ("/data", "/files", "/unpacked", "/opt", "/root", "/tmp"), archives=("archive",)),
    Project("service", ("/srv", "/usr/local/bin"), arguments={"TAG": "v1"}, target="release"),
)


def archive(name: str) -> bytes:
    """A packed archive for ADD: a folder, links, owners."""
    tar = Tar().add("html", uid=33, gid=33)
    tar.add(f"html/{name}.txt", "unpacked\n", uid=33, gid=33, mode=0o640).link("html/link", f"{name}.txt")
    return gzip.compress(tar.link("html/hard", f"html/{name}.txt", tarfile.LNKTYPE).bytes(), mtime=0)


def write(project: Project, folder: Path) -> Path:
    """Put a project's files into a folder; the one of them to build."""
    shutil.copytree(FOLDER / project.name, folder, dirs_exist_ok=True)
    for name in project.archives:
        (folder / f"{name}.tar.gz").write_bytes(archive(name))
    for path in folder.rglob("*"):  # whatever the umask was of who checked them out
        executable = path.is_dir() or path.read_bytes().startswith(b"#!")
        path.chmod(0o755 if executable else 0o644)
    return folder / project.folder


def files(engine: Engine, image: str, paths: tuple[str, ...]) -> dict[str, list[Any]]:
    """What is below these paths of an image: type, mode, owner, and content or target of each."""
    container = engine.create(Image=image, Entrypoint=["/none"])
    found: dict[str, list[Any]] = {}
    try:
        for path in paths:
            answer = engine.wire.request("GET", f"/containers/{container}/archive", path=path)
            assert answer.status == 200, (path, answer)
            above = path.rpartition("/")[0]
            with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
                for info in tar:
                    data = tar.extractfile(info) if info.isreg() else None
                    content = data.read().decode("utf-8", "replace") if data else info.linkname
                    name = f"{above}/{info.name.removeprefix('/').removeprefix('./')}"
                    found[name] = [info.type.decode(), f"{info.mode & 0o7777:o}", info.uid, info.gid, content]
    finally:
        engine.remove(container)
    return {name: found[name] for name in sorted(found) if not name.startswith(_OWN)}


def config(engine: Engine, image: str) -> dict[str, Any]:
    """The part of the config that says what runs."""
    found = engine.wire.get(f"/images/{image}/json")["Config"]
    labels = {key: value for key, value in (found.get("Labels") or {}).items() if key not in (LABEL, "kit")}
    return {key: value for key in _CONFIG if (value := labels if key == "Labels" else found.get(key))}


def history(engine: Engine, image: str) -> list[str]:
    """What the history says of each step of the project's own, the last first."""
    entries = engine.wire.get(f"/images/{image}/history")
    texts = [_HASH.sub(r"\1:HASH", entry["CreatedBy"]) for entry in entries]
    return [text for text in texts if LABEL not in text and text != "layer 0" and text]


def expected() -> dict[str, Any]:
    """What was recorded."""
    found: dict[str, Any] = json.loads(EXPECTED.read_text())
    return found
