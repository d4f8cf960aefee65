"""Lists of containers with every filter, and the shapes that older API versions have."""

from typing import Any

from conformance.differential.recorder import IMAGE, Recorder

OLDER = ("1.24", "1.25", "1.30", "1.35", "1.40")


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
