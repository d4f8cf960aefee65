"""Builds of the projects, by either door, and what came of them."""

import io
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from conformance import kits, projects
from conformance.apps.project import import_image
from conformance.builds import build
from conformance.engine import Engine
from conformance.projects import BUILDKIT, DEBIAN, Project


class Bases:
    """The images that the projects stand on, made when the first one wants them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._debian = ""

    def tag(self, project: Project) -> str:
        if project.base != DEBIAN:
            return self._engine.image
        self._debian = self._debian or import_image(self._engine)
        return self._debian


def built(engine: Engine, bases: Bases, project: Project, door: str) -> dict[str, Any]:
    """Build a project: its files, config, history."""
    with tempfile.TemporaryDirectory() as made:
        folder = projects.write(project, Path(made) / "files")
        arguments = {"BASE": bases.tag(project), **project.arguments}
        if (folder / "Dockerfile.base").exists():
            arguments["FRAMEWORK"] = f"{engine.prefix}/{engine.name('framework').lower()}"
            _build(engine, project, door, folder, arguments, "Dockerfile.base", arguments["FRAMEWORK"])
        image = _build(engine, project, door, folder, arguments)
        return {
            "files": projects.files(engine, image, project.paths),
            "config": projects.config(engine, image),
            "history": projects.history(engine, image),
        }


def _build(
    engine: Engine,
    project: Project,
    door: str,
    folder: Path,
    arguments: dict[str, str],
    dockerfile: str = "Dockerfile",
    tag: str = "",
) -> str:
    if door == BUILDKIT:
        with tempfile.TemporaryDirectory() as made:
            kit = kits.make(engine, Path(made), buildx=True)
            kit.folder = folder
            options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
            options += [
                f"--build-context={name}={folder.parents[1] / path}"
                for name, path in project.contexts.items()
            ]
            options += [f"--target={project.target}"] if project.target else []
            options += ["-t", tag] if tag else []
            file = Path(made) / "iid"
            kit("-f", str(folder / dockerfile), "--iidfile", str(file), *options)
            return file.read_text()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        ignored = _ignored(folder)
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if not ignored(name):
                tar.add(path, name, recursive=False, filter=_roots)
    query: dict[str, Any] = {"t": tag} if tag else {}
    done = build(
        engine, None, body=buffer.getvalue(), buildargs=arguments, target=project.target,
        dockerfile=dockerfile, **query,
    )  # fmt: skip
    return done.image


def _roots(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """As command lines send files: of root, whoever has them."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def _ignored(folder: Path) -> Any:
    """docker-py's reading of .dockerignore; the Dockerfile and that file are sent always."""
    from docker.utils.build import exclude_paths  # type: ignore[import-untyped, unused-ignore]

    file = folder / ".dockerignore"
    patterns = [line for line in file.read_text().splitlines() if line] if file.exists() else []
    kept = exclude_paths(str(folder), patterns, dockerfile="Dockerfile") | {".dockerignore"}
    return lambda name: name not in kept
