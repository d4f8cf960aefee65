"""Networks over the end of their daemon: what is missing is made again, what was half done is undone."""

import contextlib
import http.client
import json
import random
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.daemon import ApiError, Daemon, running_daemon, wait_until

pytestmark = pytest.mark.root


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with running_daemon("--live-restore") as daemon:
        daemon.image()
        yield daemon


def ip(daemon: Daemon, *arguments: str) -> str:
    done = subprocess.run(
        ["ip", "-n", daemon.name, *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


def network(daemon: Daemon, name: str, **fields: Any) -> str:
    """A network; its bridge's name."""
    return "br-" + str(daemon.call("POST", "/networks/create", {"Name": name, **fields})["Id"])[:12]


def bridges(daemon: Daemon) -> set[str]:
    return {link for link in daemon.links() if link.startswith("br-")}


def networks(daemon: Daemon) -> dict[str, dict[str, Any]]:
    return {n["Name"]: n for n in daemon.call("GET", "/networks")}


def restart(daemon: Daemon) -> None:
    daemon.kill()
    daemon.start()


def inside(daemon: Daemon, container: str) -> set[str]:
    """A container's interfaces."""
    pid = daemon.inspect(container)["State"]["Pid"]
    done = subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-j", "link"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return {link["ifname"] for link in json.loads(done.stdout)} - {"lo"}


def subnet(prefix: str, **more: str) -> dict[str, Any]:
    return {"Config": [{"Subnet": prefix, **more}]}


def test_everything_is_kept(daemon: Daemon) -> None:
    """Networks, their addresses, and running containers on them, after kill -9; taken ones stay taken."""
    network(daemon, "one", IPAM=subnet("10.181.0.0/24"), Labels={"a": "b"})
    network(daemon, "six", EnableIPv6=True, Internal=True)
    daemon.call("POST", "/networks/create", {"Name": "source", "ConfigOnly": True})
    container = daemon.run(["sleep", "1000"], "web", HostConfig={"NetworkMode": "one"})
    daemon.call("POST", "/networks/six/connect", {"Container": container})
    before, settings = networks(daemon), daemon.inspect(container)["NetworkSettings"]
    restart(daemon)
    assert networks(daemon) == before
    assert daemon.inspect(container)["NetworkSettings"] == settings
    assert daemon.call("GET", "/networks/one")["Containers"][container]["Name"] == "web"
    with pytest.raises(ApiError, match="already exists"):
        daemon.call("POST", "/networks/create", {"Name": "one"})
    with pytest.raises(ApiError, match="overlaps"):
        daemon.call("POST", "/networks/create", {"Name": "two", "IPAM": subnet("10.181.0.0/24")})
    with pytest.raises(ApiError, match="has active endpoints"):
        daemon.call("DELETE", "/networks/one")
    other = daemon.run(["sleep", "1000"], HostConfig={"NetworkMode": "one"})
    assert daemon.inspect(other)["NetworkSettings"]["Networks"]["one"]["IPAddress"] == "10.181.0.3"
    daemon.call("POST", "/networks/six/disconnect", {"Container": container})
    assert inside(daemon, container) == {"eth0"}


def test_bridge_that_is_missing(daemon: Daemon) -> None:
    """It is made again, with its address, and containers that start reach the host by it."""
    bridge = network(daemon, "one", IPAM=subnet("10.182.0.0/24"))
    daemon.kill()
    ip(daemon, "link", "del", bridge)
    ip(daemon, "link", "del", "docker0")
    daemon.start()
    assert "10.182.0.1/24" in ip(daemon, "-o", "addr", "show", "dev", bridge)
    container = daemon.run(["ping", "-c", "1", "-W", "20", "10.182.0.1"], HostConfig={"NetworkMode": "one"})
    assert daemon.call("POST", f"/containers/{container}/wait")["StatusCode"] == 0
    container = daemon.run(["true"])
    assert daemon.call("POST", f"/containers/{container}/wait")["StatusCode"] == 0


def test_half_made_and_half_removed(daemon: Daemon) -> None:
    """A network that was being made or removed is gone after the next start, with its bridge and subnet."""
    kept = network(daemon, "kept")
    made = network(daemon, "made", IPAM=subnet("10.183.0.0/24"))
    removed = network(daemon, "removed", IPAM=subnet("10.184.0.0/24"))
    daemon.kill()
    states = {made: "creating", removed: "deleting"}
    with contextlib.closing(sqlite3.connect(daemon.data_root / "compatd/state.db")) as database:
        for id, text in database.execute("SELECT id, doc FROM networks").fetchall():
            state = states.get("br-" + id[:12])
            if state:
                document = {**json.loads(text), "state": state}
                database.execute("UPDATE networks SET doc = ? WHERE id = ?", (json.dumps(document), id))
        database.commit()
    daemon.start()
    assert sorted(networks(daemon)) == ["bridge", "host", "kept", "none"]
    assert bridges(daemon) == {kept}
    for name, prefix in (("made", "10.183.0.0/24"), ("removed", "10.184.0.0/24")):
        network(daemon, name, IPAM=subnet(prefix))


def test_endpoint_of_a_connect_that_was_not_finished(daemon: Daemon) -> None:
    network(daemon, "one", IPAM=subnet("10.185.0.0/24"))
    network(daemon, "two", IPAM=subnet("10.186.0.0/24"))
    container = daemon.run(["sleep", "1000"], "web", HostConfig={"NetworkMode": "one"})
    daemon.call("POST", "/networks/two/connect", {"Container": container})
    assert inside(daemon, container) == {"eth0", "eth1"}
    daemon.kill()
    with contextlib.closing(sqlite3.connect(daemon.data_root / "compatd/state.db")) as database:
        (text,) = database.execute("SELECT doc FROM containers WHERE id = ?", (container,)).fetchone()
        document = json.loads(text)
        del document["Networking"]["two"]
        database.execute("UPDATE containers SET doc = ? WHERE id = ?", (json.dumps(document), container))
        database.commit()
    daemon.start()
    wait_until(lambda: inside(daemon, container) == {"eth0"}, "the half-made interface to go")
    assert list(daemon.inspect(container)["NetworkSettings"]["Networks"]) == ["one"]
    assert daemon.call("GET", "/networks/two")["Containers"] == {}
    daemon.call("POST", "/networks/two/connect", {"Container": container})
    found = daemon.inspect(container)["NetworkSettings"]["Networks"]["two"]
    assert found["IPAddress"] == "10.186.0.2"
    daemon.call("DELETE", f"/containers/{container}?force=1")
    daemon.call("DELETE", "/networks/two")


def test_kills_at_any_moment(daemon: Daemon) -> None:
    """While networks come and go and a container moves between them: afterwards all fits together."""
    network(daemon, "home")
    container = daemon.run(["sleep", "1000"], "web", HostConfig={"NetworkMode": "home"})
    moments = random.Random(5)  # noqa: S311
    for turn in range(5):
        busy = threading.Event()
        worker = threading.Thread(target=_churn, args=(daemon, turn, busy))
        worker.start()
        assert busy.wait(180)
        threading.Event().wait(moments.uniform(0.0, 0.3))
        daemon.kill()
        worker.join(180)
        daemon.start()
        there = networks(daemon)
        own = {"br-" + n["Id"][:12] for n in there.values() if n["Driver"] == "bridge"}
        wait_until(lambda own=own: bridges(daemon) <= own, "bridges of no network to go")
        assert {b for b in own if b in bridges(daemon)} == own - {"br-" + there["bridge"]["Id"][:12]}
        shown = daemon.inspect(container)["NetworkSettings"]["Networks"]
        count = len(shown)
        wait_until(lambda count=count: len(inside(daemon, container)) == count, "interfaces as networks")
        for name in there:
            found = daemon.call("GET", f"/networks/{name}")["Containers"]
            assert (container in found) == (name in shown)
        for name in [name for name in shown if name != "home"]:
            daemon.call("POST", f"/networks/{name}/disconnect", {"Container": container})
        for name in [name for name in there if name.startswith("net")]:
            daemon.call("DELETE", f"/networks/{name}")
    assert inside(daemon, container) == {"eth0"}
    assert len(bridges(daemon)) == 1


def _churn(daemon: Daemon, turn: int, busy: threading.Event) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException, ApiError):
        for number in range(100):
            name = f"net{turn}-{number}"
            daemon.call("POST", "/networks/create", {"Name": name})
            busy.set()
            daemon.call("POST", f"/networks/{name}/connect", {"Container": "web"})
            daemon.call("POST", f"/networks/{name}/disconnect", {"Container": "web"})
            daemon.call("DELETE", f"/networks/{name}")
    busy.set()
