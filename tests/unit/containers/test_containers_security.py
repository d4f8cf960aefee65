"""Security options of a container: AppArmor's profile."""

from pathlib import Path

import pytest

from compatd.engine.containers.security import apparmor_profile


def machine(root: Path, enabled: str, *loaded: str) -> Path:
    """A root with what the kernel says about AppArmor."""
    module, security = root / "sys/module/apparmor/parameters", root / "sys/kernel/security/apparmor"
    module.mkdir(parents=True)
    security.mkdir(parents=True)
    (module / "enabled").write_text(f"{enabled}\n")
    (security / "profiles").write_text("".join(f"{name} (enforce)\n" for name in loaded))
    return root


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
def test_profile_where_the_kernel_has_apparmor(
    tmp_path: Path, option: str, privileged: bool, expected: str
) -> None:
    root = machine(tmp_path, "Y", "other", "docker-default")
    assert apparmor_profile(option, privileged=privileged, root=root) == expected


def test_no_default_that_is_not_loaded(tmp_path: Path) -> None:
    root = machine(tmp_path, "Y", "docker-default-2")
    assert apparmor_profile("", privileged=False, root=root) == ""
    assert apparmor_profile("mine", privileged=False, root=root) == "mine"


def test_nothing_where_there_is_no_apparmor(tmp_path: Path) -> None:
    assert apparmor_profile("mine", privileged=False, root=tmp_path) == ""
    assert apparmor_profile("mine", privileged=False, root=machine(tmp_path, "N")) == ""
