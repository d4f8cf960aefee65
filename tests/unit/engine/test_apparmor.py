"""AppArmor: where it is supported, the text of the default profile, and when that is loaded."""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from compatd.engine import apparmor
from compatd.engine.errors import EngineError


def machine(root: Path, enabled: str = "Y", *loaded: str, parser: bool = True) -> Path:
    """A root with what the kernel says about AppArmor."""
    module, security = root / "sys/module/apparmor/parameters", root / "sys/kernel/security/apparmor"
    for folder in (module, security, root / "sbin"):
        folder.mkdir(parents=True)
    (module / "enabled").write_text(f"{enabled}\n")
    (security / "profiles").write_text("".join(f"{name} (enforce)\n" for name in loaded))
    if parser:
        (root / "sbin/apparmor_parser").touch()
    return root


def test_where_it_is_supported(tmp_path: Path) -> None:
    assert apparmor.supported(machine(tmp_path / "yes"), {})
    assert not apparmor.supported(tmp_path / "yes", {"container": "docker"})
    assert not apparmor.supported(machine(tmp_path / "off", "N"), {})
    assert not apparmor.supported(machine(tmp_path / "no-parser", parser=False), {})
    assert not apparmor.supported(tmp_path / "nothing", {})


@pytest.mark.parametrize(
    ("option", "privileged", "expected"),
    [
        ("", False, "docker-default"),
        ("", True, "unconfined"),
        ("mine", False, "mine"),
        ("mine", True, "mine"),
        ("unconfined", False, "unconfined"),
    ],
)
def test_whose_profile(option: str, privileged: bool, expected: str) -> None:
    assert apparmor.profile_for(option, privileged=privileged) == expected


def test_what_is_loaded(tmp_path: Path) -> None:
    root = machine(tmp_path, "Y", "docker-default-2", "with space", "docker-default")
    assert apparmor.is_loaded("docker-default", root)
    assert apparmor.is_loaded("with space", root)
    assert not apparmor.is_loaded("with", root)
    with pytest.raises(
        EngineError, match=r"Could not check if x AppArmor profile was loaded: open .*no such"
    ):
        apparmor.is_loaded("x", tmp_path / "nowhere")


def test_definitions_of_the_distribution(tmp_path: Path) -> None:
    text = apparmor.default_profile("unconfined", tmp_path)
    assert text.startswith('@{PROC}=/proc/\nprofile "docker-default" flags=(attach_disconnected,mediate')
    assert "include" not in text
    for name in ("abi/3.0", "tunables/global", "abstractions/base"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    text = apparmor.default_profile("unconfined", tmp_path)
    assert text.startswith("abi <abi/3.0>,\n#include <tunables/global>\n")
    assert "  #include <abstractions/base>\n" in text


def test_who_may_send_signals() -> None:
    rules = re.findall(r'signal \(receive\) peer="(.*)",', apparmor.default_profile("my daemon"))
    assert rules == ["unconfined", "runc", "crun", "my daemon"]


def test_our_own_profile(tmp_path: Path) -> None:
    (tmp_path / "proc/self/attr").mkdir(parents=True)
    for current, expected in (("unconfined\n", "unconfined"), ("a b (enforce)\n", "a b"), ("", "unconfined")):
        (tmp_path / "proc/self/attr/current").write_text(current)
        assert apparmor.own_profile(tmp_path) == expected
    assert apparmor.own_profile(tmp_path / "nowhere") == "unconfined"


def denied(path: str, access: str) -> bool:
    """Whether a rule of the profile denies it: AppArmor's globs, as far as the profile has them."""
    for rule in re.findall(r"^  deny (\S+) (\w+),$", apparmor.default_profile("x"), re.MULTILINE):
        pattern, what = rule[0].replace("@{PROC}", "/proc"), rule[1]
        if access in what and any(_matches(one, path) for one in _alternatives(pattern)):
            return True
    return False


def _alternatives(pattern: str) -> list[str]:
    found = re.search(r"\{([^{}]*)\}", pattern)
    if not found:
        return [pattern]
    words = found[1].split(",")
    return [
        one
        for word in words
        for one in _alternatives(pattern[: found.start()] + word + pattern[found.end() :])
    ]


def _matches(pattern: str, path: str) -> bool:
    words = re.split(r"(\*\*|\*|\?|\[[^]]*\])", pattern)
    forms = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    text = "".join(
        forms.get(word) or (f"(?!/){word}" if word.startswith("[") else re.escape(word)) for word in words
    )
    return re.fullmatch(text, path) is not None


@pytest.mark.parametrize(
    "path",
    [
        "/proc/uptime", "/proc/sysrq-trigger", "/proc/kcore", "/proc/sys/fs/file-max",
        "/proc/sys/vm/swappiness", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/sysrq",
        "/proc/sys/kernel/keys/maxkeys", "/proc/sys/net/ipv4/ip_forward", "/proc/bus/pci/00/00.0",
        "/proc/irq/1/smp_affinity", "/proc/acpi/wakeup", "/proc/scsi/scsi", "/proc/sysvipc/shm",
        "/sys/kernel/uevent_helper", "/sys/fs/bpf/x", "/sys/fs/ext4/sda/x", "/sys/firmware/efi/x",
        "/sys/class/net/eth0/mtu", "/sys/devices/virtual/powercap/x",
    ],
)  # fmt: skip
def test_what_nobody_may_write(path: str) -> None:
    assert denied(path, "w")


@pytest.mark.parametrize(
    "path",
    [
        "/proc/1/attr/exec", "/proc/12/oom_score_adj", "/proc/31/comm", "/proc/sys/kernel/shmmax",
        "/proc/sys/kernel/shm_rmid_forced", "/sys/fs/cgroup/memory/x", "/sys/fs/cgroup/x", "/etc/passwd",
    ],
)  # fmt: skip
def test_what_may_be_written(path: str) -> None:
    assert not denied(path, "w")


def test_what_is_not_for_reading() -> None:
    for path in (
        "/proc/kcore",
        "/proc/sysrq-trigger",
        "/sys/firmware/acpi/x",
        "/sys/kernel/security/apparmor/p",
    ):
        assert denied(path, "r")
    for path in ("/proc/uptime", "/sys/kernel/mm/x", "/proc/sys/kernel/core_pattern"):
        assert not denied(path, "r")


@pytest.mark.skipif(not shutil.which("apparmor_parser"), reason="apparmor_parser is not installed")
def test_the_parser_takes_it(tmp_path: Path) -> None:
    for policy in (Path("/etc/apparmor.d"), tmp_path):
        text = apparmor.default_profile("unconfined", policy)
        done = subprocess.run(
            ["apparmor_parser", "-QK"], check=False, input=text.encode(), capture_output=True, timeout=300
        )
        assert done.returncode == 0, done.stderr


class Loader:
    """In the parser's place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, loaded: bool) -> None:
        self.loaded, self.calls = loaded, 0
        monkeypatch.setattr(apparmor, "is_loaded", lambda name: self.loaded)
        monkeypatch.setattr(apparmor, "install", self.install)

    def install(self) -> None:
        self.calls += 1
        self.loaded = True


def test_it_is_loaded_again_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def twice() -> None:
        await asyncio.gather(apparmor.ensure("docker-default"), apparmor.ensure("docker-default"))

    loader = Loader(monkeypatch, loaded=False)
    asyncio.run(twice())
    assert loader.calls == 1
    for profile in ("docker-default", "mine", "unconfined", ""):
        asyncio.run(apparmor.ensure(profile))
    assert loader.calls == 1


def test_a_parser_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parser = tmp_path / "parser"
    parser.write_text("#!/bin/sh\necho what >&2\nexit 3\n")
    parser.chmod(0o755)
    monkeypatch.setattr(apparmor, "PARSER", str(parser)[1:])
    with pytest.raises(EngineError) as error:
        apparmor.install()
    assert error.value.message == (
        "AppArmor enabled on system but the docker-default profile could not be loaded: "
        f"running '{parser} -Kr' failed with output: what\n\nerror: exit status 3"
    )
    asyncio.run(apparmor.install_at_start())  # is logged, and the daemon starts
