import json
import os
from pathlib import Path

import pytest

from runtime.external import adapted, error_text
from runtime.oci import cli, commands
from runtime.oci.options import UsageError, parse
from runtime.oci.state import OciError, Stored
from runtime.spec import Spec

KNOWN = {"root": True, "force": False}


def test_options_end_at_the_first_argument() -> None:
    options = parse(["--root", "/r", "-f", "id", "--force"], KNOWN, {"f": "force"})
    assert options.value("root") == "/r"
    assert options.flag("force")
    assert options.rest == ["id", "--force"]


def test_equals_and_double_dash() -> None:
    options = parse(["-root=/r", "--force=false", "--", "--x"], KNOWN, {})
    assert options.value("root") == "/r"
    assert not options.flag("force")
    assert options.rest == ["--x"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["--nope"], "flag provided but not defined: -nope"), (["--root"], "flag needs an argument: -root")],
)
def test_wrong_options(arguments: list[str], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(arguments, KNOWN, {})
    assert str(caught.value) == text


def test_errors_go_to_the_log_as_containerd_reads_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.json"
    root = str(tmp_path / "root")
    assert cli.main(["--root", root, "--log", str(log), "--log-format", "json", "state", "nope"]) == 1
    entry = json.loads(log.read_text())
    assert entry["level"] == "error"
    assert entry["msg"] == "compat-runtime state failed: container does not exist"
    assert "container does not exist" in capsys.readouterr().err


def test_version_and_features(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("compat-runtime version ")
    assert cli.main(["features"]) == 0
    features = json.loads(capsys.readouterr().out)
    assert features["linux"]["cgroup"]["v2"]
    assert "rbind" in features["mountOptions"]


def test_delete_of_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--root", str(tmp_path), "delete", "x"]) == 1
    assert cli.main(["--root", str(tmp_path), "delete", "--force", "x"]) == 0
    assert cli.main(["--root", str(tmp_path), "list", "--format", "json"]) == 0
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "é"])
def test_ids_that_are_no_folder_names(name: str) -> None:
    with pytest.raises(OciError, match="invalid container ID format"):
        Stored("/r", name)


@pytest.mark.parametrize(("text", "number"), [("9", 9), ("KILL", 9), ("SIGTERM", 15), ("term", 15)])
def test_signals(text: str, number: int) -> None:
    assert commands.parse_signal(text) == number


@pytest.mark.parametrize("text", ["nope", "SIG_DFL", "SIGNOPE"])
def test_unknown_signals(text: str) -> None:
    with pytest.raises(OciError, match="unknown signal"):
        commands.parse_signal(text)


class TestExternal:
    def test_the_last_error_of_the_log_is_told(self) -> None:
        log = "\n".join(
            [
                '{"level":"warning","msg":"w"}',
                "not json",
                '{"level":"error","msg":"runc create failed: unable to start container process: x"}',
                '{"level":"info","msg":"i"}',
            ]
        )
        assert error_text(log, "stderr", 1) == "unable to start container process: x"

    def test_without_a_log_stderr_or_the_status(self) -> None:
        assert error_text("", " some text\n", 1) == "some text"
        assert error_text("", "", 7).endswith("runtime exited with status 7")

    def test_the_spec_is_made_fit_for_others(self, tmp_path: Path) -> None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/passwd").write_text("bob:x:7:8::/home/bob:/bin/sh\n")
        (tmp_path / "etc/group").write_text("bobs:x:9:bob\nx:x:10:\n")
        spec: Spec = {
            "root": {"path": "rootfs", "readonly": True},
            "process": {"user": {"uid": 1, "username": "bob", "additionalGroups": ["x"]}},
            "linux": {"namespaces": [{"type": "pid"}, {"type": "network"}]},
        }
        result = adapted(spec, str(tmp_path), 5)
        assert result["root"] == {"path": str(tmp_path), "readonly": True}
        assert result["process"]["user"] == {"uid": 7, "gid": 8, "additionalGids": [8, 9, 10]}
        spaces = result["linux"]["namespaces"]
        assert spaces[0] == {"type": "pid"}
        assert spaces[1]["path"].endswith("/fd/5")
        assert spec["linux"]["namespaces"][1] == {"type": "network"}
        spec["linux"]["namespaces"].pop()
        spaces = adapted(spec, str(tmp_path), None)["linux"]["namespaces"]
        assert spaces[1]["path"] == f"/proc/{os.getpid()}/ns/net"  # the host's
