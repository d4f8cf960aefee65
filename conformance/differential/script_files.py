"""Logs, archives, changes, export, commit, prune."""

from typing import Any

from conformance import tars
from conformance.differential.recorder import PREFIX, Recorder
from conformance.images import Tar

LINES = "echo one; echo two >&2; printf three"


def logs(r: Recorder) -> None:
    box = r.run("logs", "sh", "-c", LINES, Labels={"l": "1"})
    r.ended(box)
    queries: dict[str, dict[str, Any]] = {
        "both": {"stdout": True, "stderr": True},
        "stdout": {"stdout": True},
        "stderr": {"stderr": True},
        "tail 1": {"stdout": True, "tail": "1"},
        "tail 0": {"stdout": True, "tail": "0"},
        "tail all": {"stdout": True, "tail": "all"},
        "bad tail": {"stdout": True, "tail": "x"},
        "since": {"stdout": True, "since": "4000000000"},
        "until": {"stdout": True, "until": "1"},
        "bad since": {"stdout": True, "since": "x"},
        "timestamps": {"stdout": True, "timestamps": True},
        "follow": {"stdout": True, "follow": True},
        "details": {"stdout": True, "details": True},
        "neither": {},
    }
    for label, query in queries.items():
        r.ask(f"logs {label}", "GET", f"/containers/{box}/logs", **query)
    tty = r.run("logs-tty", "sh", "-c", LINES, Tty=True)
    r.ended(tty)
    r.ask("logs of a tty", "GET", f"/containers/{tty}/logs", stdout=True, stderr=True)
    none = r.run("logs-none", "sh", "-c", LINES, host={"LogConfig": {"Type": "none"}})
    r.ended(none)
    r.ask("logs of none", "GET", f"/containers/{none}/logs", stdout=True)


def archives(r: Recorder) -> None:
    script = "mkdir /d; echo text >/d/f; ln -s f /d/l; ln -s / /d/up; chmod 640 /d/f; rm /etc/services"
    box = r.run("files", "sh", "-c", script + "; touch -d @1700000000 /d/f")
    r.ended(box)
    for path in ("/d/f", "/etc/passwd", "/d/l/"):
        r.ask(f"stat {path}", "HEAD", f"/containers/{box}/archive", path=path)
    for path in ("/no-such", "/d/f/", "/d/f/x", ""):
        r.ask(f"stat {path!r}", "HEAD", f"/containers/{box}/archive", path=path)
        r.ask(f"get {path!r}", "GET", f"/containers/{box}/archive", path=path)
    r.ask("get a folder", "GET", f"/containers/{box}/archive", path="/etc")
    tar = Tar().add("new", "new\n").bytes()
    url = f"/containers/{box}/archive"
    r.ask("put", "PUT", url, tar, path="/d")
    r.ask("put at a file", "PUT", url, tar, path="/d/f")
    r.ask("put nowhere", "PUT", url, tar, path="/no-such")
    r.ask("put without a path", "PUT", url, tar)
    folder = Tar().add("f").bytes()
    r.ask("put a folder over a file", "PUT", url, folder, path="/d", noOverwriteDirNonDir=True)

    def by_path(found: list[dict[str, object]]) -> list[dict[str, object]]:
        return sorted(found, key=lambda change: str(change["Path"]))

    r.ask("changes", "GET", f"/containers/{box}/changes", take=by_path)
    r.ask("export", "GET", f"/containers/{box}/export")
    answer = r.wire.request("GET", f"/containers/{box}/archive", path="/d")
    r.keep(
        "archive", sorted([m.name, m.type.decode(), m.mode, m.uid] for m in tars.unpack(answer.body).values())
    )


def commits(r: Recorder) -> None:
    box = r.run("commits", "sh", "-c", "echo x >/x", Labels={"a": "b"}, Env=["E=1"])
    r.ended(box)
    changes = 'CMD ["echo"]\nENV F=2\nEXPOSE 80\nLABEL c=d\nUSER user\nWORKDIR /w\nVOLUME /v'
    named: dict[str, Any] = {"repo": "differential/made", "tag": "1", "comment": "why", "author": "who"}
    # The ID is a digest of a time, among others.
    made = r.ask("commit", "POST", "/commit", container=box, changes=changes, take=list, **named)
    r.names.learn(str(made.json()["Id"]), "<made>")

    def take(image: dict[str, object]) -> dict[str, object]:
        names = ("Config", "Author", "Comment", "Architecture", "Os", "RepoTags", "RepoDigests")
        return {name: image.get(name) for name in names}

    r.ask("image", "GET", "/images/differential/made:1/json", take=take)
    r.inspect("container of it", r.create("of-made", image="differential/made:1"))
    r.ask("bad change", "POST", "/commit", container=box, changes="FROM x")
    r.ask("bad reference", "POST", "/commit", container=box, repo="UPPER")
    r.ask("missing", "POST", "/commit", container="no-such")
    r.ask("no container", "POST", "/commit")


def prune(r: Recorder) -> None:
    r.ask("nothing", "POST", "/containers/prune", filters={"label": ["no-such-label"]})
    r.ask("bad filter", "POST", "/containers/prune", filters={"bogus": ["x"]})
    r.ask("bad time", "POST", "/containers/prune", filters={"until": ["x"]})
    for name in ("pruned", "kept"):
        r.create(name, "true", Labels={name: "1"})

    def take(found: dict[str, object]) -> object:
        return found["ContainersDeleted"]

    r.ask("by label", "POST", "/containers/prune", take=take, filters={"label": ["pruned"]})
    r.ask("kept", "GET", f"/containers/{PREFIX}kept/json", take=lambda found: found["Name"])
