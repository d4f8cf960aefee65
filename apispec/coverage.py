"""Which operations are built, and which conformance tests show them: the table in ``docs/api.md``.

Found by reading source, not by importing it: the keys of a module-level ``HANDLERS`` in ``compatd/api/*.py``,
what ``compatd/http`` answers by itself (``operation.id == "…"``), and the IDs in
``@pytest.mark.operation(…)`` (on functions, classes, or in ``pytestmark``) of ``conformance/test_*.py``.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from apispec.model import Operation
from apispec.operations import OPERATIONS
from apispec.versions import MIN


def handlers(root: Path) -> set[str]:
    """IDs of the operations that the sources below ``root`` handle."""
    found: set[str] = set()
    for path in sorted((root / "compatd" / "http").glob("*.py")):
        for inner in ast.walk(ast.parse(path.read_text())):
            if isinstance(inner, ast.Compare) and ast.unparse(inner.left).endswith("operation.id"):
                found |= {text for other in inner.comparators for text in _texts(other)}
    for path in sorted((root / "compatd" / "api").glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            targets: list[ast.expr] = []
            value: ast.expr | None = None
            if isinstance(node, ast.Assign):
                targets, value = node.targets, node.value
            elif isinstance(node, ast.AnnAssign):
                targets, value = [node.target], node.value
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            if "HANDLERS" in names and isinstance(value, ast.Dict):
                found |= {text for key in value.keys if key for text in _texts(key)}
    return found


def tests(root: Path) -> dict[str, list[str]]:
    """Operation ID → names of the conformance tests that show it, as ``test_file.py::test_name``."""
    shown: dict[str, list[str]] = {}
    for path in sorted((root / "conformance").rglob("test_*.py")):
        tree = _Named().visit(ast.parse(path.read_text()))
        for name, ids in _marked(tree.body, _module_marks(tree.body)):
            for id in ids:
                entry = f"{path.name}::{name}"
                if entry not in shown.setdefault(id, []):
                    shown[id].append(entry)
    return shown


class _Named(ast.NodeTransformer):
    """Puts a module's texts, and tuples of them, where their names stand: `PUSH = "ImagePush"`."""

    def __init__(self) -> None:
        self._values: dict[str, ast.expr] = {}

    def visit_Module(self, node: ast.Module) -> ast.AST:
        for statement in node.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant | ast.Tuple):
                for target in statement.targets:
                    self._name(target, statement.value)
        return self.generic_visit(node)

    def _name(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self._values[target.id] = value
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for inner, item in zip(target.elts, value.elts, strict=False):
                self._name(inner, item)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        loaded = isinstance(node.ctx, ast.Load)
        return self._values.get(node.id, node) if loaded else node


def _marked(body: Iterable[ast.stmt], outer: list[str]) -> Iterator[tuple[str, list[str]]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            marks = outer + _module_marks(node.body) + _marks(node.decorator_list)
            for name, ids in _marked(node.body, marks):
                yield f"{node.name}::{name}", ids
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            yield node.name, outer + _marks(node.decorator_list)


def _module_marks(body: Iterable[ast.stmt]) -> list[str]:
    ids: list[str] = []
    for node in body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets
        ):
            ids += _marks(node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value])
    return ids


def _marks(decorators: Iterable[ast.expr]) -> list[str]:
    ids: list[str] = []
    for decorator in decorators:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("mark.operation"):
            ids += [text for argument in decorator.args for text in _texts(argument)]
    return ids


def _texts(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Starred):
        return _texts(node.value)
    if isinstance(node, ast.Tuple):
        return [text for item in node.elts for text in _texts(item)]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _state(operation: Operation, built: set[str]) -> str:
    if operation.id in built:
        return "built"
    return "outside a swarm" if operation.swarm or operation.tag in ("Secret", "Config") else "not yet"


def table(root: Path) -> str:
    """The text of ``docs/api.md`` for the sources below ``root``."""
    built, shown = handlers(root), tests(root)
    unknown = sorted((built | shown.keys()) - OPERATIONS.keys())
    tested = [id for id in OPERATIONS if id in shown]
    counts = [_state(operation, built) for operation in OPERATIONS.values()]
    lines = [
        "# Operations of the Engine API",
        "",
        "Written by `scripts/api-table` from `apispec/`, `compatd/api/` and `conformance/`; don't edit it.",
        "",
        f"{len(OPERATIONS)} operations: {counts.count('built')} built, "
        f"{counts.count('outside a swarm')} answered as an engine outside a swarm does, "
        f"{counts.count('not yet')} not yet (501). {len(tested)} are shown by a conformance test.",
        "",
        "*Since* is the API version that brought an operation, where that is later than "
        f"{MIN}. Tests are `file: names` below `conformance/`.",
    ]
    for tag in dict.fromkeys(operation.tag for operation in OPERATIONS.values()):
        lines += [
            "",
            f"## {tag}",
            "",
            "| operation | request | since | state | tests |",
            "|---|---|---|---|---|",
        ]
        for operation in OPERATIONS.values():
            if operation.tag == tag:
                request = f"`{operation.method} {operation.path}`"
                by = _tests(shown.get(operation.id, []))
                lines.append(
                    f"| {operation.id}<br>{operation.summary} | {request} | {operation.known} "
                    f"| {_state(operation, built)} | {by} |"
                )
    if unknown:
        lines += ["", "Named in handlers or tests, but no operations: " + ", ".join(unknown) + "."]
    return "\n".join(lines) + "\n"


def _tests(names: list[str]) -> str:
    files: dict[str, list[str]] = {}
    for name in names:
        file, _, test = name.partition("::")
        files.setdefault(file, []).append(test)
    return "<br>".join(f"`{file}`: {', '.join(tests)}" for file, tests in files.items())
