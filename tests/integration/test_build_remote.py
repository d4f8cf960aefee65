"""Contexts and ADD from elsewhere: URLs and git repositories. What a server says may be hostile."""

import gzip
import hashlib
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.builder.context import Context
from compatd.engine.builder.errors import BuildError
from compatd.engine.errors import EngineError
from conformance.images import Tar
from tests.integration.copykit import Kit, close, read

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    kit = Kit(tmp_path_factory.mktemp("kit"))
    yield kit
    kit.close()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server of a folder: (URL, folder)."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def do_GET(self) -> None:
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/file")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_remote_contexts(kit: Kit, web: tuple[str, Path]) -> None:
    url, folder = web
    (folder / "context.tar.gz").write_bytes(gzip.compress(Tar().add("Dockerfile", "FROM x").bytes()))
    (folder / "Dockerfile").write_text("FROM alone\n")
    for classic in (False, True):
        seen: list[tuple[str, int, int]] = []

        async def progress(text: str, current: int, total: int, seen: Any = seen) -> None:
            seen.append((text, current, total))

        load = kit.builder.contexts.from_remote
        context = kit.run(load(f"{url}/context.tar.gz", classic=classic, progress=progress))
        assert kit.run(context.dockerfile()) == b"FROM x"
        size = (folder / "context.tar.gz").stat().st_size
        assert seen[-1] == ("Downloading", size, size)
        close(kit, context)
        context = kit.run(load(f"{url}/Dockerfile", classic=classic))
        assert kit.run(context.dockerfile()) == b"FROM alone\n"
        close(kit, context)


def test_remote_contexts_that_fail(kit: Kit, web: tuple[str, Path]) -> None:
    url, folder = web
    (folder / "picture.png").write_bytes(b"\x89PNG")
    for path, classic, text in (
        ("/nope", False, "invalid response status 404"),
        ("/nope", True, f"error downloading remote context {url}/nope: failed to GET {url}/nope with status "
         "404 File not found: "),
        ("/picture.png", True, f"error detecting content type for remote {url}/picture.png: unsupported "
         'Content-Type "image/png"'),
    ):  # fmt: skip
        with pytest.raises(EngineError) as raised:
            kit.run(kit.builder.contexts.from_remote(url + path, classic=classic))
        assert raised.value.message.startswith(text)
    with pytest.raises(EngineError, match=r'^Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: '):
        kit.run(kit.builder.contexts.from_remote("http://127.0.0.1:1/x"))
    with pytest.raises(EngineError, match=r"could not be recognized as URL"):
        kit.run(kit.builder.contexts.from_remote("file:///etc/passwd", classic=True))


def test_add_of_urls(kit: Kit, web: tuple[str, Path]) -> None:
    url, folder = web
    (folder / "file").write_text("content")
    os.utime(folder / "file", (1_400_000_000, 1_400_000_000))
    digest = "sha256:" + hashlib.sha256(b"content").hexdigest()
    for classic in (False, True):
        done = kit.copy(f"ADD {url}/file /d/", {}, classic=classic)
        assert done.tree["d/file"] == "f 600 0:0 content 1400000000"
        assert (
            kit.copy(f"ADD {url}/moved /d/", {}, classic=classic)
            .tree["d/moved"]
            .startswith("f 600 0:0 content")
        )
    assert (
        kit.copy(f"ADD --chown=1:2 --chmod=644 {url}/file /f", {}).tree["f"].startswith("f 644 1:2 content")
    )
    assert kit.copy(f"ADD --checksum={digest} {url}/file /f", {}).tree["f"].startswith("f 600")
    wrong = "sha256:" + "0" * 64
    with pytest.raises(BuildError) as raised:
        kit.copy(f"ADD --checksum={wrong} {url}/file /f", {})
    assert raised.value.message == f"digest mismatch {digest}: {wrong}"
    (folder / "t.tar").write_bytes(Tar().add("in", "x").bytes())
    assert kit.copy(f"ADD {url}/t.tar /d/", {}).tree.keys() == {"d", "d/t.tar"}
    assert kit.copy(f"ADD --unpack {url}/t.tar /d/", {}).tree.keys() == {"d", "d/in"}
    kit.storage.settle()
    assert not [path for path in kit.storage.tmp.iterdir() if path.name.startswith("context-")]


def git(folder: Path, *command: str) -> str:
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    environment = {**os.environ, **identity, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", *command],
        cwd=folder, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture
def repository(web: tuple[str, Path], tmp_path: Path) -> tuple[str, Path]:
    """A repository on the server: (URL, folder of its work tree)."""
    url, folder = web
    tree = tmp_path / "tree"
    tree.mkdir()
    git(tree, "init", "-q")
    (tree / "Dockerfile").write_text("FROM one\n")
    (tree / "sub").mkdir()
    (tree / "sub/f").write_text("in sub")
    (tree / "link").symlink_to("/etc")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "one")
    git(tree, "tag", "-am", "t", "v1")
    (tree / "Dockerfile").write_text("FROM two\n")
    git(tree, "commit", "-qam", "two")
    git(tree, "branch", "master")
    publish(tree, folder)
    return f"{url}/repo.git", tree


def publish(tree: Path, folder: Path, name: str = "repo.git") -> None:
    git(folder, "clone", "-q", "--bare", str(tree), name)
    git(folder / name, "update-server-info")


def cloned(kit: Kit, url: str, **options: Any) -> Context:
    context: Context = kit.run(kit.builder.contexts.from_remote(url, **options))
    return context


def test_git_repositories(kit: Kit, repository: tuple[str, Path]) -> None:
    url, tree = repository
    commit, first = git(tree, "rev-parse", "HEAD"), git(tree, "rev-parse", "HEAD~1")
    for suffix, classic, text, made in (
        ("", False, "FROM two\n", commit), ("", True, "FROM two\n", commit),
        ("#v1", False, "FROM one\n", first), ("#v1", True, "FROM one\n", first),
        (f"#{first}", False, "FROM one\n", first), ("?tag=v1", False, "FROM one\n", first),
        (f"?ref=main&commit={commit[:12]}", False, "FROM two\n", commit),
    ):  # fmt: skip
        context = cloned(kit, url + suffix, classic=classic)
        found = read(context.data)
        assert (context.data / "Dockerfile").read_text() == text and context.commit == made, suffix
        assert sorted(found) == ["Dockerfile", "link", "sub", "sub/f"]
        assert found["Dockerfile"].startswith("f 644 0:0") and found["sub"].startswith("d 755 0:0")
        close(kit, context)
    context = cloned(kit, url + "#main:sub")
    assert sorted(read(context.data)) == ["f"]
    close(kit, context)
    context = cloned(kit, url, keep_git_dir=True)
    assert git(context.data, "-c", "safe.directory=*", "rev-parse", "HEAD") == commit
    close(kit, context)


def test_git_repositories_that_fail(kit: Kit, repository: tuple[str, Path]) -> None:
    url, _ = repository
    for suffix, text in (
        ("#nope", "repository does not contain ref nope, output: "),
        ("#main:nope", 'invalid subdir nope: failed to lstat "nope": no such file or directory'),
        ("#main:link", 'invalid subdir link: git subpath "link" contains non-directory "link"'),
        ("?ref=main&commit=abcd", "expected checksum to match abcd, got "),
    ):
        with pytest.raises(EngineError) as raised:
            cloned(kit, url + suffix)
        assert raised.value.message.startswith(text), raised.value.message
    for bad, text in (
        (url.replace("repo", "none"), "git stderr:\n"),
        ("http://127.0.0.1:1/r.git", "git stderr:\n"),
    ):
        with pytest.raises(EngineError, match=text):
            cloned(kit, bad)
    kit.storage.settle()
    assert not [path for path in kit.storage.tmp.iterdir() if path.name.startswith("context-")]


def test_hostile_repositories_run_nothing(
    kit: Kit, repository: tuple[str, Path], web: tuple[str, Path], tmp_path: Path
) -> None:
    """Submodules of the host's files, hooks, filters: nothing of it is done."""
    url, tree = repository
    secret = tmp_path / "secret"
    secret.mkdir()
    git(secret, "init", "-q")
    (secret / "s").write_text("the host's")
    git(secret, "add", "s")
    git(secret, "commit", "-qm", "s")
    tmp_path.chmod(0o755)  # it is not the folder's mode that keeps git out
    marker = tmp_path / "ran"
    (tree / ".gitattributes").write_text("* filter=evil\n")
    git(tree, "submodule", "add", "-q", str(secret), "module")
    (tree / ".gitmodules").write_text(
        f'[submodule "module"]\n\tpath = module\n\turl = {secret}\n\tupdate = !touch {marker}\n'
    )
    git(tree, "add", "--renormalize", ".gitattributes", ".gitmodules")
    git(tree, "commit", "-qm", "evil")
    publish(tree, web[1], "evil.git")
    with pytest.raises(EngineError, match="failed to update submodules for") as raised:
        cloned(kit, url.replace("repo", "evil"))
    assert "the host's" not in raised.value.message
    (tree / ".gitmodules").write_text(f'[submodule "module"]\n\tpath = module\n\turl = file://{secret}\n')
    git(tree, "commit", "-qam", "less")
    publish(tree, web[1], "less.git")
    with pytest.raises(EngineError, match="transport 'file' not allowed"):
        cloned(kit, url.replace("repo", "less"))
    close(kit, cloned(kit, url.replace("repo", "less") + "?submodules=false"))
    assert not marker.exists()
    for source in (f"file://{tree}/x.git", "ext::sh -c touch% /x.git", f"{tree}/.git"):
        with pytest.raises(EngineError):
            cloned(kit, source)


def test_add_of_git(kit: Kit, repository: tuple[str, Path]) -> None:
    url, _ = repository
    done = kit.copy(f"ADD {url}#v1 /src/", {})
    assert sorted(done.tree) == ["src", "src/Dockerfile", "src/link", "src/sub", "src/sub/f"]
    kept = kit.copy(f"ADD --keep-git-dir=true --chown=1:2 {url} /src", {})
    assert "src/.git" in kept.tree and kept.tree["src/Dockerfile"].startswith("f 644 1:2")
    with pytest.raises(BuildError, match="expected checksum to match abc, got"):
        kit.copy(f"ADD --checksum=abc {url} /src", {})
