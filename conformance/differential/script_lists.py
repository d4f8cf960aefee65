"""Lists of containers with every filter, and the shapes that older API versions have."""

from typing import Any

from conformance.differential.recorder import IMAGE, Recorder

OLDER = ("1.24", "1.25", "1.30", "1.35", "1.40", "1.41", "1.42", "1.43", "1.44")


def lists(r: Recorder) -> None:
    run = r.run("listed-1", "sleep", "1000", Labels={"kind": "one"}, ExposedPorts={"80/tcp": {}})
    ports = {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "28498"}]}}
    two: dict[str, Any] = {"Labels": {"kind": "two"}, "ExposedPorts": {"80/tcp": {}}}
    r.run("listed-2", "sleep", "1000", host={"Binds": ["df-list:/l"], **ports}, **two)
    ended = r.run("listed-3", "sh", "-c", "exit 7")
    r.ended(ended)
    r.create("listed-4", "sh", "-c", "echo \"a b\" 'c'", Entrypoint=["env"])
    name: dict[str, Any] = {"name": ["df-listed"]}
    r.listed("running", filters=name)
    r.listed("all", all=True, filters=name)
    r.listed("limit", limit=2, filters=name)
    filters = {
        "status": [["exited"], ["created", "running"], ["dead"], ["removing"]],
        "exited": [["7"], ["0"]],
        "label": [["kind"], ["kind=one"], ["kind=one", "kind=two"], ["other"]],
        "ancestor": [[IMAGE], ["no-such-image"]],
        "volume": [["df-list"], ["/l"]],
        "network": [["bridge"], ["no-such-network"]],
        "publish": [["28498"], ["80"], ["80/tcp"]],
        "expose": [["80"], ["80/tcp"], ["80-90/tcp"]],
        "before": [[ended]],
        "since": [[ended]],
        "id": [["zz"]],
        "is-task": [["false"], ["true"]],
        "isolation": [["default"]],
    }
    for key, values in filters.items():
        for value in values:
            asked = {key: value, **name} if key != "name" else {key: value}
            r.listed(f"{key}={','.join(value)}", all=True, filters=asked)
    bad = {
        "status": "x",
        "exited": "x",
        "publish": "x/y",
        "expose": "99999",
        "before": "no-such",
        "bogus": "x",
        "is-task": "x",
        "health": "x",
    }
    for key, text in bad.items():
        r.ask(f"bad {key}", "GET", "/containers/json", all=True, filters={key: [text]})
    r.ask("bad filters", "GET", "/containers/json", filters="x")
    r.ask("bad limit", "GET", "/containers/json", limit="x")
    r.ask("kill", "POST", f"/containers/{run}/kill")
    r.ended(run)
    r.listed("after a kill", all=True, filters={"name": ["df-listed-1"]})


def others(r: Recorder) -> None:
    """Volumes, networks and images, each of this script's only, with every filter."""
    kept = r.run("kept-1", "sleep", "1000", Labels={"keep": "1"}, host={"Binds": ["df-used:/v"]})
    labels = {"Labels": {"kind": "one"}}
    r.ask("volume", "POST", "/volumes/create", {"Name": "df-unused", **labels})

    def volumes(found: dict[str, Any]) -> list[str]:
        return sorted(v["Name"] for v in found["Volumes"] or [] if v["Name"] in {"df-used", "df-unused"})

    asked: list[tuple[str, str, dict[str, list[list[str]]], Any]] = [
        (
            "volumes",
            "/volumes",
            {
                "dangling": [["true"], ["false"], ["x"]],
                "driver": [["local"], ["none"]],
                "label": [["kind"], ["kind=one"], ["kind=two"]],
                "name": [["df-"], ["used"], ["^df-used$"]],
                "bogus": [["x"]],
            },
            volumes,
        ),
        (
            "networks",
            "/networks",
            {
                "driver": [["bridge"], ["host", "null"], ["none"]],
                "type": [["builtin"], ["custom"], ["x"]],
                "scope": [["local"], ["swarm"]],
                "name": [["bridge"], ["no"], ["^host$"]],
                "label": [["x"]],
                "dangling": [["true"], ["false"], ["x"]],
                "id": [["zz"]],
                "bogus": [["x"]],
            },
            lambda found: sorted(n["Name"] for n in found),
        ),
        (
            "images",
            "/images/json",
            {
                "dangling": [["true"], ["false"], ["x"]],
                "label": [["bare"], ["bare=yes"], ["bare=no"]],
                "reference": [["differential/*"], ["differential/busybox:1"], ["*/bare"], ["x"]],
                "bogus": [["x"]],
            },
            lambda found: sorted(tag for image in found for tag in image["RepoTags"] or []),
        ),
    ]
    for what, path, filters, take in asked:
        for key, values in filters.items():
            for value in values:
                r.ask(f"{what}, {key}={','.join(value)}", "GET", path, take=take, filters={key: value})

    def removed(found: dict[str, Any]) -> list[str]:
        gone = found.get("VolumesDeleted") or found.get("ContainersDeleted") or []
        return sorted(r.names.text(name) for name in gone)

    ended = r.run("gone-1", "true", Labels={"gone": "1"})
    r.ended(ended)
    r.ask("volume in use", "DELETE", "/volumes/df-used")
    r.ask("prune the kept", "POST", "/containers/prune", take=removed, filters={"label": ["keep"]})
    query: Any = {"label": ["gone"], "until": ["24h"]}
    r.ask("prune old ones", "POST", "/containers/prune", take=removed, filters=query)
    query = {"label": ["gone"], "label!": ["gone=1"]}
    r.ask("prune without a label", "POST", "/containers/prune", take=removed, filters=query)
    r.ask("prune", "POST", "/containers/prune", take=removed, filters={"label": ["gone"]})
    query = {"label": ["kind=one"], "all": ["true"]}
    r.ask("prune volumes", "POST", "/volumes/prune", take=removed, filters=query)
    r.ask("prune volumes by a bad filter", "POST", "/volumes/prune", filters={"bogus": ["x"]})
    r.ask("prune networks by a bad filter", "POST", "/networks/prune", filters={"bogus": ["x"]})
    r.ask("remove", "DELETE", f"/containers/{kept}", force=True)


def versions(r: Recorder) -> None:
    """What clients of older versions get."""
    box = r.run("versions", "sleep", "1000", host={"Binds": ["df-versions:/v"]})
    made = r.ask("exec", "POST", f"/containers/{box}/exec", {"Cmd": ["id"]})
    r.names.learn(str(made.json()["Id"]), "<exec>")
    for version in OLDER:
        r.inspect(f"inspect, {version}", box, version=version)
        r.listed(f"list, {version}", version=version, filters={"name": ["df-versions"]})
        r.stats(f"stats, {version}", box, version=version, stream=False)
        r.ask(f"exec, {version}", "GET", f"/exec/{made.json()['Id']}/json", version=version)
        r.ask(f"missing, {version}", "GET", "/containers/no-such/json", version=version)
        body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {}}
        named: dict[str, Any] = {"name": f"df-by-{version}"}
        created = r.ask(f"create, {version}", "POST", "/containers/create", body, version=version, **named)
        r.names.learn(str(created.json()["Id"]), f"<by-{version}>")
        r.inspect(f"created by {version}", f"df-by-{version}")
