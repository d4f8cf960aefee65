"""Files out of containers and into them: archive HEAD and GET; `docker cp`."""

import gzip
import tarfile
from pathlib import Path

import pytest

from conformance import tars
from conformance.cli import Cli
from conformance.engine import Engine
from conformance.tars import archive, get, member, pack, put, stat, unpack
from conformance.until import until

HEAD, GET, PUT = "ContainerArchiveInfo", "ContainerArchive", "PutContainerArchive"

TREE = """
mkdir -p /d/sub; echo hi >/d/f; ln /d/f /d/hard; ln -s f /d/rel; ln -s /d /dl; ln -s /nope/x /broken
ln -s ../../../etc/passwd /d/up; mkfifo /d/pipe; mknod /d/null c 1 3; chmod 4755 /d/f; chmod 1777 /d/sub
ln -s loop /loop; echo vol >/vol/in; echo tmp >/tmpf/x; touch /ready; exec sleep 1000
"""


@pytest.fixture(scope="module", params=["running", "stopped"])
def tree(request: pytest.FixtureRequest, engine: Engine) -> str:
    """A container with files of each kind, running or not."""
    volume = engine.name("tree")
    container = engine.run(
        "sh",
        "-c",
        TREE,
        host={"Binds": [f"{volume}:/vol", f"{volume}:/rov:ro"], "Tmpfs": {"/tmpf": ""}},
    )
    engine.keep.add(container)
    until(lambda: archive(engine, "HEAD", container, "/ready").status == 200)
    if request.param == "stopped":
        engine.wire.post(f"/containers/{container}/kill", status=204)
        engine.wait(container)
    return container


MISSING = ("Could not find the file /nope in container", "No such container:path:")  # by the CLI's version
DIR, LINK, SETUID = 1 << 31, 1 << 27, 1 << 23


@pytest.mark.operation(HEAD, GET)
@pytest.mark.parametrize(
    ("path", "name", "mode", "link"),
    [
        ("/d", "d", DIR | 0o755, ""),
        ("d", "d", DIR | 0o755, ""),
        ("/d/", "d", DIR | 0o755, ""),
        ("/d/.", ".", DIR | 0o755, ""),
        ("/d/sub", "sub", DIR | 1 << 20 | 0o777, ""),
        ("/d/../d/f", "f", SETUID | 0o755, ""),
        ("/dl", "dl", LINK | 0o777, "/d"),
        ("/dl/", "dl", DIR | 0o755, ""),
        ("/dl/f", "f", SETUID | 0o755, ""),
        ("/d/rel", "rel", LINK | 0o777, "/d/f"),
        ("/d/up", "up", LINK | 0o777, "/etc/passwd"),
        ("/broken", "broken", LINK | 0o777, "/nope/x"),
        ("/d/pipe", "pipe", 1 << 25 | 0o644, ""),
        ("/d/null", "null", 1 << 26 | 1 << 21 | 0o644, ""),
        ("/vol", "vol", DIR | 0o755, ""),
        ("/rov/in", "in", 0o644, ""),
        ("/", "/", DIR | 0o755, ""),
    ],
)
def test_what_a_path_is(engine: Engine, tree: str, path: str, name: str, mode: int, link: str) -> None:
    head = archive(engine, "HEAD", tree, path)
    found = stat(head)
    assert (found["name"], found["mode"], found["linkTarget"]) == (name, mode, link)
    assert found["mtime"].endswith("Z") and head.body == b""
    answer = archive(engine, "GET", tree, path)
    # The root's own time changes when an engine mounts it.
    again = {**stat(answer), "mtime": found["mtime"]} if path == "/" else stat(answer)
    assert again == found and answer.headers["content-type"] == "application/x-tar"
    first = next(iter(unpack(answer.body).values()))
    assert first.name == name.strip("/") and first.mtime > 0


@pytest.mark.operation(GET)
@pytest.mark.since("1.44")  # release 20.10 adds the type of the file
def test_modes_in_an_archive(engine: Engine, tree: str) -> None:
    found = unpack(archive(engine, "GET", tree, "/d").body)
    assert {found[name].mode for name in ("d/rel", "d/up")} == {0o777}
    assert (found["d"].mode, found["d/f"].mode, found["d/sub"].mode) == (0o755, 0o4755, 0o1777)


@pytest.mark.operation(HEAD, GET)
@pytest.mark.parametrize("path", ["/nope", "/d/nope/x", "/broken/", "/tmpf/x", "/proc/1/status", "/dev/null"])
def test_what_is_not_there(engine: Engine, tree: str, path: str) -> None:
    assert archive(engine, "HEAD", tree, path).status == 404
    answer = archive(engine, "GET", tree, path)
    assert answer.status == 404
    assert answer.message == f"Could not find the file {path} in container {tree}"


@pytest.mark.operation(HEAD, GET, PUT)
def test_paths_that_cannot_be_used(engine: Engine, tree: str) -> None:
    for path, text in (
        ("/d/f/", "not a directory"),
        ("/d/f/x", "not a directory"),
        ("/loop", "too many links"),
    ):
        assert archive(engine, "HEAD", tree, path).status == 500
        answer = archive(engine, "GET", tree, path)
        assert answer.status == 500 and text in answer.message
    for path, status, text in (
        ("/nope", 404, f"Could not find the file /nope in container {tree}"),
        ("/broken", 404, f"Could not find the file /broken in container {tree}"),
        ("/d/f", 400, "extraction point is not a directory"),
        ("/rov", 400, "mounted volume is marked read-only"),
        ("/loop", 500, "too many links"),
    ):
        answer = archive(engine, "PUT", tree, path, b"")
        assert text in answer.message
        assert answer.status == (500 if status == 400 and not engine.at_least("1.48") else status)
    for method in ("GET", "PUT"):
        answer = archive(engine, method, tree, "", b"" if method == "PUT" else None)
        assert answer.status == 400 and answer.message.endswith("cannot be empty")
        answer = archive(engine, method, "no-such", "/", b"" if method == "PUT" else None)
        assert (answer.status, answer.message) == (404, "No such container: no-such")


@pytest.mark.operation(GET)
def test_a_folder_as_a_tar(engine: Engine, tree: str) -> None:
    data = get(engine, tree, "/d")
    found = unpack(data)
    assert list(found) == ["d", "d/f", "d/hard", "d/null", "d/pipe", "d/rel", "d/sub", "d/up"]
    assert tars.content(data, "d/f") == b"hi\n" and found["d/f"].mode & 0o7777 == 0o4755
    assert found["d/hard"].islnk() and found["d/hard"].linkname == "d/f" and found["d/hard"].size == 0
    assert found["d/rel"].issym() and found["d/rel"].linkname == "f"
    assert found["d/up"].linkname == "../../../etc/passwd"
    assert found["d/null"].ischr() and (found["d/null"].devmajor, found["d/null"].devminor) == (1, 3)
    assert found["d/pipe"].isfifo() and found["d/sub"].isdir()
    assert found["d/sub"].mode & 0o7777 == 0o1777 and found["d"].isdir()
    assert len(data) % 512 == 0 and data.endswith(bytes(1024))
    assert list(unpack(get(engine, tree, "/d/.")))[:2] == [".", "./f"]
    assert "vol/in" in unpack(get(engine, tree, "/vol"))
    assert list(unpack(get(engine, tree, "/dl"))) == ["dl"]
    assert "dl/f" in unpack(get(engine, tree, "/dl/"))


@pytest.mark.operation(GET)
def test_a_tar_comes_compressed_to_who_asks_for_it(engine: Engine, tree: str) -> None:
    for accepted, encoding in (("gzip", "gzip"), ("deflate;q=0.1, gzip", "gzip"), ("identity", None)):
        with engine.wire.open(
            "GET", f"/containers/{tree}/archive", headers={"Accept-Encoding": accepted}, path="/d/f"
        ) as answer:
            assert answer.headers.get("content-encoding") == encoding
            body = answer.read()
        assert tars.content(gzip.decompress(body) if encoding else body, "f") == b"hi\n"


@pytest.mark.operation(PUT)
@pytest.mark.parametrize("running", [True, False])
def test_a_tar_goes_in_as_it_is(engine: Engine, running: bool) -> None:
    container = engine.sleeper() if running else engine.create("true")
    long = "n" * 90 + "/" + "m" * 120 + "/é"
    put(
        engine,
        container,
        "/tmp",
        pack(
            member("a", b"one", mode=0o604),
            member("setuid", b"s", mode=0o4711),
            member("hard", kind=tarfile.LNKTYPE, link="a", mode=0o604),
            member("soft", kind=tarfile.SYMTYPE, link="/etc/passwd"),
            member("deep/er/b", b"two"),
            member("folder", kind=tarfile.DIRTYPE, mode=0o2750),
            member("/absolute", b"three"),
            member("zero", kind=tarfile.CHRTYPE, devmajor=1, devminor=5),
            member(long, b"four"),
        ),
    )
    data = get(engine, container, "/tmp/.")
    found = unpack(data)
    a = found["./a"] if found["./a"].isreg() else found["./hard"]
    assert (a.uid, a.gid, a.mode & 0o7777, a.mtime, a.size) == (7, 7, 0o604, tars.MTIME, 3)
    assert {found["./a"].type, found["./hard"].type} == {tarfile.REGTYPE, tarfile.LNKTYPE}
    assert found["./setuid"].mode & 0o7777 == 0o4711
    assert found["./soft"].linkname == "/etc/passwd" and found["./soft"].uid == 7
    assert (found["./deep"].uid, found["./deep"].mode & 0o777) == (0, 0o755)
    assert tars.content(data, "./absolute") == b"three" and tars.content(data, "./" + long) == b"four"
    folder = found["./folder"]
    assert (folder.mode & 0o7777, folder.uid, folder.mtime) == (0o2750, 7, tars.MTIME)
    assert (found["./zero"].devmajor, found["./zero"].devminor) == (1, 5)


@pytest.mark.operation(HEAD, GET, PUT)
def test_docker_cp(cli: Cli, engine: Engine, tmp_path: Path) -> None:
    container = engine.sleeper(name=engine.name())
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("one")
    (source / "link").symlink_to("a")
    cli("cp", f"{source}", f"{container}:/tmp/new")
    cli("cp", f"{source}/.", f"{container}:/tmp")
    assert engine.exec(container, "cat", "/tmp/new/link", "/tmp/a").out == "oneone"
    cli("cp", f"{source}/a", f"{container}:/tmp/renamed")
    cli("cp", f"{container}:/tmp/renamed", f"{tmp_path}/back")
    assert (tmp_path / "back").read_text() == "one"
    cli("cp", f"{container}:/tmp/new", f"{tmp_path}")
    assert (tmp_path / "new" / "link").is_symlink() and (tmp_path / "new" / "a").read_text() == "one"
    cli("cp", "-L", f"{container}:/tmp/new/link", f"{tmp_path}/followed")
    assert (tmp_path / "followed").read_text() == "one"
    out = cli("cp", f"{container}:/tmp/new", "-").raw_out
    assert tars.content(out, "new/a") == b"one"
    cli("cp", "-", f"{container}:/tmp", stdin=pack(member("piped", b"through")))
    assert engine.exec(container, "cat", "/tmp/piped").out == "through"


@pytest.mark.operation(HEAD, GET, PUT)
def test_what_docker_cp_says_when_it_cannot(cli: Cli, engine: Engine, tmp_path: Path) -> None:
    container = engine.create("true")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    put(engine, container, "/tmp", pack(member("file", b"x"), member("folder/x", b"x")))
    for arguments, texts in (
        ((f"{container}:/nope", f"{tmp_path}"), MISSING),
        ((f"{tmp_path}/file", f"{container}:/nope/x"), MISSING),
        ((f"{tmp_path}/file", f"{container}:/nope/"), ("no such directory",)),
        ((f"{tmp_path}/folder", f"{container}:/tmp/file"), ("cannot copy directory",)),
        ((f"{container}:/tmp/folder", f"{tmp_path}/file"), ("cannot copy directory",)),
        (
            (f"{tmp_path}/file", "no-such:/tmp"),
            ("No such container: no-such", "No such container:path: no-such"),
        ),
    ):
        result = cli("cp", *arguments, check=False)
        assert result.code == 1 and any(text in result.err for text in texts), (arguments, result)


@pytest.mark.operation(GET, PUT)
def test_a_volume_with_mount_options_of_a_stopped_container(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("in the device")
    volume = engine.name("bound")
    options = {"type": "none", "o": "bind", "device": str(tmp_path)}
    engine.wire.post("/volumes/create", {"Name": volume, "DriverOpts": options}, status=201)
    container = engine.create("true", host={"Binds": [f"{volume}:/vol"]})
    assert tars.content(get(engine, container, "/vol/x"), "x") == b"in the device"
    put(engine, container, "/vol", pack(member("y", b"back")))
    assert (tmp_path / "y").read_text() == "back"


@pytest.mark.operation(HEAD, GET, PUT)
def test_with_docker_py(engine: Engine) -> None:
    container = engine.docker.containers.get(engine.sleeper())
    assert container.put_archive("/tmp", pack(member("x", b"content")))
    chunks, found = container.get_archive("/tmp/x")
    assert (found["name"], found["size"]) == ("x", 7)
    assert tars.content(b"".join(chunks), "x") == b"content"
    assert {"Path": "/tmp/x", "Kind": 1} in container.diff()
    assert "tmp/x" in unpack(b"".join(container.export()))
    image = container.commit(f"{engine.prefix}/by-py", "1")
    assert image.tags == [f"{engine.prefix}/by-py:1"]
