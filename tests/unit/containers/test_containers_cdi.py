"""Devices by their vendors' descriptions."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from compatd.config import Config
from compatd.engine.containers.spec.cdi import find_devices, inject
from compatd.engine.containers.spec.devices import add_requested
from compatd.engine.errors import EngineError

Json = dict[str, Any]
YAML = """\
cdiVersion: "0.6.0"
kind: vendor.com/net
devices:
  - name: "0"
    containerEdits:
      deviceNodes:
        - path: /dev/net/vendor0
          hostPath: /dev/null
          permissions: r
  - name: all
    containerEdits:
      env: [ALL=1]
containerEdits:
  env: [VENDOR=yes, "EMPTY="]
  mounts:
    - hostPath: /opt/vendor
      containerPath: /usr/lib/vendor
      options: [ro, bind]
"""


def described(name: str = "n", edits: Json | None = None, **document: Any) -> Json:
    device = {"name": name, "containerEdits": edits if edits is not None else {"env": ["A=1"]}}
    return {"cdiVersion": "0.5.0", "kind": "v.com/c", "devices": [device], **document}


def write(folder: Path, document: Any, name: str = "v.json") -> list[str]:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(document if isinstance(document, str) else json.dumps(document))
    return [str(folder)]


def empty_spec() -> Json:
    return {
        "process": {"env": ["PATH=/bin", "A=0"], "user": {"uid": 0}},
        "mounts": [
            {"destination": "/proc"},
            {"destination": "/usr/lib/vendor/deep"},
            {"destination": "/dev"},
        ],
        "linux": {"devices": [{"path": "/dev/x"}], "resources": {"devices": []}},
    }


def test_yaml(tmp_path: Path) -> None:
    folders = write(tmp_path / "cdi", YAML, "v.yaml")
    found, faults = find_devices(folders)
    assert (sorted(found), faults) == (["vendor.com/net=0", "vendor.com/net=all"], [])
    spec = empty_spec()
    inject(spec, ["vendor.com/net=0", "vendor.com/net=all"], folders)
    assert spec["process"]["env"] == ["PATH=/bin", "A=0", "VENDOR=yes", "EMPTY=", "ALL=1"]
    null = os.stat("/dev/null")
    node = spec["linux"]["devices"][1]
    assert node["path"] == "/dev/net/vendor0"
    assert (node["type"], node["major"], node["minor"]) == ("c", 1, 3)
    assert node["fileMode"] == null.st_mode & 0o7777
    assert spec["linux"]["resources"]["devices"] == [
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}
    ]
    assert [one["destination"] for one in spec["mounts"]] == [
        "/proc",
        "/dev",
        "/usr/lib/vendor",
        "/usr/lib/vendor/deep",
    ]
    assert spec["mounts"][2] == {
        "source": "/opt/vendor",
        "destination": "/usr/lib/vendor",
        "type": "bind",
        "options": ["ro", "bind"],
    }


def test_edits_replace_what_is_there(tmp_path: Path) -> None:
    edits = {
        "env": ["A=2"],
        "deviceNodes": [{"path": "/dev/x", "type": "b", "major": 9, "minor": 8, "uid": 7, "fileMode": 384}],
        "mounts": [{"hostPath": "/h", "containerPath": "/dev", "type": "tmpfs"}],
        "additionalGids": [0, 44],
    }
    spec = empty_spec()
    inject(spec, ["v.com/c=n"], write(tmp_path, described(edits=edits)))
    assert spec["process"]["env"] == ["PATH=/bin", "A=2"]
    assert spec["linux"]["devices"] == [
        {"path": "/dev/x", "type": "b", "major": 9, "minor": 8, "fileMode": 384, "uid": 7}
    ]
    assert [one["destination"] for one in spec["mounts"]].count("/dev") == 1
    assert spec["process"]["user"]["additionalGroups"] == ["44"]


def test_a_later_folder_wins_and_two_files_of_one_cancel_out(tmp_path: Path) -> None:
    first = write(tmp_path / "etc", described(edits={"env": ["WHO=etc"]}))
    second = write(tmp_path / "run", described(edits={"env": ["WHO=run"]}))
    spec = empty_spec()
    inject(spec, ["v.com/c=n"], first + second)
    assert spec["process"]["env"][-1] == "WHO=run"
    write(tmp_path / "run", described(), "w.json")
    found, faults = find_devices(first + second)
    assert found == {}
    assert 'conflicting device "v.com/c=n"' in faults[0]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("{", "failed to read CDI Spec"),
        ([], "missing CDI version"),
        (described(cdiVersion=""), "missing CDI version"),
        (described(kind="novendor"), 'invalid kind "novendor"'),
        (described(name="-x"), 'invalid device name "-x"'),
        (described(edits={}), "invalid device, empty device edits"),
        (described(edits={"hooks": [{"hookName": "x", "path": "/x"}]}), 'device "n": invalid hook name "x"'),
        (described(edits={"hooks": [{"hookName": "poststop"}]}), 'invalid hook "poststop" with empty path'),
        (
            described(edits={"hooks": [{"hookName": "poststop", "path": "/x", "env": ["A"]}]}),
            'invalid hook "poststop": invalid environment variable "A"',
        ),
        (described(edits={"env": ["=x"]}), 'invalid environment variable "=x"'),
        (described(edits={"deviceNodes": [{"hostPath": "/dev/x"}]}), "path needed"),
        (described(edits={"mounts": "all"}), "mounts is not a list"),
        (described(devices=[]), "no devices"),
    ],
)
def test_bad_descriptions_are_told_and_left_out(tmp_path: Path, document: Any, text: str) -> None:
    write(tmp_path, described(name="good"), "a.json")
    found, faults = find_devices(write(tmp_path, document, "b.json"))
    assert list(found) == ["v.com/c=good"]
    assert len(faults) == 1
    assert faults[0].startswith(f"CDI: Error associated with spec file {tmp_path}/b.json: ")
    assert text in faults[0]


def test_broken_yaml_and_other_files(tmp_path: Path) -> None:
    write(tmp_path, "a: [", "a.yaml")
    write(tmp_path, "no description", "README")
    found, faults = find_devices([str(tmp_path), str(tmp_path / "missing")])
    assert found == {}
    assert len(faults) == 1


@pytest.mark.parametrize(
    ("edits", "text"),
    [
        ({"intelRdt": {"closID": "x"}}, "asks for Intel RDT"),
        ({"deviceNodes": [{"path": "/dev/nowhere"}]}, 'failed to stat CDI host device "/dev/nowhere"'),
        ({"deviceNodes": [{"path": "/dev/null", "type": "b"}]}, "host type mismatch (b, c)"),
        ({"deviceNodes": [{"path": "/etc"}]}, "host type mismatch"),
    ],
)
def test_what_cannot_be_done(tmp_path: Path, edits: Json, text: str) -> None:
    with pytest.raises(EngineError) as raised:
        inject(empty_spec(), ["v.com/c=n"], write(tmp_path, described(edits=edits)))
    assert raised.value.message.startswith("CDI device injection failed: failed to inject devices: ")
    assert text in raised.value.message


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (
            {"Driver": "cdi", "DeviceIDs": ["a.b/c=d", "a.b/c=e"]},
            "CDI device injection failed: unresolvable CDI devices a.b/c=d, a.b/c=e",
        ),
        ({"Driver": "cdi", "Count": 1}, "unexpected count in CDI device request"),
        ({"Driver": "cdi", "Options": {"a": "b"}}, "unexpected options in CDI device request"),
        (
            {"Count": -1, "Capabilities": [["gpu", "x"], ["y"]]},
            'could not select device driver "" with capabilities: [[gpu x] [y]]',
        ),
        ({"Driver": "other"}, 'could not select device driver "other" with capabilities: []'),
    ],
)
def test_refused_requests(tmp_path: Path, request_: Json, text: str) -> None:
    with pytest.raises(EngineError) as raised:
        add_requested(empty_spec(), {"DeviceRequests": [request_]}, [str(tmp_path)])
    assert (type(raised.value), raised.value.message) == (EngineError, text)


def test_where_descriptions_are_looked_for() -> None:
    assert Config().cdi_folders == ["/etc/cdi", "/var/run/cdi"]
    assert Config({"cdi-spec-dirs": ["/x"]}).cdi_folders == ["/x"]
    assert Config({"cdi-spec-dirs": [""]}).cdi_folders == []
    assert Config({"features": {"cdi": False}}).cdi_folders == []
    with pytest.raises(EngineError, match="could not select device driver"):
        add_requested(empty_spec(), {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["a.b/c=d"]}]}, [])


def test_hooks(tmp_path: Path) -> None:
    hook = {"path": "/x", "args": ["x", "y"], "env": ["A=1"], "timeout": 5}
    edits = {
        "hooks": [
            {"hookName": "createContainer", **hook},
            {"hookName": "poststop", "path": "/z"},
            {"hookName": "createContainer", "path": "/second"},
        ]
    }
    spec = empty_spec()
    inject(spec, ["v.com/c=n"], write(tmp_path, described(edits=edits)))
    assert spec["hooks"] == {"createContainer": [hook, {"path": "/second"}], "poststop": [{"path": "/z"}]}
