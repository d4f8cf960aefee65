"""Build contexts: archives of all kinds, remote ones, .dockerignore, and bodies that are none."""

import bz2
import gzip
import http.server
import lzma
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance import netns
from conformance.builds import build, context
from conformance.engine import Engine
from conformance.images import Tar

BUILD = "ImageBuild"


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


def show(engine: Engine, image: str, *paths: str) -> str:
    return engine.ended("cat", *paths, Image=image).out


@pytest.mark.operation(BUILD)
@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=lambda p: p.__name__
)
def test_compressed(engine: Engine, pack: Any) -> None:
    text = f"FROM {engine.image}\nCOPY f /f\n"
    done = build(engine, None, body=pack(context(text, {"f": pack.__name__})))
    assert show(engine, done.image, "/f") == pack.__name__


@pytest.mark.operation(BUILD)
@pytest.mark.since("1.43")
def test_compressed_with_zstd(engine: Engine) -> None:
    done = build(engine, None, body=zstd(context(f"FROM {engine.image}\nCOPY f /f\n", {"f": "z"})))
    assert show(engine, done.image, "/f") == "z"


@pytest.mark.operation(BUILD)
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "Cannot locate specified Dockerfile: Dockerfile"),
        (b"hello", "unexpected EOF"),
        (b"FROM x\nRUN y\n", "unexpected EOF"),
        (b"hello" * 1000, "archive/tar: invalid tar header"),
        (gzip.compress(b"hello"), "unexpected EOF"),
        (context(None, {"other": "x"}), "Cannot locate specified Dockerfile: Dockerfile"),
        (context("FROM x\n", {"a": "x" * 100_000})[:50_000], "unexpected EOF"),
        (gzip.compress(context("FROM x\n", {"a": os.urandom(100_000)}))[:50_000], "unexpected EOF"),
    ],
    ids=["nothing", "short", "dockerfile", "long", "gzip", "none", "cut", "cut-gzip"],
)
def test_bodies_that_are_none(engine: Engine, body: bytes, text: str) -> None:
    failed = build(engine, None, body=body)
    assert (
        failed.status == 500
        and failed.message.removeprefix("Error processing tar file(exit status 1): ") == text
    )


@pytest.mark.operation(BUILD)
def test_other_content_types(engine: Engine) -> None:
    for kind in ("application/json", "text/plain", "application/tar"):
        done = build(engine, f"FROM {engine.image}\n", headers={"Content-Type": kind})
        assert not done.error


@pytest.mark.operation(BUILD)
def test_dockerfiles_elsewhere(engine: Engine) -> None:
    text = f"FROM {engine.image}\nCOPY f /f\n"
    tar = (
        Tar().add("sub").add("sub/other.Dockerfile", text).add("f", "1").link("link", "sub/other.Dockerfile")
    )
    body = tar.bytes()
    for name in ("sub/other.Dockerfile", "/sub/other.Dockerfile", "link", "sub/../sub/other.Dockerfile"):
        assert show(engine, build(engine, None, body=body, dockerfile=name).image, "/f") == "1"
    lower = build(engine, None, {"dockerfile": text, "f": "2"})
    assert show(engine, lower.image, "/f") == "2"


@pytest.mark.operation(BUILD)
def test_a_dockerfile_that_is_ignored(engine: Engine) -> None:
    """The client leaves files out; but the Dockerfile it has to send, and the engine leaves that out."""
    files = {".dockerignore": "Dockerfile\n.dockerignore\nx\n", "x": "1", "f": "2"}
    done = build(engine, f"FROM {engine.image}\nCOPY . /c/\n", files)
    assert engine.ended("ls", "-A", "/c", Image=done.image).out.split() == ["f", "x"]
    kept = build(engine, f"FROM {engine.image}\nCOPY . /c/\n", {"f": "2"})
    assert engine.ended("ls", "-A", "/c", Image=kept.image).out.split() == ["Dockerfile", "f"]


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, quietly."""

    def guess_type(self, path: Any) -> str:
        kinds = {".tar": "application/x-tar", ".gz": "application/gzip", ".html": "text/html"}
        return kinds.get(Path(path).suffix, "text/plain")

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads that."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An HTTP server where the engine is: its address, and the folder that it serves."""
    folder = tmp_path / "www"
    folder.mkdir()

    def serve() -> http.server.ThreadingHTTPServer:
        return http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0),
            lambda *args: Files(*args, directory=str(folder)),  # type: ignore[arg-type, unused-ignore]
        )

    made = netns.inside(serve)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}", folder
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


@pytest.mark.operation(BUILD)
def test_remote_archives_and_dockerfiles(engine: Engine, server: tuple[str, Path]) -> None:
    address, folder = server
    text = f"FROM {engine.image}\nCOPY f /f\n"
    (folder / "c.tar").write_bytes(context(text, {"f": "remote"}))
    (folder / "c.tar.gz").write_bytes(gzip.compress(context(text, {"f": "packed"})))
    (folder / "Other").write_text(f"FROM {engine.image}\nRUN echo alone >/f\n")
    assert show(engine, build(engine, None, body=b"", remote=f"{address}/c.tar").image, "/f") == "remote"
    assert show(engine, build(engine, None, body=b"", remote=f"{address}/c.tar.gz").image, "/f") == "packed"
    done = build(engine, None, body=b"", remote=f"{address}/Other")
    assert show(engine, done.image, "/f") == "alone\n"
    first = done.messages[0]
    assert (first["status"], first["id"]) == (f"{address}/Other", "Downloading context"), first
    (folder / "Copies").write_text(text)
    failed = build(engine, None, body=b"", remote=f"{address}/Copies")
    assert failed.error == "COPY failed: missing build context"


@pytest.mark.operation(BUILD)
def test_remotes_that_are_none(engine: Engine, server: tuple[str, Path]) -> None:
    address, folder = server
    (folder / "x.html").write_text("<html>")
    gone = build(engine, None, body=b"", remote=f"{address}/gone")
    text = f"error downloading remote context {address}/gone: failed to GET {address}/gone with status 404 "
    assert gone.status == 404 and gone.message.startswith(text + "File not found")
    page = build(engine, None, body=b"", remote=f"{address}/x.html")
    assert (page.status, page.message) == (
        500,
        f'error detecting content type for remote {address}/x.html: unsupported Content-Type "text/html"',
    )
    refused = build(engine, None, body=b"", remote="http://127.0.0.1:1/x")
    assert (refused.status, refused.message) == (
        500,
        "error downloading remote context http://127.0.0.1:1/x: "
        'Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: connection refused',
    )


@pytest.mark.operation(BUILD)
def test_remote_repositories(engine: Engine, server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = server
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (work / "Dockerfile").write_text(f"FROM {engine.image}\nCOPY f /f\n")
    (work / "f").write_text("top\n")
    (work / "sub" / "Dockerfile").write_text(f"FROM {engine.image}\nCOPY . /s/\n")
    (work / "sub" / "f").write_text("sub\n")

    def git(*args: str) -> None:
        command = ["git", "-C", str(work), "-c", "user.name=x", "-c", "user.email=x@x", *args]
        subprocess.run(command, check=True, capture_output=True)

    git("init", "-q", "-b", "master")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    git("tag", "v1")
    (work / "f").write_text("newer\n")
    git("commit", "-q", "-a", "-m", "two")
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(folder / "r.git")], check=True)
    subprocess.run(["git", "-C", str(folder / "r.git"), "update-server-info"], check=True)
    found = {}
    for fragment in ("", "#v1", "#master:sub"):
        done = build(engine, None, body=b"", remote=f"{address}/r.git{fragment}")
        assert not done.error, done
        found[fragment] = show(engine, done.image, "/s/f" if "sub" in fragment else "/f")
    assert found == {"": "newer\n", "#v1": "top\n", "#master:sub": "sub\n"}
    failed = build(engine, None, body=b"", remote=f"{address}/r.git#nope")
    assert failed.status == 500 and "nope" in failed.message
