"""HTTP as such: paths, versions, bodies, and clients that are not polite."""

import json
import socket
import struct
import threading

import pytest

from conformance.engine import Engine
from conformance.until import until
from conformance.wire import Answer

CREATE = "ContainerCreate"


def raw(engine: Engine, line: str, *headers: str, body: bytes = b"") -> Answer:
    """One request from its parts, with nothing added but Host and Connection."""
    head = "\r\n".join([line + " HTTP/1.1", "Host: d", "Connection: close", *headers])
    return engine.wire.raw(head.encode() + b"\r\n\r\n" + body)


def post_create(engine: Engine, body: bytes, kind: str = "application/json") -> Answer:
    return raw(
        engine, "POST /containers/create", f"Content-Type: {kind}", f"Content-Length: {len(body)}", body=body
    )


@pytest.mark.operation("SystemPing")
@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/",
        "/v1.41",
        "/v1.41/",
        "/v1.41/nope",
        "/vfoo/_ping",
        "/v1.99/nope",
        "/info/",
        "/containers/json/",
    ],
)
def test_page_not_found(engine: Engine, path: str) -> None:
    answer = raw(engine, f"GET {path}")
    assert (answer.status, answer.body) == (404, b'{"message":"page not found"}\n')
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.operation("SystemPing", "ContainerDelete")
def test_wrong_method(engine: Engine) -> None:
    assert raw(engine, "POST /_ping", "Content-Length: 0").body == b'{"message":"page not found"}\n'
    answer = raw(engine, "DELETE /containers/json")
    assert (answer.status, answer.body) == (404, b'{"message":"No such container: json"}\n')
    assert raw(engine, "PUT /containers/json", "Content-Length: 0").status == 404


@pytest.mark.operation("SystemPing")
@pytest.mark.parametrize("path", ["/_ping", "/v1.40/containers/json"])
def test_options(engine: Engine, path: str) -> None:
    answer = raw(engine, f"OPTIONS {path}")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.operation("ContainerList")
def test_version_too_new(engine: Engine) -> None:
    answer = raw(engine, "GET /v1.99/containers/json")
    assert answer.status == 400
    assert answer.message == f"client version 1.99 is too new. Maximum supported API version is {engine.api}"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.operation("SystemPing")
def test_version_too_old(engine: Engine) -> None:
    answer = raw(engine, "GET /v1.11/_ping")
    assert answer.status == 400
    assert (
        f"client version 1.11 is too old. Minimum supported API version is {engine.min_api}"
        in answer.body.decode()
    )


@pytest.mark.operation("SystemPing", "SystemInfo", "SystemVersion", "ContainerList", "ImageList")
@pytest.mark.parametrize("path", ["/_ping", "/info", "/version", "/containers/json", "/images/json"])
def test_every_version_is_served(engine: Engine, path: str) -> None:
    low = max(24, int(engine.min_api.split(".")[1]))
    for minor in range(low, int(engine.api.split(".")[1]) + 1):
        answer = engine.wire.request("GET", path, version=f"1.{minor}")
        assert answer.status == 200, minor
        assert answer.headers["api-version"] == engine.api


@pytest.mark.operation("ContainerList")
def test_doubled_slashes_and_dots(engine: Engine) -> None:
    answer = raw(engine, "GET /v1.41//containers/json")
    assert (answer.status, answer.headers["location"]) == (301, "/v1.41/containers/json")
    answer = raw(engine, "GET /v1.41/containers/../info")
    assert (answer.status, answer.headers["location"]) == (301, "/v1.41/info")


@pytest.mark.operation(CREATE)
@pytest.mark.parametrize(
    ("body", "old", "new", "text"),
    [
        (b"{bad", 500, 400, "invalid character 'b' looking for beginning of object key string"),
        (b"", 500, 400, "EOF"),
        (b"{}", 400, 400, "onfig cannot be empty in order to create a container"),
        (b"null", 400, 400, "onfig cannot be empty in order to create a container"),
        (b"[]", 500, 400, "json: cannot unmarshal array into Go value of type"),
        (b'{"Image":5}', 500, 400, "json: cannot unmarshal number into Go struct field"),
        (b'{"Image":"no-such"}', 404, 404, "No such image: no-such:latest"),
    ],
)
def test_bodies(engine: Engine, body: bytes, old: int, new: int, text: str) -> None:
    answer = post_create(engine, body)
    assert answer.status == engine.pick({"1.24": old, "1.42": new})
    assert text in answer.message
    assert answer.body.endswith(b"}\n")


@pytest.mark.operation(CREATE)
def test_content_types(engine: Engine) -> None:
    answer = post_create(engine, b"{}", "text/plain")
    assert answer.status == 400
    assert "text/plain" in answer.message and "must be 'application/json'" in answer.message
    answer = post_create(engine, b'{"Image":"no-such"}', "application/json; charset=utf-8")
    assert answer.status == 404


@pytest.mark.operation(CREATE, "ContainerInspect")
def test_json_is_read_leniently(engine: Engine) -> None:
    """As Go does: names in any case, null for nothing, unknown fields are let be."""
    body = {
        "image": engine.image,
        "CMD": ["true"],
        "labels": None,
        "Nonsense": {"a": 1},
        "hostconfig": {"memory": 64 << 20, "Binds": None},
    }
    answer = post_create(engine, json.dumps(body).encode())
    assert answer.status == 201, answer
    found = engine.inspect(answer.json()["Id"])
    assert found["Config"]["Cmd"] == ["true"] and found["HostConfig"]["Memory"] == 64 << 20


@pytest.mark.operation(CREATE)
def test_chunked_body(engine: Engine) -> None:
    body = json.dumps({"Image": engine.image, "Cmd": ["true"]}).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    answer = raw(
        engine,
        "POST /containers/create",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
        body=chunks,
    )
    assert answer.status == 201


@pytest.mark.operation("SystemPing")
def test_keep_alive_and_pipelining(engine: Engine) -> None:
    request = b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n"
    last = b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
    with engine.wire.connect() as sock:
        sock.sendall(request * 2 + last)
        data = b"".join(iter(lambda: sock.recv(65536), b""))
    assert data.count(b"HTTP/1.1 200 OK") == 3 and data.count(b"\r\n\r\nOK") == 3


@pytest.mark.operation("SystemPing")
def test_http_1_0(engine: Engine) -> None:
    with engine.wire.connect() as sock:
        sock.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        data = b"".join(iter(lambda: sock.recv(65536), b""))
    assert data.startswith(b"HTTP/1.0 200 OK\r\n") and data.endswith(b"\r\n\r\nOK")


@pytest.mark.operation("ContainerList")
def test_http_1_0_has_no_chunks(engine: Engine, box: str) -> None:
    with engine.wire.connect() as sock:
        sock.sendall(b"GET /containers/json HTTP/1.0\r\n\r\n")
        data = b"".join(iter(lambda: sock.recv(65536), b""))
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert box in [c["Id"] for c in json.loads(body)]


@pytest.mark.operation("SystemPing")
def test_missing_host(engine: Engine) -> None:
    answer = engine.wire.raw(b"GET /_ping HTTP/1.1\r\n\r\n")
    assert answer.status == 400


@pytest.mark.operation("SystemPing")
def test_large_headers(engine: Engine) -> None:
    assert raw(engine, "GET /_ping", "X-A: " + "a" * 500_000).status == 200


@pytest.mark.operation("SystemPing", "ContainerInspect")
def test_escapes_in_paths(engine: Engine, box: str) -> None:
    escaped = "".join(f"%{ord(c):02x}" for c in box[:4]) + box[4:]
    assert raw(engine, f"GET /containers/{escaped}/json").status == 200
    assert raw(engine, "GET /containers/%zz/json").status == 400


@pytest.mark.operation("ContainerList")
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("1", True),
        ("true", True),
        ("yes", True),
        ("0", False),
        ("false", False),
        ("no", False),
        ("none", False),
        ("", False),
        ("False", False),
    ],
)
def test_booleans(engine: Engine, value: str, shown: bool) -> None:
    container = engine.create("true")
    found = engine.wire.get("/containers/json", all=value)
    assert (container in [c["Id"] for c in found]) is shown


@pytest.mark.operation("SystemPing")
def test_the_server_names_itself(engine: Engine) -> None:
    for path in ("/version", "/info", "/containers/json"):
        headers = engine.wire.request("GET", path).headers
        assert headers["api-version"] == engine.api
        assert headers["docker-experimental"] == "false"
        assert headers["ostype"] == "linux"
        assert headers["server"] == f"Docker/{engine.version['Version']} (linux)"
        assert headers["content-type"] == "application/json"


@pytest.mark.operation("SystemPing")
def test_many_connections(engine: Engine) -> None:
    """A hundred that say nothing do not keep the next one waiting."""
    idle = [engine.wire.connect() for _ in range(100)]
    try:
        assert engine.wire.request("GET", "/_ping").body == b"OK"
    finally:
        for sock in idle:
            sock.close()
    assert engine.wire.request("GET", "/_ping").body == b"OK"


@pytest.mark.operation("ImageLoad")
def test_client_that_vanishes_in_its_body(engine: Engine) -> None:
    sock = engine.wire.connect()
    sock.sendall(
        b"POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\n"
        b"Content-Length: 10000000\r\n\r\n" + b"\0" * 100_000
    )
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    assert engine.wire.request("GET", "/_ping").body == b"OK"


@pytest.mark.operation("ContainerWait")
def test_clients_that_vanish_while_waiting(engine: Engine) -> None:
    container = engine.sleeper()
    for _ in range(30):
        engine.wire.open("POST", f"/containers/{container}/wait").close()
    engine.wire.post(f"/containers/{container}/kill", status=204)
    assert engine.wait(container) == 137


@pytest.mark.operation("SystemPing", "ContainerWait")
def test_a_waiting_request_does_not_block_others(engine: Engine) -> None:
    container = engine.sleeper()
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(engine.wait(container))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert engine.wire.request("GET", "/_ping").body == b"OK"
    until(lambda: engine.state(container)["Running"])
    engine.wire.post(f"/containers/{container}/kill", status=204)
    for thread in threads:
        thread.join()
    assert codes == [137] * 8


@pytest.mark.operation("SwarmInspect", "NodeList", "ServiceList", "TaskList", "SecretList", "ConfigList")
@pytest.mark.parametrize("path", ["/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs"])
def test_outside_a_swarm(engine: Engine, path: str) -> None:
    answer = engine.wire.request("GET", path)
    assert answer.status == 503
    assert answer.message.startswith('This node is not a swarm manager. Use "docker swarm init"')
