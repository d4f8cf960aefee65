"""What is wrong, and what the engine says to it."""

from typing import Any

from conformance.differential.recorder import IMAGE, PREFIX, Recorder

BARE = "differential/bare:1"

MISSING = [
    ("GET", "/json"),
    ("GET", "/logs?stdout=1"),
    ("GET", "/top"),
    ("GET", "/stats?stream=0"),
    ("GET", "/changes"),
    ("GET", "/export"),
    ("GET", "/archive?path=/x"),
    ("HEAD", "/archive?path=/x"),
    ("PUT", "/archive?path=/x"),
    ("POST", "/start"),
    ("POST", "/stop"),
    ("POST", "/restart"),
    ("POST", "/kill"),
    ("POST", "/pause"),
    ("POST", "/unpause"),
    ("POST", "/wait"),
    ("POST", "/rename?name=x"),
    ("POST", "/resize?h=1&w=1"),
    ("DELETE", ""),
    ("DELETE", "?link=1"),
]


def _plain(r: Recorder, label: str, method: str, target: str) -> None:
    """A request without a body, whose target goes as it is."""
    path, _, query = target.partition("?")
    pairs: dict[str, Any] = dict(pair.split("=") for pair in query.split("&") if pair)
    r.ask(label, method, path, **pairs)


def missing(r: Recorder) -> None:
    for method, path in MISSING:
        _plain(r, f"{method} {path}", method, "/containers/no-such" + path)
    r.ask("exec", "POST", "/containers/no-such/exec", {"Cmd": ["id"]})
    r.ask("update", "POST", "/containers/no-such/update", {})
    r.ask("exec start", "POST", "/exec/no-such/start", {"Detach": True})
    r.ask("exec inspect", "GET", "/exec/no-such/json")
    r.ask("exec resize", "POST", "/exec/no-such/resize", h=1, w=1)
    with r.wire.hijack("/containers/no-such/attach", stream=True, stdout=True, version=r.version) as stream:
        r.keep("attach", [stream.status, stream.headers.get("content-type"), stream.read_all().decode()])
    r.ask("no such operation", "GET", "/containers/no-such/nope")


HOSTS: dict[str, dict[str, Any]] = {
    "memory": {"Memory": 1000},
    "swap only": {"MemorySwap": 8 << 20},
    "swap below memory": {"Memory": 16 << 20, "MemorySwap": 8 << 20},
    "reservation above": {"Memory": 16 << 20, "MemoryReservation": 32 << 20},
    "swappiness": {"MemorySwappiness": 101},
    "kernel memory": {"KernelMemory": 1000},
    "nano cpus": {"NanoCpus": 10**12},
    "nano cpus and period": {"NanoCpus": 10**9, "CpuPeriod": 1000},
    "cpu period": {"CpuPeriod": 10},
    "cpu quota": {"CpuQuota": 10},
    "cpuset": {"CpusetCpus": "0-x"},
    "cpuset not there": {"CpusetCpus": "4000"},
    "blkio": {"BlkioWeight": 5},
    "oom score": {"OomScoreAdj": 5000},
    "shm": {"ShmSize": -1},
    "restart": {"RestartPolicy": {"Name": "x"}},
    "restart count": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}},
    "restart negative": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}},
    "restart and remove": {"RestartPolicy": {"Name": "always"}, "AutoRemove": True},
    "cap add": {"CapAdd": ["NOPE"]},
    "cap drop": {"CapDrop": ["NOPE"]},
    "log driver": {"LogConfig": {"Type": "nope"}},
    "log option": {"LogConfig": {"Type": "json-file", "Config": {"nope": "1"}}},
    "runtime": {"Runtime": "nope"},
    "security option": {"SecurityOpt": ["nope=1"]},
    "isolation": {"Isolation": "hyperv"},
    "ipc mode": {"IpcMode": "nope"},
    "pid mode": {"PidMode": "nope"},
    "uts mode": {"UTSMode": "nope"},
    "userns mode": {"UsernsMode": "nope"},
    "cgroupns mode": {"CgroupnsMode": "nope"},
    "bind": {"Binds": ["x"]},
    "bind relative": {"Binds": ["/x:relative"]},
    "bind mode": {"Binds": ["/x:/y:nope"]},
    "bind to root": {"Binds": ["/x:/"]},
    "bind twice": {"Binds": ["/etc:/y", "/var:/y"]},
    "volume name": {"Binds": ["a,b:/y"]},
    "mount type": {"Mounts": [{"Type": "nope", "Target": "/x"}]},
    "mount source": {"Mounts": [{"Type": "bind", "Source": "/no-such-folder", "Target": "/x"}]},
    "mount no source": {"Mounts": [{"Type": "bind", "Target": "/x"}]},
    "mount no target": {"Mounts": [{"Type": "volume", "Source": "x"}]},
    "mount tmpfs source": {"Mounts": [{"Type": "tmpfs", "Source": "/x", "Target": "/x"}]},
    "mount twice": {"Mounts": [{"Type": "tmpfs", "Target": "/x"}], "Tmpfs": {"/x": ""}},
    "volumes from": {"VolumesFrom": ["no-such"]},
    "volumes from mode": {"VolumesFrom": ["no-such:nope"]},
    "port": {"PortBindings": {"80/nope": [{"HostPort": "1"}]}},
    "host port": {"PortBindings": {"80/tcp": [{"HostPort": "x"}]}},
    "device rule": {"DeviceCgroupRules": ["nope"]},
    "extra host": {"ExtraHosts": ["nope"]},
    "dns": {"Dns": ["x"]},
    "links": {"Links": ["no-such:x"]},
    "sysctl of host network": {"NetworkMode": "host", "Sysctls": {"net.core.somaxconn": "1"}},
    "privileged with userns": {"Privileged": True, "UsernsMode": "host"},
    "ulimit": {"Ulimits": [{"Name": "nofile", "Soft": 3, "Hard": 2}]},
    "pids": {"PidsLimit": -2},
    "tmpfs": {"Tmpfs": {"/x": "nope"}},
}

CONFIGS: dict[str, dict[str, Any]] = {
    "no image": {"Image": ""},
    "missing image": {"Image": "no-such:1"},
    "bad image": {"Image": "UPPER"},
    "working dir": {"WorkingDir": "relative"},
    "stop signal": {"StopSignal": "SIGNOPE"},
    "host name": {"Hostname": "a_b!"},
    "long host name": {"Hostname": "h" * 80},
    "health interval": {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 1}},
    "health retries": {"Healthcheck": {"Test": ["CMD", "x"], "Retries": -1}},
    "health timeout": {"Healthcheck": {"Test": ["CMD", "x"], "Timeout": 5}},
    "environment": {"Env": ["=x"]},
    "exposed": {"ExposedPorts": {"x": {}}},
    "mac address": {"MacAddress": "x"},
    "two networks": {"NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": {}}}},
}


def creates(r: Recorder) -> None:
    """Creates that are wrong in one field. Some are taken: then they fail at the start."""
    wrong: dict[str, dict[str, Any]] = {
        **{label: {"HostConfig": host} for label, host in HOSTS.items()},
        **CONFIGS,
    }
    for number, (label, fields) in enumerate(wrong.items()):
        body = {"Image": IMAGE, "Cmd": ["true"], **fields}
        name = f"{PREFIX}wrong-{number}"
        made = r.ask(label, "POST", "/containers/create", body, name=name)
        if made.status == 201:
            r.names.learn(made.json()["Id"], f"<{label}>")
            r.ask(f"{label}, removed", "DELETE", f"/containers/{name}", v=True)
    r.ask("nothing", "POST", "/containers/create", {})
    r.ask("null", "POST", "/containers/create", b"null", headers={"Content-Type": "application/json"})
    r.ask("no body", "POST", "/containers/create")
    r.ask("not JSON", "POST", "/containers/create", b"{x", headers={"Content-Type": "application/json"})
    r.ask("plain text", "POST", "/containers/create", b"{}", headers={"Content-Type": "text/plain"})
    r.ask("wrong type", "POST", "/containers/create", {"Image": 5})
    r.ask("no command", "POST", "/containers/create", {"Image": BARE})
    empty = {"Image": BARE, "Cmd": [], "Entrypoint": []}
    r.ask("empty command", "POST", "/containers/create", empty)
    r.ask("bad name", "POST", "/containers/create", {"Image": IMAGE}, name="-x")
    r.ask("bad name, no command", "POST", "/containers/create", {"Image": BARE}, name="-x")
    first = r.create("taken", "true")
    r.ask("name taken", "POST", "/containers/create", {"Image": IMAGE}, name=first)


def starts(r: Recorder) -> None:
    """What fails only when the container starts."""
    wrong: dict[str, dict[str, Any]] = {
        "command": {"Cmd": ["no-such-command"]},
        "command with a path": {"Cmd": ["/no/such"]},
        "folder as command": {"Cmd": ["/etc"]},
        "file as command": {"Cmd": ["/etc/passwd"]},
        "user": {"User": "nobody-here"},
        "group": {"User": "root:no-group"},
        "work dir": {"WorkingDir": "/etc/passwd/x"},
        "network": {"HostConfig": {"NetworkMode": "no-such-network"}},
        "container's network": {"HostConfig": {"NetworkMode": "container:no-such"}},
        "device": {"HostConfig": {"Devices": [{"PathOnHost": "/dev/no-such", "PathInContainer": "/dev/x"}]}},
        "sysctl": {"HostConfig": {"Sysctls": {"kernel.no_such": "1"}}},
        "group add": {"HostConfig": {"GroupAdd": ["no-group"]}},
    }
    for label, fields in wrong.items():
        name = f"{PREFIX}start-{label.replace(' ', '-').replace(chr(39), '')}"
        body = {"Image": IMAGE, "Cmd": ["true"], **fields}
        made = r.ask(f"{label}, create", "POST", "/containers/create", body, name=name)
        if made.status == 201:
            r.names.learn(made.json()["Id"], f"<{label}>")
            r.ask(f"{label}, start", "POST", f"/containers/{name}/start")
            r.ask(f"{label}, state", "GET", f"/containers/{name}/json", take=lambda found: found["State"])
            r.ask(f"{label}, remove", "DELETE", f"/containers/{name}", force=True)


def wrong_states(r: Recorder) -> None:
    off = r.create("off", "sleep", "1000")
    on = r.run("on", "sleep", "1000")
    for action in ("stop", "kill", "pause", "unpause"):
        r.ask(f"{action} of a created one", "POST", f"/containers/{off}/{action}")
    r.ask("resize of a created one", "POST", f"/containers/{off}/resize", h=1, w=1)
    r.ask("exec in a created one", "POST", f"/containers/{off}/exec", {"Cmd": ["id"]})
    r.ask("top of a created one", "GET", f"/containers/{off}/top")
    r.ask("export of a created one", "GET", f"/containers/{off}/export")
    r.ask("unpause of a running one", "POST", f"/containers/{on}/unpause")
    r.ask("rename to its own name", "POST", f"/containers/{off}/rename", name=off)
    r.ask("rename to another's", "POST", f"/containers/{off}/rename", name=on)
    r.ask("rename to nothing", "POST", f"/containers/{off}/rename", name="")
    r.ask("rename to a bad name", "POST", f"/containers/{off}/rename", name="a b")
    r.ask("remove a running one", "DELETE", f"/containers/{on}")
    r.ask("remove a link", "DELETE", f"/containers/{on}", link=True)
    update: dict[str, Any] = {
        "memory": {"Memory": 1000},
        "swap": {"Memory": 64 << 20, "MemorySwap": 32 << 20},
        "policy": {"RestartPolicy": {"Name": "x"}},
        "blkio": {"BlkioWeight": 5},
        "cpus": {"NanoCpus": 10**12},
    }
    for label, body in update.items():
        r.ask(f"update of {label}", "POST", f"/containers/{on}/update", body)


def parameters(r: Recorder) -> None:
    box = f"/containers/{PREFIX}on"
    r.ask("bad signal", "POST", f"{box}/kill", signal="FOO")
    r.ask("signal 0", "POST", f"{box}/kill", signal="0")
    r.ask("signal 999", "POST", f"{box}/kill", signal="999")
    r.ask("bad stop time", "POST", f"{box}/stop", t="x")
    r.ask("bad restart time", "POST", f"{box}/restart", t="x")
    r.ask("bad height", "POST", f"{box}/resize", h="x", w=1)
    r.ask("bad width", "POST", f"{box}/resize", h=1, w="x")
    r.ask("bad ps argument", "GET", f"{box}/top", ps_args="-x --nope")
    r.ask("start with a body", "POST", f"{box}/start", {"Binds": ["/x:/y"]})
    r.ask("archive without a path", "GET", f"{box}/archive")
    r.ask("exec without a command", "POST", f"{box}/exec", {})
    r.ask("exec without a body", "POST", f"{box}/exec")
    r.ask("update without a body", "POST", f"{box}/update")
    r.ask("too new", "GET", "/containers/json", version="1.99")
    r.ask("method", "PATCH", "/containers/json")
