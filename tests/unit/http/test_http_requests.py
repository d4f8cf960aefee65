"""What an engine answers to ordinary and odd requests, row by row, as recorded from a real one."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from compatd.http import Answer, Call, Empty, Json, Raw
from tests.unit.http.harness import Running, parse, receive_until


class Missing(Exception):
    """As the engine's own errors: known by their status."""

    status = 404
    message = "No such container: nope"


class Unchanged(Exception):
    status = 304
    message = "already"


async def create(engine: Any, call: Call) -> Answer:
    return Json({"query": call.query["name"], "body": call.body, "engine": engine}, 201)


async def inspect(engine: Any, call: Call) -> Answer:
    if call.path["id"] == "nope":
        raise Missing
    return Json({"Id": call.path["id"], "version": str(call.version)}, gated=False)


async def remove(engine: Any, call: Call) -> Answer | None:
    match call.path["id"]:
        case "full":
            raise OSError(errno.ENOSPC, "No space left on device", "/data/x")
        case "bug":
            raise KeyError("oops")
        case "same":
            raise Unchanged
        case "nothing":
            return None
    return Empty()


async def image(engine: Any, call: Call) -> Answer:
    return Json({"name": call.path["name"], "text": "a<b>&c\u2028"}, gated=False)


async def version(engine: Any, call: Call) -> Answer:
    return Json({"text": "x" * int(call.header("X-Size") or 0)}, gated=False)


async def path_stat(engine: Any, call: Call) -> Answer:
    return Empty(200, headers={"X-Docker-Container-Path-Stat": "e30="})


async def export(engine: Any, call: Call) -> Answer:
    return Raw(b"tar", "application/x-tar", headers={"X-Extra": "1"})


HANDLERS = {
    "ContainerCreate": create,
    "ContainerInspect": inspect,
    "ContainerDelete": remove,
    "ContainerArchiveInfo": path_stat,
    "ContainerExport": export,
    "ImageInspect": image,
    "SystemVersion": version,
}

NOT_FOUND = b'{"message":"page not found"}\n'
JSON = ("Content-Type: application/json",)
NO_MANAGER = (
    b'{"message":"This node is not a swarm manager. Use \\"docker swarm init\\" or \\"docker swarm join\\" '
    b'to connect this node to swarm and try again."}\n'
)
TOO_NEW = b'{"message":"client version 1.99 is too new. Maximum supported API version is 1.56"}\n'

ROWS = [
    # method, target, status line's end, body
    ("OPTIONS", "/_ping", "200 OK", b""),
    ("OPTIONS", "/v1.45/containers/json", "200 OK", b""),
    ("POST", "/_ping", "404 Not Found", NOT_FOUND),
    ("get", "/_ping", "404 Not Found", NOT_FOUND),
    ("GET", "/v1.56/nope", "404 Not Found", NOT_FOUND),
    ("GET", "/nope", "404 Not Found", NOT_FOUND),
    ("GET", "/", "404 Not Found", NOT_FOUND),
    ("GET", "/v1.56", "404 Not Found", NOT_FOUND),
    ("GET", "/v1.56/", "404 Not Found", NOT_FOUND),
    ("GET", "/vfoo/_ping", "404 Not Found", NOT_FOUND),
    ("GET", "/v1.99/nope", "404 Not Found", NOT_FOUND),
    ("GET", "/v1.44/containers/json/", "404 Not Found", NOT_FOUND),
    ("GET", "/info/", "404 Not Found", NOT_FOUND),
    ("HEAD", "/info", "404 Not Found", b""),
    ("GET", "/v1.99/containers/json", "400 Bad Request", TOO_NEW),
    ("GET", "/v1.99/_ping", "400 Bad Request", TOO_NEW),
    ("OPTIONS", "/v1.99/x", "400 Bad Request", TOO_NEW),
    ("GET", "/v2/_ping", "400 Bad Request", TOO_NEW.replace(b"1.99", b"2")),
    (
        "GET",
        "/v1.2.3/_ping",
        "400 Bad Request",
        b"client version 1.2.3 is too old. Minimum supported API version is 1.24, please upgrade your "
        b"client to a newer version\n",
    ),
    ("GET", "/v1.44//containers/json", "301 Moved Permanently", b""),
    ("GET", "/containers/nope/json", "404 Not Found", b'{"message":"No such container: nope"}\n'),
    ("DELETE", "/containers/json", "204 No Content", b""),
    ("DELETE", "/containers/same", "304 Not Modified", b""),
    ("DELETE", "/containers/nothing", "200 OK", b""),
    (
        "DELETE",
        "/containers/full",
        "500 Internal Server Error",
        b'{"message":"/data/x: no space left on device"}\n',
    ),
    ("DELETE", "/containers/bug", "500 Internal Server Error", b'{"message":"\'oops\'"}\n'),
    ("GET", "/images/a/b/c/json", "200 OK", b'{"name":"a/b/c","text":"a<b>&c\\u2028"}\n'),
    ("GET", "/v1.24/containers/a%2Fb/json", "200 OK", b'{"Id":"a/b","version":"1.24"}\n'),
    ("GET", "/containers/x/export", "200 OK", b"tar"),
    ("GET", "/swarm", "503 Service Unavailable", NO_MANAGER),
    ("GET", "/nodes", "503 Service Unavailable", NO_MANAGER),
    ("GET", "/services/x", "503 Service Unavailable", NO_MANAGER),
    ("POST", "/secrets/create", "503 Service Unavailable", NO_MANAGER),
    (
        "POST",
        "/swarm/leave",
        "503 Service Unavailable",
        b'{"message":"This node is not part of a swarm"}\n',
    ),
    ("GET", "/_ping?a=%zz", "200 OK", b"OK"),
    ("GET", "/containers/%zz/json", "400 Bad Request", b"400 Bad Request"),
    ("GET", "/containers/a b/json", "400 Bad Request", b"400 Bad Request"),
    (
        "POST",
        "/containers/create?name=%zz",
        "400 Bad Request",
        b'{"message":"invalid URL escape \\"%zz\\""}\n',
    ),
]


@pytest.mark.parametrize(("method", "target", "status", "body"), ROWS)
def test_row(running: Running, method: str, target: str, status: str, body: bytes) -> None:
    first, headers, got = running.request(method, target)
    assert (first, got) == (f"HTTP/1.1 {status}", body)
    assert headers["Connection"] == "close"
    assert "alt-svc" not in {name.lower() for name in headers}


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("/v1.44//containers/json", "/v1.44/containers/json"),
        ("/v1.44/containers/../info?a=%20b", "/v1.44/info?a=%20b"),
        ("/images/%2Fx/json", "/images/x/json"),
        ("/images/./a%20b/json", "/images/a%20b/json"),
        ("//version", "/version"),
    ],
)
def test_uncleaned_path_is_redirected(running: Running, target: str, where: str) -> None:
    first, headers, body = running.request("GET", target)
    assert (first, body) == ("HTTP/1.1 301 Moved Permanently", b"")
    del headers["Date"]
    assert headers == {"Location": where, "Content-Length": "0", "Connection": "close"}


def test_ping_headers_in_their_order(running: Running) -> None:
    _, headers, body = running.request("GET", "/v1.40/_ping")
    date = headers["Date"]
    assert list(headers.items()) == [
        ("Api-Version", "1.56"),
        ("Builder-Version", "2"),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
        ("Docker-Experimental", "false"),
        ("Ostype", "linux"),
        ("Pragma", "no-cache"),
        ("Server", "Docker/99.0 (linux)"),
        ("Swarm", "inactive"),
        ("Date", date),
        ("Content-Length", "2"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Connection", "close"),
    ]
    assert date.endswith(" GMT")
    assert body == b"OK"
    _, head, nothing = running.request("HEAD", "/_ping")
    assert list(head)[:5] == [
        "Api-Version",
        "Builder-Version",
        "Cache-Control",
        "Content-Length",
        "Content-Type",
    ]
    assert head["Content-Length"] == "0"
    assert set(head) == set(headers)
    assert nothing == b""


def test_json_answers_have_the_engines_headers(running: Running) -> None:
    _, headers, _ = running.request("GET", "/version")
    assert list(headers) == [
        "Api-Version",
        "Content-Type",
        "Docker-Experimental",
        "Ostype",
        "Server",
        "Date",
        "Content-Length",
        "Connection",
    ]
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(("target", "absent"), [("/nope", "Server"), ("/v1.99/_ping", "Docker-Experimental")])
def test_some_errors_come_before_the_engines_headers(running: Running, target: str, absent: str) -> None:
    assert absent not in running.request("GET", target)[1]


def test_large_answers_come_in_one_chunk(running: Running) -> None:
    small = running.request("GET", "/version", headers=(f"X-Size: {2048 - 12}",))
    assert small[1]["Content-Length"] == "2048"
    _, headers, body = running.request("GET", "/version", headers=(f"X-Size: {2049 - 12}",))
    assert "Content-Length" not in headers
    assert headers["Transfer-Encoding"] == "chunked"
    assert body.startswith(b"801\r\n{")
    assert body.endswith(b"}\n\r\n0\r\n\r\n")


def test_head_answers_carry_no_body(running: Running) -> None:
    first, headers, body = running.request("HEAD", "/containers/x/archive?path=/")
    assert (first, body) == ("HTTP/1.1 200 OK", b"")
    assert headers["X-Docker-Container-Path-Stat"] == "e30="


def test_no_body_headers_where_there_is_no_body(running: Running) -> None:
    for name in ("same", "other"):
        headers = running.request("DELETE", f"/containers/{name}")[1]
        assert not {"Content-Length", "Content-Type", "Transfer-Encoding"} & set(headers)


def test_operations_to_come_are_named(running: Running) -> None:
    first, _, body = running.request("GET", "/containers/x/top")
    assert first == "HTTP/1.1 501 Not Implemented"
    assert body == b'{"message":"ContainerTop (GET /containers/{id}/top) is not built yet"}\n'
    assert running.request("POST", "/swarm/init")[0] == "HTTP/1.1 501 Not Implemented"


def test_operations_younger_than_the_client(running: Running) -> None:
    first, _, body = running.request("POST", "/v1.24/containers/prune")
    assert first == "HTTP/1.1 400 Bad Request"
    assert body == b'{"message":"POST /containers/prune requires minimum API version 1.25"}\n'


def test_the_description_is_served(running: Running) -> None:
    _, headers, body = running.request("GET", "/openapi.json")
    assert headers["Content-Type"] == "application/json"
    assert b'"openapi"' in body
    assert b"ContainerCreate" in body


def test_http_1_0(running: Running) -> None:
    answer = running.exchange(b"GET /_ping HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"Connection" not in answer
    first, headers, body = parse(running.exchange(b"GET /version HTTP/1.0\r\nX-Size: 5000\r\n\r\n"))
    assert first == "HTTP/1.0 200 OK"
    assert not {"Transfer-Encoding", "Content-Length"} & set(headers)
    assert len(body) == 5012


BAD_HEADS = [
    (b"GET /raw HTTP/1.1\r\n\r\n", "400 Bad Request: missing required Host header"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400 Bad Request: too many Host headers"),
    (b"nonsense\r\n\r\n", "400 Bad Request"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", "400 Bad Request"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: 1\r\n\r\n", "400 Bad Request"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400 Bad Request"),
    (b"GET / HTTP/3.1\r\nHost: a\r\n\r\n", "505 HTTP Version Not Supported: unsupported protocol version"),
    (
        b"GET /_ping HTTP/1.1\r\nHost: a\r\nX: " + b"a" * (2 << 20) + b"\r\n\r\n",
        "431 Request Header Fields Too Large",
    ),
]


@pytest.mark.parametrize(("data", "status"), BAD_HEADS, ids=lambda value: str(value)[:30])
def test_what_is_no_request(running: Running, data: bytes, status: str) -> None:
    first, headers, body = parse(running.exchange(data))
    assert first == f"HTTP/1.1 {status}"
    assert headers == {"Content-Type": "text/plain; charset=utf-8", "Connection": "close"}
    assert body == status.encode()


def test_unknown_transfer_encodings(running: Running) -> None:
    answer = running.exchange(b"GET /_ping HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 501 Not Implemented\r\n")
    assert answer.endswith(b"\r\n\r\nUnsupported transfer encoding")


def test_large_heads_are_taken(running: Running) -> None:
    assert running.request("GET", "/_ping", headers=("X-A: " + "a" * 900_000,))[2] == b"OK"


def test_lines_may_end_in_lf_alone(running: Running) -> None:
    assert running.exchange(b"GET /_ping HTTP/1.1\nHost: a\nConnection: close\n\n").endswith(b"OK")


def test_pipelined_requests_are_answered_in_order(running: Running) -> None:
    with running.connect() as sock:
        many = b"".join(b"GET /images/%d/json HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(20))
        sock.sendall(many)
        for number in range(20):
            receive_until(sock, b'{"name":"%d",' % number)


BODIES = [
    (b'{"Image":"x","image":"y"}', JSON, "201 Created"),
    (b'{"Image":"x"}', ("Content-Type: application/json; charset=utf-8",), "201 Created"),
    (b"{bad", JSON, "400 Bad Request"),
    (b"{}", (), "400 Bad Request"),
    (b"{}", ("Content-Type: text/plain",), "400 Bad Request"),
    (b"", JSON, "400 Bad Request"),
    (b'{"Image":5}', JSON, "400 Bad Request"),
]


@pytest.mark.parametrize(("body", "headers", "status"), BODIES)
def test_json_bodies(running: Running, body: bytes, headers: tuple[str, ...], status: str) -> None:
    first, _, answer = running.request("POST", "/containers/create?name=a%20b", body, headers)
    assert first == f"HTTP/1.1 {status}", answer
    if status == "201 Created":
        assert b'"query":"a b"' in answer
        assert b'"engine":"the engine"' in answer
    else:
        assert answer.startswith(b'{"message":"')


def test_json_body_in_chunks(running: Running) -> None:
    answer = running.exchange(
        b"POST /containers/create HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
        b'Content-Type: application/json\r\n\r\n3\r\n{"I\r\nb;x=y\r\nmage":"abc"\r\n1\r\n}\r\n0\r\n\r\n'
    )
    assert b'"body":{"Image":"abc"}' in answer


def test_a_trailer_is_read_and_the_connection_goes_on(running: Running) -> None:
    first = b"POST /containers/create HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n%b\r\n\r\n"
    answer = running.exchange(
        first % b"Content-Type: application/json"
        + b'd\r\n{"Image":"x"}\r\n0\r\n'
        + b"X-Sum: 1\r\n\r\nGET /_ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 201 Created")
    assert answer.endswith(b"OK")


@pytest.mark.parametrize("body", [b"zz\r\n", b"-1\r\n", b"\r\n", b"2\r\n{}oops\r\n", b"1" * 5000])
def test_bad_chunks_end_the_connection(running: Running, body: bytes) -> None:
    answer = running.exchange(
        b"POST /containers/create HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    )
    assert b"Connection: close" in answer
    assert answer.endswith(b'{"message":"malformed chunked encoding"}\n')


def test_a_client_that_only_half_closes_gets_its_answer(running: Running) -> None:
    answer = running.exchange(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n", half_close=True)
    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_tcp_serves_the_same(running: Running) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    for _ in range(3):  # kept alive
        connection.request("GET", "/_ping")
        assert connection.getresponse().read() == b"OK"
    connection.close()
