"""Archives put into containers: what is replaced, whose files they become, how bodies may come."""

import tarfile

import pytest

from conformance import tars
from conformance.engine import Engine
from conformance.tars import archive, get, member, pack, put, unpack
from conformance.test_events import now, past
from conformance.wire import read_head

HEAD, GET, PUT = "ContainerArchiveInfo", "ContainerArchive", "PutContainerArchive"


@pytest.mark.operation(PUT)
@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_tar_goes_in(engine: Engine, mode: str) -> None:
    container = engine.create("true")
    put(engine, container, "/", pack(member("x", b"content"), mode=mode))
    assert tars.content(get(engine, container, "/x"), "x") == b"content"
    answer = archive(engine, "PUT", container, "/", b"garbage" * 200)
    assert answer.status == 500 and answer.message.endswith("archive/tar: invalid tar header")
    put(engine, container, "/", b"")


@pytest.mark.operation(PUT)
def test_the_program_sees_it_and_its_volume_too(engine: Engine) -> None:
    volume = engine.name("seen")
    container = engine.sleeper(host={"Binds": [f"{volume}:/vol"]})
    put(engine, container, "/vol", pack(member("x", b"into the volume")))
    put(engine, container, "/root", pack(member("y", b"into the root")))
    assert engine.exec(container, "cat", "/vol/x", "/root/y").out == "into the volumeinto the root"
    engine.exec(container, "sh", "-c", "echo more >/vol/z; echo new >/root/z")
    assert tars.content(get(engine, container, "/vol/z"), "z") == b"more\n"
    assert tars.content(get(engine, container, "/root/z"), "z") == b"new\n"
    other = engine.create("true", host={"Binds": [f"{volume}:/elsewhere"]})
    assert tars.content(get(engine, other, "/elsewhere/x"), "x") == b"into the volume"


@pytest.mark.operation(PUT)
def test_what_is_there_is_replaced_unless_that_is_forbidden(engine: Engine) -> None:
    container = engine.create("true")
    put(engine, container, "/tmp", pack(member("folder/x", b"x"), member("file", b"y")))
    file_on_folder = pack(member("folder", b"now a file"))
    folder_on_file = pack(member("file", kind=tarfile.DIRTYPE))
    for body, text in (
        (file_on_folder, "cannot overwrite directory"),
        (folder_on_file, "cannot overwrite non-directory"),
    ):
        answer = archive(engine, "PUT", container, "/tmp", body, noOverwriteDirNonDir=True)
        assert answer.status == 500 and text in answer.message
    put(
        engine,
        container,
        "/tmp",
        pack(member("folder/x", b"z"), member("file", b"w")),
        noOverwriteDirNonDir=1,
    )
    assert tars.content(get(engine, container, "/tmp/folder/x"), "x") == b"z"
    put(engine, container, "/tmp", file_on_folder)
    put(engine, container, "/tmp", folder_on_file)
    found = unpack(get(engine, container, "/tmp"))
    assert found["tmp/folder"].isreg() and found["tmp/file"].isdir()


@pytest.mark.operation(PUT)
def test_names_that_lead_out_of_the_folder(engine: Engine) -> None:
    container = engine.create("true")
    for entry in (
        member("../../escaped", b"x"),
        member("ok/../../escaped", b"x"),
        member("hard", kind=tarfile.LNKTYPE, link="../etc/passwd"),
    ):
        answer = archive(engine, "PUT", container, "/tmp", pack(entry))
        assert answer.status == 500, answer
    assert archive(engine, "HEAD", container, "/escaped").status == 404
    assert list(unpack(get(engine, container, "/tmp"))) == ["tmp"]


@pytest.mark.operation(PUT)
def test_a_link_to_a_folder_is_a_place_to_unpack_to(engine: Engine) -> None:
    container = engine.create("true")
    put(engine, container, "/", pack(member("link", kind=tarfile.SYMTYPE, link="../../tmp")))
    put(engine, container, "/link", pack(member("x", b"there")))
    assert tars.content(get(engine, container, "/tmp/x"), "x") == b"there"


@pytest.mark.operation(PUT)
def test_a_read_only_root(engine: Engine) -> None:
    volume = engine.name("rw")
    container = engine.sleeper(host={"ReadonlyRootfs": True, "Binds": [f"{volume}:/vol"]})
    answer = archive(engine, "PUT", container, "/tmp", pack(member("x", b"x")))
    assert answer.message == "container rootfs is marked read-only" and answer.status in (400, 500)
    put(engine, container, "/vol", pack(member("x", b"x")))
    assert engine.exec(container, "cat", "/vol/x").out == "x"


@pytest.mark.operation(PUT)
@pytest.mark.since("1.48")  # release 26 looks for getent in the container
@pytest.mark.parametrize(
    ("user", "owner"), [("12:34", (12, 34)), ("12", (12, 0)), ("root", (0, 0)), ("", (7, 7))]
)
def test_files_belong_to_the_containers_user(engine: Engine, user: str, owner: tuple[int, int]) -> None:
    container = engine.create("true", User=user)
    put(engine, container, "/tmp", pack(member("x", b"x")), copyUIDGID=True)
    found = unpack(get(engine, container, "/tmp/x"))["x"]
    assert (found.uid, found.gid) == owner


@pytest.mark.operation(PUT)
@pytest.mark.since("1.48")
def test_an_unknown_user_cannot_own_files(engine: Engine) -> None:
    container = engine.create("true", User="nobody-knows")
    answer = archive(engine, "PUT", container, "/tmp", pack(member("x", b"x")), copyUIDGID=True)
    assert answer.status in (400, 500) and "nobody-knows" in answer.message


@pytest.mark.operation(HEAD, GET, PUT)
def test_events(engine: Engine) -> None:
    container = engine.create("true")
    since = now(engine)
    archive(engine, "HEAD", container, "/tmp")
    get(engine, container, "/tmp")
    archive(engine, "GET", container, "/nope")
    put(engine, container, "/tmp", pack())
    archive(engine, "PUT", container, "/nope", pack())
    actions = [event["Action"] for event in past(engine, since, container=[container])]
    assert actions == ["archive-path", "extract-to-dir"]


@pytest.mark.operation(GET, PUT)
def test_sixteen_megabytes_there_and_back(engine: Engine) -> None:
    container = engine.sleeper()
    data = bytes(range(256)) * (1 << 16)
    put(engine, container, "/tmp", pack(member("big", data)))
    assert tars.content(get(engine, container, "/tmp/big"), "big") == data


def request(container: str, body: bytes, *headers: str) -> bytes:
    """A PUT to /tmp, as bytes."""
    lines = [f"PUT /containers/{container}/archive?path=/tmp HTTP/1.1", "Host: d", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.operation(PUT)
@pytest.mark.parametrize("chunked", [True, False])
def test_a_connection_goes_on_after_an_archive(engine: Engine, chunked: bool) -> None:
    """The next request may come right behind the body."""
    container = engine.create("true")
    data = pack(member("x", b"y" * 300_000))
    if chunked:
        parts = [data[at : at + 50_000] for at in range(0, len(data), 50_000)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        first = request(container, body, "Transfer-Encoding: chunked")
    else:
        first = request(container, data, f"Content-Length: {len(data)}")
    with engine.wire.connect() as sock:
        sock.sendall(first + b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        answers = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 200 OK") == 2 and answers.endswith(b"OK")
    assert len(tars.content(get(engine, container, "/tmp/x"), "x")) == 300_000


@pytest.mark.operation(PUT)
def test_a_client_that_waits_to_be_asked_for_the_body(engine: Engine) -> None:
    container = engine.create("true")
    data = pack(member("x", b"y"))
    with engine.wire.connect() as sock:
        sock.sendall(request(container, b"", f"Content-Length: {len(data)}", "Expect: 100-continue"))
        status, _, rest = read_head(sock)
        assert (status, rest) == (100, b"")
        sock.sendall(data)
        assert read_head(sock)[0] == 200
    assert tars.content(get(engine, container, "/tmp/x"), "x") == b"y"


@pytest.mark.operation(PUT)
def test_a_body_that_is_cut_or_broken(engine: Engine) -> None:
    container = engine.create("true")
    data = pack(member("x", b"y" * 100_000))
    with engine.wire.connect() as sock:
        sock.sendall(request(container, data[:50_000], f"Content-Length: {len(data)}"))
    with engine.wire.connect() as sock:
        sock.sendall(request(container, b"nonsense\r\n", "Transfer-Encoding: chunked"))
        status, _, _ = read_head(sock)
        assert status in (400, 500)
    put(engine, container, "/tmp", data)
    assert len(tars.content(get(engine, container, "/tmp/x"), "x")) == 100_000
