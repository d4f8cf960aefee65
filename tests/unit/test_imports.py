"""Directions of imports, as docs/architecture.md draws them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("apispec", "compatd", "runtime")

# A package, and those of ours that it may import beside itself. The longest name that fits a module rules.
ALLOWED: dict[str, tuple[str, ...]] = {
    "apispec": (),
    "runtime": (),
    "compatd": OURS,  # the composition root, the command line, and what is beside the rooms
    "compatd.store": (),
    "compatd.engine": ("compatd.store", "compatd.config", "runtime"),
    "compatd.http": ("apispec", "compatd.engine.errors"),
    "compatd.api": ("compatd.http", "compatd.engine", "apispec"),
    "compatd.access": ("compatd.config", "compatd.engine"),
    "compatd.config": ("apispec.gojson",),
}
# Small modules without imports of ours, which anybody in compatd may use.
COMMON = ("compatd", "compatd.log")
# What runs in the zygote and the shims: a budget of memory, so nothing heavy.
LIGHT = ("runtime.shim", "runtime.init", "runtime.cgroups", "runtime.net", "runtime.storage", "runtime.logs")
HEAVY = {
    "asyncio",
    "orjson",
    "pyroute2",
    "sanic",
    "aiohttp",
    "uvloop",
    "systemd",
    "zstandard",
    "yaml",
    "re2",
    "docker",
}


@cache
def modules() -> list[tuple[str, Path]]:
    """Every module of ours: dotted name and file."""
    found = []
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def imports(name: str, path: Path, *, at_import: bool = False) -> Iterator[str]:
    """The modules that a file imports, as dotted names; `from a import b` may mean a.b, so both are told.

    With `at_import` only those that are imported together with the module: not within functions, and not for
    the type checker alone.
    """
    for node in _nodes(_parsed(path.read_text()), at_import):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _nodes(node: ast.AST, at_import: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if at_import:
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
        yield child
        yield from _nodes(child, at_import)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def ruler(name: str) -> str:
    """The longest package of ALLOWED that a module is in."""
    return max((package for package in ALLOWED if within(name, package)), key=len)


@cache
def modules_named() -> set[str]:
    return {name for name, _ in modules()}


def forbidden(name: str, path: Path) -> set[str]:
    """What a module imports of ours and may not."""
    package = ruler(name)
    known = modules_named()
    found = set()
    for imported in imports(name, path):
        if imported not in known or imported in COMMON or within(imported, package):
            continue
        if not any(within(imported, allowed) for allowed in ALLOWED[package]):
            # `from compatd.engine import errors` tells compatd.engine, too, which alone says nothing.
            if any(within(allowed, imported) for allowed in ALLOWED[package]):
                continue
            found.add(imported)
    return found


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_directions(package: str) -> None:
    wrong = {
        name: bad for name, path in modules() if ruler(name) == package and (bad := forbidden(name, path))
    }
    assert not wrong


def test_shims_stay_light() -> None:
    wrong = {
        name: heavy
        for name, path in modules()
        if any(within(name, package) for package in LIGHT)
        if (heavy := {i.split(".")[0] for i in imports(name, path, at_import=True)} & HEAVY)
    }
    assert not wrong


def test_tests_and_conformance_are_not_imported() -> None:
    wrong = [
        name
        for name, path in modules()
        for i in imports(name, path)
        if i.split(".")[0] in {"tests", "conformance"}
    ]
    assert not wrong


def test_the_suite_speaks_to_engines_only_by_the_api() -> None:
    wrong = [
        path.name
        for path in (ROOT / "conformance").glob("*.py")
        if {i.split(".")[0] for i in imports(f"conformance.{path.stem}", path)} & set(OURS)
    ]
    assert not wrong


def test_a_wrong_direction_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "spec.py"
    path.write_text("def f() -> None:\n    from compatd.engine import events\n")
    assert forbidden("runtime.spec", path)
    path.write_text("from . import syscalls\nimport runtime.spec\n")
    assert not forbidden("runtime.spec", path)


def test_no_file_is_over_four_hundred_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in (*OURS, "conformance", "tests")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert not long
