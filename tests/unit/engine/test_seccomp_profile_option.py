"""`--security-opt seccomp=`: what it may be, and that it is never a path of the host."""

import json
from pathlib import Path

import pytest

from compatd.engine.errors import EngineError
from compatd.engine.security import default_profile, seccomp_profile

PREFIX = "Decoding seccomp profile failed: "


def test_a_containers_option_is_no_path(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}')
    with pytest.raises(EngineError) as error:
        seccomp_profile(str(secret), [])
    assert error.value.message == f"{PREFIX}invalid character '/' looking for beginning of value"
    assert error.value.status == 500
    found = seccomp_profile("", [], daemons=str(secret))
    assert found is not None
    assert found["defaultAction"] == "SCMP_ACT_ALLOW"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("nope", "invalid character 'o' in literal null (expecting 'u')"),
        ("nul", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        ("[]", "json: cannot unmarshal array into Go value of type seccomp.Seccomp"),
        ("true", "json: cannot unmarshal bool into Go value of type seccomp.Seccomp"),
        (
            '{"defaultAction": 1}',
            "json: cannot unmarshal number into Go struct field Seccomp.defaultAction of type "
            "specs.LinuxSeccompAction",
        ),
        (
            '{"syscalls": ["read"]}',
            "json: cannot unmarshal string into Go struct field Seccomp.syscalls of type seccomp.Syscall",
        ),
        ("[" * 100_000, "exceeded max depth"),
    ],
)
def test_what_is_not_a_profile(option: str, message: str) -> None:
    with pytest.raises(EngineError) as error:
        seccomp_profile(option, [])
    assert error.value.message == PREFIX + message


def test_the_containers_option_wins_over_the_daemons() -> None:
    profile = json.dumps({"defaultAction": "SCMP_ACT_LOG", "syscalls": []})
    found = seccomp_profile(profile, [], daemons="unconfined")
    assert found is not None
    assert found["defaultAction"] == "SCMP_ACT_LOG"
    assert seccomp_profile("", [], daemons="unconfined") is None
    assert seccomp_profile("builtin", [], daemons="unconfined") == default_profile([])
    assert seccomp_profile("unconfined", []) is None
    assert seccomp_profile("", [], daemons="builtin") == default_profile([])


def test_a_daemons_profile_that_is_not_there() -> None:
    with pytest.raises(EngineError) as error:
        seccomp_profile("", [], daemons="/nonexistent/p.json")
    assert error.value.message == (
        "opening seccomp profile (/nonexistent/p.json) failed: open /nonexistent/p.json: "
        "no such file or directory"
    )
