"""The differential test's own parts: what is taken out, how records are compared, what an entry allows."""

from conformance.differential.allowed import ALLOWED, Allowed
from conformance.differential.compare import MISSING, Difference, differences
from conformance.differential.normal import ZERO_TIME, Names, processes, shape

ID = "0123456789abcdef" * 4


def test_what_is_new_each_time_is_taken_out() -> None:
    names = Names()
    names.learn(ID, "<box>")
    names.learn("/var/lib/x", "<root>")
    found = names.clean(
        {
            "Id": ID,
            "Hostname": ID[:12],
            "Other": "f" * 64,
            "Created": "2026-01-02T03:04:05.678Z",
            "FinishedAt": ZERO_TIME,
            "State": {"Pid": 77, "ExitCode": 77},
            "Dir": "/var/lib/x/overlay2/abc/diff",
            "IPAddress": "172.17.0.9",
            "Status": "Up 3 seconds",
            "Mounts": [{"Destination": "/b"}, {"Destination": "/a"}],
        }
    )
    assert found == {
        "Id": "<box>",
        "Hostname": "<box> short",
        "Other": "<id>",
        "Created": "<time>",
        "FinishedAt": ZERO_TIME,
        "State": {"Pid": "<number>", "ExitCode": 77},
        "Dir": "<folder>",
        "IPAddress": "<address>",
        "Status": "Up <ago>",
        "Mounts": [{"Destination": "/a"}, {"Destination": "/b"}],
    }
    assert Names().clean({"Pid": 0, "Image": "sha256:" + ID}) == {"Pid": 0, "Image": "sha256:" + ID}


def test_shapes() -> None:
    assert shape({"a": 1, "b": [1], "c": None, "d": "x", "e": {"f": True}}) == {
        "a": "<number>",
        "b": "<list>",
        "c": None,
        "d": "x",
        "e": {"f": True},
    }
    rows = {"Titles": ["UID", "PID", "CMD"], "Processes": [["root", "2", "b"], ["root", "1", "a"]]}
    assert processes(rows)["Processes"] == [["root", "a"], ["root", "b"]]


def test_every_difference_is_found() -> None:
    real = {"a": {"x": 1, "y": [1, {"z": 2}], "only": 0}, "b": 1, "gone": 1}
    ours = {"a": {"x": True, "y": [1, {"z": 3}], "new": 0}, "b": 1}
    assert list(differences(real, ours)) == [
        Difference("a", "x", 1, True),
        Difference("a", "y[1].z", 2, 3),
        Difference("a", "only", 0, MISSING),
        Difference("a", "new", MISSING, 0),
        Difference("gone", "", 1, MISSING),
    ]
    assert list(differences({"a": [1]}, {"a": [1, 2]})) == [Difference("a", "", [1], [1, 2])]


def test_an_entry_allows_what_it_says_and_no_more() -> None:
    entry = Allowed("part: *", "body.Names", r"'(?P<a>.*)' → 'new (?P=a)'", "why")
    assert entry.covers(Difference("part: x", "body.Names", "it", "new it"))
    assert not entry.covers(Difference("part: x", "body.Names", "it", "new thing"))
    assert not entry.covers(Difference("other: x", "body.Names", "it", "new it"))
    assert not entry.covers(Difference("part: x", "body.Name", "it", "new it"))
    assert all(allowed.since for allowed in ALLOWED) and len(ALLOWED) < 50
    assert not any(a.covers(Difference("states: running", "body.State.Status", "x", "y")) for a in ALLOWED)
