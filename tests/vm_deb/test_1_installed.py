"""The first boot: apt install, and what a user types then. The tests build on each other, in this order."""

import grp
import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.vm_deb.user import container_pid, image_tar, main_pid, package, sh, state, wait_until

pytestmark = pytest.mark.root


def test_apt_install() -> None:
    before = sh("dpkg -l docker.io 2>/dev/null | grep ^ii", check=False)
    if before:
        wait_until(lambda: state() == "active", "Debian's own engine")
    sh(f"DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {package()}")
    assert sh("dpkg -s compatd | grep ^Status") == "Status: install ok installed"
    assert not sh("dpkg -l docker.io 2>/dev/null | grep ^ii", check=False)
    assert [state(unit) for unit in ("docker.service", "docker.socket")] == ["active", "active"]
    assert sh("systemctl is-enabled docker.service docker.socket") == "enabled\nenabled"


def test_the_socket_is_the_groups() -> None:
    found = os.stat("/run/docker.sock")
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert (found.st_uid, found.st_gid) == (0, grp.getgrnam("docker").gr_gid)


def test_version_and_info() -> None:
    version = json.loads(sh("docker version -f '{{json .Server}}'"))
    assert version["Version"].endswith("compatd" + sh("dpkg-query -W -f '${Version}' compatd"))
    info = json.loads(sh("docker info -f '{{json .}}'"))
    assert (info["CgroupDriver"], info["CgroupVersion"], info["Driver"]) == ("systemd", "2", "overlay2")
    assert info["DockerRootDir"] == "/var/lib/docker"


def test_the_process_is_called_dockerd() -> None:
    listed = sh("ps auxww")
    assert "/dockerd -H fd://" in listed, f"{listed}\n{os.environ}"
    assert sh("pidof dockerd") == str(main_pid())


def test_systemctl_and_journal() -> None:
    shown = sh("systemctl status --no-pager docker")
    assert "Active: active (running)" in shown
    assert "Docker Application Container Engine" in shown
    assert "API listen on /run/docker.sock" in sh("journalctl -u docker --no-pager")
    assert sh("systemctl show -P Id compatd.service") == "docker.service"
    sh("systemctl disable docker && systemctl enable docker")
    assert sh("systemctl is-enabled docker.service") == "enabled"


def test_hello() -> None:
    change = """--change 'CMD ["echo", "Hello from a container"]'"""
    sh(f"docker import {change} - hello-world", input=image_tar())
    assert sh("docker run --rm hello-world") == "Hello from a container"


def test_a_member_of_the_group_and_another_user() -> None:
    sh("useradd -m ann && useradd -m bob && usermod -aG docker ann")
    assert sh("su - ann -c 'docker run --rm hello-world'") == "Hello from a container"
    refused = sh("su - bob -c 'docker ps'", check=False)
    assert "permission denied while trying to connect" in refused


def test_stop_start_and_the_sockets_call() -> None:
    sh("systemctl stop docker.service")
    assert state() in ("inactive", "activating", "active")
    assert state("docker.socket") == "active"
    assert "CONTAINER ID" in sh("docker ps")
    assert state() == "active"
    before = main_pid()
    sh("systemctl restart docker")
    assert main_pid() not in (0, before)
    assert "CONTAINER ID" in sh("docker ps")


def test_daemon_json_and_reload() -> None:
    Path("/etc/docker").mkdir(exist_ok=True)
    Path("/etc/docker/daemon.json").write_text('{"debug": true, "labels": ["place=guest"]}')
    before = main_pid()
    sh("systemctl reload docker")
    wait_until(lambda: sh("docker info -f '{{.Debug}} {{.Labels}}'") == "true [place=guest]", "the reload")
    assert main_pid() == before
    Path("/etc/docker/daemon.json").write_text("{}")
    sh("systemctl reload docker")


def test_sudo_dockerd() -> None:
    """By hand, without systemd; and a second one finds the first."""
    second = sh("sudo dockerd", check=False)
    assert "failed to start daemon" in second or "pid file found" in second, second
    sh("systemctl stop docker.service docker.socket")
    process = subprocess.Popen(["sudo", "dockerd"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: sh("docker ps -q >/dev/null 2>&1 && echo yes", check=False) == "yes", "dockerd")
        assert sh("docker run --rm hello-world") == "Hello from a container"
    finally:
        process.terminate()
        said = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 0, said
    assert 'msg="Daemon has completed initialization"' in said
    assert 'msg="Daemon shutdown complete"' in said
    sh("systemctl start docker.socket docker.service")


def test_a_daemon_that_hangs_is_started_anew() -> None:
    folder = Path("/run/systemd/system/docker.service.d")
    folder.mkdir(parents=True)
    (folder / "quick.conf").write_text("[Service]\nWatchdogSec=30\n")
    sh("systemctl daemon-reload && systemctl restart docker")
    sh("docker run -d --name steady hello-world sleep 100000")
    before, container = main_pid(), container_pid("steady")
    sh(f"kill -STOP {before}")
    wait_until(lambda: main_pid() not in (0, before), "another daemon")
    assert container_pid("steady") == container
    (folder / "quick.conf").unlink()
    sh("systemctl daemon-reload && systemctl restart docker")


def test_an_upgrade_keeps_containers_running() -> None:
    sh("docker rm -f steady && docker run -d --name steady hello-world sleep 100000")
    daemon, container = main_pid(), container_pid("steady")
    sh(f"DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {package(upgrade=True)}")
    assert main_pid() not in (0, daemon)
    assert sh("docker inspect -f '{{.State.Status}}' steady") == "running"
    assert container_pid("steady") == container
    assert sh("docker exec steady echo still here") == "still here"


def test_what_is_to_come_back() -> None:
    """For the next boot."""
    sh("docker run -d --name always --restart always hello-world sleep 100000")
    sh("docker run -d --name never hello-world sleep 100000")
    sh("docker volume create kept && docker run --rm -v kept:/v hello-world sh -c 'echo data >/v/file'")
    sh("sync")
