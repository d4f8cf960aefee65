"""macvlan and ipvlan networks with parents of all kinds, in a daemon; each kind where the kernel has it."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.daemon import ApiError, Daemon, running_daemon

pytestmark = pytest.mark.root


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """One whose namespace has a link `up0`."""
    with running_daemon("--live-restore") as daemon:
        ip(daemon, "link", "add", "up0", "type", "veth", "peer", "name", "up1")
        for end in ("up0", "up1"):
            ip(daemon, "link", "set", end, "up")
        daemon.image()
        yield daemon


def ip(daemon: Daemon, *arguments: str) -> None:
    subprocess.run(["ip", "-n", daemon.name, *arguments], check=True, capture_output=True, timeout=30)


def needs(daemon: Daemon, kind: str, *options: str) -> None:
    """Skips where the kernel has no links of that kind."""
    on = [] if kind == "dummy" else ["link", "up0"]
    try:
        ip(daemon, "link", "add", *on, "name", "probe0", "type", kind, *options)
    except subprocess.CalledProcessError:
        pytest.skip(f"this kernel has no {kind}")
    ip(daemon, "link", "del", "probe0")


def create(daemon: Daemon, name: str, driver: str, **options: str) -> str:
    body: dict[str, Any] = {"Name": name, "Driver": driver, "Options": options}
    body["IPAM"] = {"Config": [{"Subnet": "10.188.0.0/24", "Gateway": "10.188.0.1"}]}
    return str(daemon.call("POST", "/networks/create", body)["Id"])


def on(daemon: Daemon, network: str, *command: str) -> str:
    return daemon.run(list(command) or ["sleep", "1000"], HostConfig={"NetworkMode": network})


def reaches(daemon: Daemon, network: str) -> None:
    """Two containers there reach each other."""
    one = on(daemon, network)
    address = daemon.inspect(one)["NetworkSettings"]["Networks"][network]["IPAddress"]
    ping = on(
        daemon, network, "sh", "-c", f"for i in 1 2 3 4 5; do ping -c 1 -W 5 {address} && exit; done; exit 1"
    )
    assert daemon.call("POST", f"/containers/{ping}/wait")["StatusCode"] == 0
    for container in (one, ping):
        daemon.call("DELETE", f"/containers/{container}?force=1")


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("macvlan", {}),
        ("ipvlan", {}),
        ("ipvlan", {"ipvlan_mode": "l3"}),
    ],
)
def test_with_and_without_a_parent(daemon: Daemon, driver: str, options: dict[str, str]) -> None:
    """Without one a dummy link is made; both go round a kill of the daemon, and the dummy goes at the end."""
    mode = options.get("ipvlan_mode")
    needs(daemon, driver, *(["mode", mode] if mode else []))
    create(daemon, "there", driver, parent="up0", **options)
    reaches(daemon, "there")
    daemon.call("DELETE", "/networks/there")
    assert "up0" in daemon.links()
    needs(daemon, "dummy")
    id = create(daemon, "alone", driver, **options)
    dummy = ("dm-" if driver == "macvlan" else "di-") + id[:12]
    assert dummy in daemon.links()
    reaches(daemon, "alone")
    daemon.kill()
    ip(daemon, "link", "del", dummy)
    daemon.start()
    assert dummy in daemon.links()
    reaches(daemon, "alone")
    daemon.call("DELETE", "/networks/alone")
    assert dummy not in daemon.links()


def test_vlan_of_a_parent(daemon: Daemon) -> None:
    needs(daemon, "macvlan")
    needs(daemon, "vlan", "id", "9")
    create(daemon, "tagged", "macvlan", parent="up0.7")
    assert "up0.7" in daemon.links()
    reaches(daemon, "tagged")
    daemon.call("DELETE", "/networks/tagged")
    assert "up0.7" not in daemon.links()


def test_what_cannot_be_made_leaves_nothing(daemon: Daemon) -> None:
    ip(daemon, "link", "add", "br0", "type", "bridge")
    ip(daemon, "link", "add", "up2", "type", "veth", "peer", "name", "up3")
    taken = {"com.docker.network.bridge.name": "up2"}
    body = {"Name": "mine", "Options": taken, "IPAM": {"Config": [{"Subnet": "10.188.0.0/24"}]}}
    with pytest.raises(ApiError, match="file exists"):  # it is no bridge
        daemon.call("POST", "/networks/create", body)
    assert {n["Name"] for n in daemon.call("GET", "/networks")} == {"bridge", "host", "none"}
    assert "up2" in daemon.links()
    create(daemon, "mine", "bridge")
