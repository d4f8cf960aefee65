"""config.json as it is looked over before anything is made, and the hooks' runner."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from runtime.oci import hooks
from runtime.oci.config import read_spec
from runtime.oci.state import OciError
from runtime.spec import Spec


def bundle(tmp_path: Path, **changes: Any) -> str:
    (tmp_path / "rootfs").mkdir(exist_ok=True)
    spec: dict[str, Any] = {
        "ociVersion": "1.0.2-dev",
        "process": {"cwd": "/", "args": ["true"]},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "mount"}]},
        **changes,
    }
    (tmp_path / "config.json").write_text(json.dumps(spec))
    return str(tmp_path)


def test_paths_are_made_absolute(tmp_path: Path) -> None:
    mounts = [
        {"destination": "/a", "source": "data", "options": ["rbind"]},
        {"destination": "/b", "source": "/abs", "type": "bind"},
        {"destination": "/c", "source": "tmpfs", "type": "tmpfs"},
    ]
    spec = read_spec(bundle(tmp_path, mounts=mounts))
    assert spec["root"]["path"] == str(tmp_path / "rootfs")
    assert [mount["source"] for mount in spec["mounts"]] == [str(tmp_path / "data"), "/abs", "tmpfs"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ociVersion": "0.9.0"}, "unknown version"),
        ({"ociVersion": 1}, "malformed spec file"),
        ({"process": {"cwd": "x", "args": ["true"]}}, "Cwd must be an absolute path"),
        ({"root": None}, "root must be specified"),
        ({"hooks": {"startContainer": [{"path": "x"}]}}, "startContainer hook #0: path must be absolute"),
        ({"hooks": {"poststart": [{"path": "/x", "timeout": 0}]}}, "must be greater than zero"),
        ({"hostname": "x"}, "unable to set hostname without a private UTS namespace"),
        ({"linux": {"maskedPaths": ["/x"]}}, "unable to restrict sys entries"),
        ({"linux": {"rootfsPropagation": "x"}}, "rootfsPropagation=x is not supported"),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(OciError, match=text):
        read_spec(bundle(tmp_path, **changes))


def test_poststop_goes_on_after_a_failure(tmp_path: Path) -> None:
    failing = {"path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 2"]}
    good = {"path": "/bin/sh", "args": ["sh", "-c", f"cat > {tmp_path}/seen"]}
    warnings: list[str] = []
    spec = cast(Spec, {"hooks": {"poststop": [failing, good]}})
    hooks.run_last(spec, {"id": "x"}, warnings.append)
    assert warnings == ["error running poststop hook #0: exit status 2, stdout: , stderr: why\n"]
    assert json.loads((tmp_path / "seen").read_text()) == {"id": "x"}
    with pytest.raises(hooks.HookError, match="poststop hook #0"):
        hooks.run(spec, "poststop", {})
