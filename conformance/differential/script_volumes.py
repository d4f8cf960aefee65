"""Volumes: made, listed, mounted, refused, pruned, and what they take."""

from typing import Any

from conformance.differential.recorder import PREFIX, Recorder

CREATE = "/volumes/create"
LABEL = "df-volumes"
"""On all volumes of this part that are to be listed or pruned: the engine may have others."""


def volumes_made(r: Recorder) -> None:
    """What create answers, and inspect afterwards."""
    bodies: dict[str, dict[str, Any]] = {
        "plain": {},
        "all": {
            "Driver": "local",
            "DriverOpts": {"type": "tmpfs", "device": "tmpfs"},
            "Labels": {"a": "b", "c": ""},
        },
        "empty": {"Driver": "", "DriverOpts": {}, "Labels": {}},
        "null": {"Driver": None, "DriverOpts": None, "Labels": None},
        "size-0": {"DriverOpts": {"size": "0"}},
        "other-case": {"labels": {"x": "y"}, "driverOpts": {}},
    }
    for name, body in bodies.items():
        r.ask(f"create {name}", "POST", CREATE, {"Name": f"{PREFIX}{name}", **body})
        r.ask(f"inspect {name}", "GET", f"/volumes/{PREFIX}{name}")
    again = {"Name": f"{PREFIX}all", "DriverOpts": {"type": "x"}, "Labels": {"d": "e"}}
    r.ask("again", "POST", CREATE, again)
    r.ask("again, another driver", "POST", CREATE, {**again, "Driver": "nope"})
    anonymous = r.ask(
        "without a name", "POST", CREATE, {"Labels": {"a": "b"}}, take=lambda found: len(found["Name"])
    )
    r.wire.request("DELETE", f"/volumes/{anonymous.json()['Name']}")
    anonymous = r.ask("without anything", "POST", CREATE, {}, take=sorted)
    r.wire.request("DELETE", f"/volumes/{anonymous.json()['Name']}")
    r.ask("older", "POST", CREATE, {"Name": f"{PREFIX}older", "ClusterVolumeSpec": {}}, version="1.41")
    for version in ("1.24", "1.41"):
        r.ask(f"inspect, {version}", "GET", f"/volumes/{PREFIX}all", version=version)


def volumes_refused(r: Recorder) -> None:
    options: dict[str, dict[str, str]] = {
        "unknown option": {"bogus": "x"},
        "type alone": {"type": "tmpfs"},
        "device alone": {"device": "tmpfs"},
        "o without device": {"o": "x", "type": "tmpfs"},
        "size": {"size": "1m"},
        "bad size": {"size": "x"},
        "port of cifs": {"type": "cifs", "device": "//host:445/x"},
    }
    for label, given in options.items():
        r.ask(label, "POST", CREATE, {"Name": f"{PREFIX}refused", "DriverOpts": given})
    for name in ("a", "a/b", "-a", ".a", "a b", "/a"):
        r.ask(f"name {name!r}", "POST", CREATE, {"Name": name})
    for label, body in {
        "name that is a number": {"Name": 1},
        "labels that are a list": {"Labels": ["x"]},
    }.items():
        r.ask(label, "POST", CREATE, body)
    r.ask("no body", "POST", CREATE)
    r.ask("unknown driver", "POST", CREATE, {"Name": f"{PREFIX}refused", "Driver": "nope"})
    r.ask(
        "cluster volume",
        "POST",
        CREATE,
        {"Name": f"{PREFIX}refused", "ClusterVolumeSpec": {}},
        version="1.42",
    )
    r.ask("update", "PUT", f"/volumes/{PREFIX}refused", version="1.42")
    for method in ("GET", "DELETE"):
        r.ask(f"{method} of none", method, f"/volumes/{PREFIX}refused")
    r.ask("DELETE of none by force", "DELETE", f"/volumes/{PREFIX}refused", force=True)
    for key, value in (("dangling", "x"), ("dangling", ""), ("bogus", "x")):
        r.ask(f"list {key}={value!r}", "GET", "/volumes", filters={key: [value]})
        r.ask(f"prune {key}={value!r}", "POST", "/volumes/prune", filters={key: [value], "label": ["none"]})
    r.ask("prune all=x", "POST", "/volumes/prune", filters={"all": ["x"], "label": ["none"]})


def volumes_listed(r: Recorder) -> None:
    for name, labels in (("la", {"k": "1"}), ("lb", {"k": "2"}), ("lc", {})):
        r.wire.post(CREATE, {"Name": PREFIX + name, "Labels": {LABEL: "", **labels}}, status=201)
    r.create("lister", "true", host={"Binds": [f"{PREFIX}lb:/v"]})

    def take(found: Any) -> Any:
        mine = [one for one in found["Volumes"] if one["Name"].startswith(f"{PREFIX}l")]
        return {**found, "Volumes": sorted(mine, key=lambda one: str(one["Name"]))}

    filters: list[dict[str, list[str]]] = [
        {},
        {"label": [LABEL]},
        {"label": [LABEL, "k"]},
        {"label": ["k=2"]},
        {"name": [f"{PREFIX}l[ab]"]},
        {"name": [f"{PREFIX}la", "("]},
        {"driver": ["local"]},
        {"driver": ["nope"]},
        {"dangling": ["true"]},
        {"dangling": ["0"]},
        {"dangling": ["1"], "label": ["k"]},
    ]
    for given in filters:
        r.ask(f"list {given}", "GET", "/volumes", take=take, filters=given)


def volumes_mounted(r: Recorder) -> None:
    """Volumes of a container, and what is said when they cannot be had."""
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    r.ask("create", "POST", CREATE, {"Name": f"{PREFIX}memory", "DriverOpts": options})
    broken = {"type": "none", "device": "/no/such", "o": "bind"}
    r.ask("create broken", "POST", CREATE, {"Name": f"{PREFIX}broken", "DriverOpts": broken})
    mounts = [
        {"Type": "volume", "Source": f"{PREFIX}memory", "Target": "/m", "ReadOnly": True},
        {
            "Type": "volume",
            "Source": f"{PREFIX}new",
            "Target": "/n",
            "VolumeOptions": {"Labels": {"by": "mount"}},
        },
    ]
    host = {"Binds": [f"{PREFIX}bound:/b:nocopy"], "Mounts": mounts}
    box = r.run("mounts", "sleep", "1000", host=host)
    r.inspect("inspect", box)
    r.ask("labels by a mount", "GET", f"/volumes/{PREFIX}new")
    for name in ("memory", "bound"):
        r.ask(f"remove {name} in use", "DELETE", f"/volumes/{PREFIX}{name}")
        r.ask(f"remove {name} in use by force", "DELETE", f"/volumes/{PREFIX}{name}", force=True)
    r.ask("kill", "POST", f"/containers/{box}/kill")
    r.ended(box)
    r.ask("remove the container", "DELETE", f"/containers/{box}", v=True)
    for name in ("memory", "bound", "new"):
        r.ask(f"remove {name}", "DELETE", f"/volumes/{PREFIX}{name}")
    failing = r.run("broken-mount", "true", host={"Binds": [f"{PREFIX}broken:/b:nocopy"]})
    r.inspect("inspect failing", failing)
    create = {
        "Image": "differential/busybox:1",
        "HostConfig": {"Binds": [f"{PREFIX}x:/x"], "VolumeDriver": "nope"},
    }
    r.ask("a container with an unknown driver", "POST", "/containers/create", create)
    conflict = {"Image": "differential/busybox:1", "HostConfig": {"Binds": ["a/b:/x"]}}
    r.ask("a container with a bad name", "POST", "/containers/create", conflict)


def volumes_pruned(r: Recorder) -> None:
    label = f"{LABEL}=prune"

    def make(name: str, **fields: Any) -> str:
        body = {"Labels": {LABEL: "prune"}, **({"Name": PREFIX + name} if name else {}), **fields}
        return str(r.wire.post(CREATE, body, status=201).json()["Name"])

    for name in ("pa", "pb"):
        make(name)
    make("pt", DriverOpts={"type": "tmpfs", "device": "tmpfs"})
    r.names.learn(make(""), "<anonymous>")
    writer = r.run("pruner", "sh", "-c", "head -c 5000 /dev/zero >/a/f", host={"Binds": [f"{PREFIX}pa:/a"]})
    r.ended(writer)
    r.create("user", "true", host={"Binds": [f"{PREFIX}pb:/v"]})

    def used(found: Any) -> Any:
        mine = [one for one in found["Volumes"] or [] if (one["Labels"] or {}).get(LABEL) == "prune"]
        # By what a name stands for: the anonymous one's own is random.
        return sorted(([r.names.text(one["Name"]), one["UsageData"]] for one in mine), key=str)

    # A whole one names all images and containers of the engine: of volumes only.
    r.ask("df", "GET", "/system/df", take=used, version="1.44", type="volume")
    r.wire.request("DELETE", f"/containers/{writer}")

    def take(found: Any) -> Any:
        gone = sorted(r.names.text(name) for name in found["VolumesDeleted"])
        return {**found, "VolumesDeleted": gone, "bytes": found["SpaceReclaimed"]}

    for label_of_step, version, filters in (
        ("anonymous only", "", {}),
        ("but not", "1.41", {"label!": [LABEL]}),
        ("all, older", "1.41", {}),
        ("nothing left", "1.41", {}),
    ):
        wanted = {"label": [label], **filters}
        r.ask(label_of_step, "POST", "/volumes/prune", take=take, version=version, filters=wanted)
    r.ask("kept", "GET", "/volumes", take=lambda found: len(found["Volumes"]), filters={"label": [label]})


PARTS = [volumes_made, volumes_refused, volumes_listed, volumes_mounted, volumes_pruned]
