"""What release 29 says to bad input (recorded at API 1.51): the same request here has the same answer.

All creates are of an image without a command, so the order of checks shows, too. IDs are what differs: `{on}`
stands for the running container's, `{off}` for that of the one that has ended.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.daemon import Daemon, UnixConnection, running_daemon, wait_until

pytestmark = pytest.mark.root

_LONG = re.compile(r"\b[0-9a-f]{64}\b")
_NOT_RUNNING = "container {off} is not running"
_TAKEN = (
    'Error when allocating new name: Conflict. The container name "/bad-on" is already in use by container '
    '"{on}". You have to remove (or rename) that container to be able to reuse that name.'
)
_POLICY = (
    "invalid restart policy: unknown policy 'x'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
)
# The recorded one had runc 1.2, which adds "error during container init: "; docs/differences.md.
_RUNC = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    "runc create failed: unable to start container process: "
)
_REFUSED = "dial tcp 127.0.0.1:1: connect: connection refused"

CREATES: list[tuple[str, dict[str, Any], int, str]] = [
    ("", {"Image": "nope:1"}, 404, "No such image: nope:1"),
    ("", {}, 400, "config cannot be empty in order to create a container"),
    ("", {"Cmd": [], "Entrypoint": []}, 400, "no command specified"),
    ("bad-on", {"Image": "box"}, 400, "no command specified"),
    ("-x", {"Image": "box"}, 400, "no command specified"),
    (
        "bad-wd",
        {"Cmd": ["true"], "WorkingDir": "rel"},
        400,
        "the working directory 'rel' is invalid, it needs to be an absolute path",
    ),
    (
        "bad-bm",
        {
            "Cmd": ["true"],
            "HostConfig": {"Mounts": [{"Type": "bind", "Source": "/nonexistent", "Target": "/x"}]},
        },
        400,
        'invalid mount config for type "bind": bind source path does not exist: /nonexistent',
    ),
    ("", {"HostConfig": {"Memory": 1000}}, 400, "Minimum memory limit allowed is 6MB"),
    ("", {"HostConfig": {"RestartPolicy": {"Name": "x"}}}, 400, _POLICY),
    (
        "",
        {"HostConfig": {"AutoRemove": True, "RestartPolicy": {"Name": "always"}}},
        400,
        "can't create 'AutoRemove' container with restart policy",
    ),
    ("bad-cap", {"HostConfig": {"CapAdd": ["NOPE"]}}, 400, 'invalid CapAdd: unknown capability: "CAP_NOPE"'),
    ("", {"HostConfig": {"LogConfig": {"Type": "nope"}}}, 400, "no command specified"),
    ("", {"HostConfig": {"Runtime": "nope"}}, 400, "unknown or invalid runtime name: nope"),
    ("bad-bn", {"HostConfig": {"NetworkMode": "nope"}}, 400, "no command specified"),
]

REQUESTS: list[tuple[str, str, Any, int, str]] = [
    ("GET", "/containers/nope/json", None, 404, "No such container: nope"),
    ("GET", "/images/nope/json", None, 404, "No such image: nope:latest"),
    ("POST", "/containers/bad-on/start", None, 304, ""),
    ("POST", "/containers/bad-off/stop", None, 304, ""),
    ("POST", "/containers/bad-off/kill", None, 409, "cannot kill container: bad-off: " + _NOT_RUNNING),
    (
        "POST",
        "/containers/bad-on/kill?signal=FOO",
        None,
        400,
        "cannot kill container: bad-on: invalid signal: FOO",
    ),
    (
        "DELETE",
        "/containers/bad-on",
        None,
        409,
        'cannot remove container "bad-on": container is running: '
        "stop the container before removing or force remove",
    ),
    ("POST", "/containers/bad-off/rename?name=bad-on", None, 409, _TAKEN),
    ("POST", "/containers/bad-off/rename?name=", None, 400, "Neither old nor new names may be empty"),
    ("POST", "/containers/bad-off/pause", None, 409, _NOT_RUNNING),
    ("POST", "/containers/bad-on/unpause", None, 500, "Container {on} is not paused"),
    ("POST", "/containers/bad-off/exec", {"Cmd": ["id"]}, 409, _NOT_RUNNING),
    ("POST", "/containers/bad-on/exec", {}, 400, "No exec command specified"),
    ("POST", "/exec/nope/start", {}, 404, "No such exec instance: nope"),
    (
        "POST",
        "/images/box/tag?repo=UPPER",
        None,
        400,
        "invalid reference format: repository name (library/UPPER) must be lowercase",
    ),
    ("POST", "/images/nope/tag?repo=a", None, 404, "No such image: nope:latest"),
    ("GET", "/containers/json?filters=xx", None, 400, "invalid filter"),
    ("GET", "/containers/json?limit=x", None, 400, 'strconv.Atoi: parsing "x": invalid syntax'),
    ("POST", "/containers/bad-bn/start", None, 404, "No such container: bad-bn"),
    (
        "GET",
        "/containers/bad-on/archive?path=/nope",
        None,
        404,
        "Could not find the file /nope in container bad-on",
    ),
    ("GET", "/containers/bad-on/archive", None, 400, "bad parameter: path cannot be empty"),
    ("POST", "/containers/bad-off/resize?h=x", None, 400, 'invalid resize height "x": invalid syntax'),
    ("POST", "/containers/bad-on/wait?condition=x", None, 400, 'invalid condition: "x"'),
    ("POST", "/containers/bad-on/update", {"Memory": 1000}, 400, "Minimum memory limit allowed is 6MB"),
    (
        "POST",
        "/auth",
        {"username": "a", "password": "b", "serveraddress": "127.0.0.1:1"},
        500,
        f'Get "http://127.0.0.1:1/v2/": {_REFUSED}',
    ),
    ("GET", "/distribution/127.0.0.1:1/x/json", None, 500, f'Get "http://127.0.0.1:1/v2/": {_REFUSED}'),
    (
        "POST",
        "/images/create?fromImage=127.0.0.1:1/x&tag=y",
        None,
        500,
        f'Get "http://127.0.0.1:1/v2/": {_REFUSED}',  # see docs/differences.md
    ),
]

STARTS: list[tuple[dict[str, Any], int, str]] = [
    ({"Cmd": ["nope"]}, 400, _RUNC + 'exec: "nope": executable file not found in $PATH: unknown'),
    (
        {"Cmd": ["true"], "User": "nouser"},
        500,
        "unable to find user nouser: no matching entries in passwd file",
    ),
    (
        {
            "Cmd": ["true"],
            "ExposedPorts": {"80/tcp": {}},
            "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18099"}]}},
        },
        500,
        "failed to set up container networking: driver failed programming external connectivity on endpoint "
        "bad-start (<id>): Bind for 127.0.0.1:18099 failed: port is already allocated",
    ),
]

ANSWERS: list[tuple[str, Any, Any]] = [
    (
        "/containers/bad-on/update",
        {"Memory": 134217728, "MemorySwap": -1},
        {"Warnings": None},
    ),
    ("/containers/prune?filters=%7B%22label%22%3A%5B%22zz%22%5D%7D", None, {"ContainersDeleted": None}),
    ("/images/prune?filters=%7B%22label%22%3A%5B%22zz%22%5D%7D", None, {"ImagesDeleted": None}),
]


class Case:
    """The daemon with a container that runs (and holds a port) and one that has ended."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        daemon.image()
        port = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18099"}]}
        fields = {"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"PortBindings": port}}
        self.on = daemon.run(["sleep", "1000"], "bad-on", **fields)
        self.off = daemon.run(["true"], "bad-off")
        wait_until(lambda: daemon.inspect(self.off)["State"]["Status"] == "exited", "the end")

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON answer; a message comes with what IDs are called here."""
        connection = UnixConnection(self.daemon.socket)
        try:
            sent = json.dumps(body) if body is not None else None
            headers = {"Content-Type": "application/json"} if sent else {}
            connection.request(method, "/v1.51" + path, sent, headers)
            answer = connection.getresponse()
            read = answer.read()
        finally:
            connection.close()
        found = json.loads(read) if read else {"message": ""}
        if "message" in found:
            text = found["message"].replace(self.on, "{on}").replace(self.off, "{off}")
            found["message"] = _LONG.sub("<id>", text)
        return answer.status, found


@pytest.fixture(scope="module")
def case() -> Iterator[Case]:
    with running_daemon() as daemon:
        yield Case(daemon)


@pytest.mark.parametrize(("name", "body", "status", "text"), CREATES)
def test_create(case: Case, name: str, body: dict[str, Any], status: int, text: str) -> None:
    full = {"Image": "box", **body} if body else body
    answer = case.ask("POST", f"/containers/create?name={name}", full)
    assert answer == (status, {"message": text})


@pytest.mark.parametrize(("method", "path", "body", "status", "text"), REQUESTS)
def test_request(case: Case, method: str, path: str, body: Any, status: int, text: str) -> None:
    assert case.ask(method, path, body) == (status, {"message": text})


@pytest.mark.parametrize(("body", "status", "text"), STARTS)
def test_start(case: Case, body: dict[str, Any], status: int, text: str) -> None:
    made, _ = case.ask("POST", "/containers/create?name=bad-start", {"Image": "box", **body})
    assert made == 201
    try:
        assert case.ask("POST", "/containers/bad-start/start") == (status, {"message": text})
    finally:
        case.ask("DELETE", "/containers/bad-start?force=1")


@pytest.mark.parametrize(("path", "body", "expected"), ANSWERS)
def test_answer(case: Case, path: str, body: Any, expected: dict[str, Any]) -> None:
    status, found = case.ask("POST", path, body)
    if "SpaceReclaimed" in found:
        assert found.pop("SpaceReclaimed") == 0
    assert (status, found) == (200, expected)


def test_image_in_use(case: Case) -> None:
    image = case.ask("GET", "/images/box/json")[1]["Id"].removeprefix("sha256:")[:12]
    status, found = case.ask("DELETE", "/images/box")
    text = (
        "conflict: unable to delete box:latest (must be forced) - "
        "container {} is using its referenced image {}"
    )
    assert status == 409
    assert found["message"] in [text.format(container[:12], image) for container in (case.on, case.off)]


def test_push_of_nothing(case: Case) -> None:
    connection = UnixConnection(case.daemon.socket)
    connection.request("POST", "/v1.51/images/nope/push", headers={"X-Registry-Auth": "e30="})
    answer = connection.getresponse()
    lines = [json.loads(line) for line in answer.read().splitlines()]
    connection.close()
    text = "An image does not exist locally with the tag: nope"
    assert lines == [
        {"status": "The push refers to repository [docker.io/library/nope]"},
        {"error": text, "errorDetail": {"message": text}},
    ]


def test_exec_in_a_paused_container(case: Case) -> None:
    assert case.ask("POST", "/containers/bad-on/pause")[0] == 204
    try:
        answer = case.ask("POST", "/containers/bad-on/exec", {"Cmd": ["id"]})
    finally:
        assert case.ask("POST", "/containers/bad-on/unpause")[0] == 204
    assert answer == (409, {"message": "Container bad-on is paused, unpause the container before exec"})
