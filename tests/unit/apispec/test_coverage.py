import textwrap
from pathlib import Path

import pytest

from apispec import coverage

ROOT = Path(__file__).resolve().parents[3]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(
        tmp_path / "compatd" / "api" / "container.py",
        """
        HANDLERS: dict[str, Handler] = {"ContainerList": list_, "ContainerCreate": create}
        OTHER = {"ContainerStop": 1}
        """,
    )
    write(tmp_path / "compatd" / "http" / "server.py", "def f():\n    return operation.id == 'SystemPing'\n")
    write(
        tmp_path / "conformance" / "test_a.py",
        """
        import pytest

        @pytest.mark.operation("ContainerList", "SystemPing")
        def test_one(): ...

        @pytest.mark.operation("ContainerStop")
        class TestMany:
            pytestmark = [pytest.mark.operation("ContainerKill")]

            def test_two(self): ...
            def helper(self): ...
        """,
    )
    return tmp_path


def test_built_is_what_has_a_handler(project: Path) -> None:
    assert coverage.handlers(project) == {"ContainerList", "ContainerCreate", "SystemPing"}


def test_marks_on_functions_classes_and_modules(project: Path) -> None:
    assert coverage.tests(project) == {
        "ContainerList": ["test_a.py::test_one"],
        "SystemPing": ["test_a.py::test_one"],
        "ContainerStop": ["test_a.py::TestMany::test_two"],
        "ContainerKill": ["test_a.py::TestMany::test_two"],
    }


def test_marks_by_names_of_the_module(tmp_path: Path) -> None:
    write(
        tmp_path / "conformance" / "test_b.py",
        """
        PUSH = "ImagePush"
        BOTH = ("ImageGet", "ImageLoad")
        TAG, LIST = "ImageTag", "ImageList"

        @pytest.mark.operation(PUSH)
        @pytest.mark.operation(*BOTH, TAG, UNKNOWN)
        def test_one(): ...
        """,
    )
    assert sorted(coverage.tests(tmp_path)) == ["ImageGet", "ImageLoad", "ImagePush", "ImageTag"]


def test_table(project: Path) -> None:
    text = coverage.table(project)
    assert "110 operations: 3 built, 30 answered as an engine outside a swarm does, 77 not yet" in text
    assert "| `GET /containers/json` |  | built | `test_a.py`: test_one |" in text
    assert "| `GET /swarm` |  | outside a swarm |  |" in text
    assert "no operations" not in text


def test_table_tells_wrong_ids(project: Path) -> None:
    write(project / "compatd" / "api" / "more.py", 'HANDLERS = {"ContainerLits": 1}')
    assert coverage.table(project).endswith("no operations: ContainerLits.\n")


def test_no_wrong_ids_in_this_project() -> None:
    assert "no operations" not in coverage.table(ROOT)


def test_the_committed_table_is_up_to_date() -> None:
    fresh = (ROOT / "docs" / "api.md").read_text() == coverage.table(ROOT)
    assert fresh, "docs/api.md is out of date: run scripts/api-table"
