"""The worker that brings a git repository's files: `runtime.storage.gitclone:run`.

What the repository and its server say is hostile, and git is a large program. So it runs in namespaces of its
own (processes, mounts: all is read-only but the context's folder), as nobody, without any configuration but
what is said here: no hooks, no file: or ext: transports (also not for submodules), no prompts, no credential
helpers. Source of the steps and texts: moby/buildkit source/git, moby daemon/builder/remotecontext/git.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess

from runtime import syscalls
from runtime.storage.checkout import give_to_root, set_times
from runtime.storage.tree import OPEN_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

NOBODY = 65534
_INSIDE = "/tmp"  # where the context's folder is in git's own mount namespace, for nobody to reach
_AGENT = "agent"
_MAX_OUTPUT = 1 << 20
_COMMIT = re.compile(r"[a-f0-9]{40}|[a-f0-9]{64}")
_BRANCH = re.compile(r"refs/heads/(\S+)")
_HEX = re.compile(r"[a-fA-F0-9]+")
_CONFIG = {
    "protocol.allow": "never", "protocol.http.allow": "always", "protocol.https.allow": "always",
    "protocol.ssh.allow": "always", "protocol.git.allow": "always", "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false", "credential.helper": "", "init.defaultBranch": "master", "advice.detachedHead":
    "false", "gc.auto": "0", "maintenance.auto": "false", "transfer.fsckObjects": "true", "fetch.fsckObjects":
    "true", "receive.fsckObjects": "true", "fetch.fsck.zeroPaddedFilemode": "ignore",
    "fetch.fsck.missingSpaceBeforeDate": "ignore",
}  # fmt: skip


class GitError(Exception):
    """What went wrong, for the client."""


class Failed(Exception):
    """A command failed: (its stderr, its output, how it ended)."""


def run(arguments: Json, fds: list[int]) -> Json:
    """Check out "remote" at "ref" into "folder"/data; git's progress goes to `fds[0]`.

    "subdir", "keep_git_dir", "submodules", "checksum", "mtime", "by_commit": as in a git URL's query;
    "header": an Authorization header for the remote; "ssh": whether there is an agent's socket, `agent`, in
    the folder; "classic": the classic builder's texts. Answer: {"commit"} or {"error": text}.
    """
    os.umask(0o022)
    folder = arguments["folder"]
    for name in ("data", "repository", "home"):
        os.makedirs(f"{folder}/{name}", 0o755, exist_ok=True)
        os.chown(f"{folder}/{name}", NOBODY, NOBODY)
    os.chmod(folder, 0o711)  # noqa: S103 - nobody must get to what is its own in there
    read, write = os.pipe()
    syscalls.unshare(syscalls.CLONE_NEWPID)
    child = os.fork()
    if not child:
        os.close(read)
        _inside(arguments, fds[0], write)
    os.close(write)
    with open(read, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    os.chmod(folder, 0o700)
    answer: Json = json.loads(text) if text else {"error": "git was killed"}
    if "error" not in answer:
        give_to_root(f"{folder}/data")
    return answer


def _inside(arguments: Json, progress: int, answer: int) -> None:
    """The first process of the namespace: all others end with it, and it with the worker."""
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        _shut_in(arguments["folder"])
        arguments |= {"folder": _INSIDE, "ssh": arguments["ssh"] and f"{_INSIDE}/{_AGENT}"}
        told = {"commit": Cloning(arguments, progress).clone()}
    except GitError as error:
        told = {"error": str(error)}
    except BaseException as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    os.write(answer, json.dumps(told).encode())
    os._exit(0)


def _shut_in(folder: str) -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    own = syscalls.open_tree(syscalls.AT_FDCWD, folder)
    root = os.open("/", syscalls.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    attributes = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID
    syscalls.mount_setattr(root, set=attributes, recursive=True)
    os.close(root)
    place = os.open(_INSIDE, syscalls.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.move_mount(own, place)
    syscalls.mount_setattr(own, set=syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV)
    os.close(place)
    os.close(own)
    try:
        syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    except OSError:
        pass  # git does without


class Cloning:
    """One repository's way here."""

    def __init__(self, told: Json, progress: int) -> None:
        self._told = told
        self._progress = progress
        self._folder: str = told["folder"]
        self._remote: str = told["remote"]
        self._ref: str = told["ref"]
        self._shown = redacted(self._remote)
        self._config = dict(_CONFIG)
        if told["header"]:
            self._config[f"http.{_scope(self._remote)}.extraheader"] = f"Authorization: {told['header']}"

    def _environment(self) -> dict[str, str]:
        ssh = "ssh -F /dev/null -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        found = {
            "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"), "HOME": f"{self._folder}/home",
            "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "http:https:ssh:git", "GIT_PROTOCOL_FROM_USER":
            "0", "GIT_SSH_COMMAND": ssh, "GIT_ASKPASS": "/bin/false", "SSH_ASKPASS": "/bin/false",
            "GIT_CONFIG_COUNT": str(len(self._config)),
        }  # fmt: skip
        for number, (key, value) in enumerate(self._config.items()):
            found[f"GIT_CONFIG_KEY_{number}"], found[f"GIT_CONFIG_VALUE_{number}"] = key, value
        for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
            for variable in (name, name.upper()):
                if variable in os.environ:
                    found[variable] = os.environ[variable]
        if self._told["ssh"]:
            found["SSH_AUTH_SOCK"] = self._told["ssh"]
        return found

    def _git(self, *command: str, repository: str = "repository", tree: str = "") -> str:
        """Run git; its output. Shallow requests that a server cannot answer are made whole. Raises Failed."""
        arguments = ["git", "--git-dir", f"{self._folder}/{repository}"]
        if tree:
            arguments += ["--work-tree", tree]
        while True:
            status, output, error = self._execute(
                [*arguments, *command], tree or f"{self._folder}/repository"
            )
            if not status:
                return output
            if ("--depth" in error or "shallow" in error) and "--depth=1" in command:
                command = tuple(part for part in command if part != "--depth=1")
                continue
            raise Failed(error, output, status)

    def _execute(self, command: list[str], folder: str) -> tuple[str, str, str]:
        try:
            process = subprocess.Popen(
                command, cwd=folder, env=self._environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, user=NOBODY, group=NOBODY, extra_groups=[],
                umask=0o022, close_fds=True, preexec_fn=_confined,  # noqa: PLW1509 - there is one thread
            )  # fmt: skip
        except FileNotFoundError:
            return 'exec: "git": executable file not found in $PATH', "", ""
        assert process.stdout and process.stderr
        output, error = self._outputs(process)
        code = process.wait()
        if not code:
            return "", output, error
        return (f"exit status {code}" if code > 0 else f"signal: {signal.Signals(-code).name}"), output, error

    def _outputs(self, process: subprocess.Popen[bytes]) -> tuple[str, str]:
        import select

        assert process.stdout and process.stderr
        kept = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        poll = select.poll()
        for fd in kept:
            poll.register(fd, select.POLLIN)
        left = set(kept)
        while left:
            for fd, _ in poll.poll():
                data = os.read(fd, 65536)
                if not data:
                    poll.unregister(fd)
                    left.discard(fd)
                    continue
                kept[fd] += data[: max(_MAX_OUTPUT - len(kept[fd]), 0)]
                if fd == process.stderr.fileno():
                    self._tell(data)
        texts = [bytes(data).decode("utf-8", "replace") for data in kept.values()]
        return texts[0], texts[1]

    def _tell(self, data: bytes) -> None:
        try:
            os.write(self._progress, data)
        except OSError:
            self._progress = os.open("/dev/null", os.O_WRONLY)

    def _wrapped(self, text: str, *command: str, repository: str = "repository", tree: str = "") -> str:
        """As `_git`, with BuildKit's words around what goes wrong. Raises GitError."""
        try:
            return self._git(*command, repository=repository, tree=tree)
        except Failed as failed:
            error, output, status = failed.args
            if self._told["classic"]:
                raise GitError(f"{text}: {output}{error}: {status}") from None
            prefix = f"{text}: " if text else ""
            raise GitError(f"{prefix}git stderr:\n{error}: {status}") from None

    def clone(self) -> str:
        """The commit that was checked out. Raises GitError."""
        checksum = self._told["checksum"]
        if checksum and not _HEX.fullmatch(checksum):
            raise GitError(f"invalid checksum {checksum} for Git URL, expected hex commit hash")
        self._wrapped("failed to init repo", "init", "--bare", "--quiet")
        self._wrapped("failed add origin repo", "remote", "add", "origin", self._remote)
        commit = self._fetched()
        data = f"{self._folder}/data"
        if self._told["keep_git_dir"] and not self._told["subdir"]:
            self._with_git_dir(data, commit)
        else:
            text = f"failed to checkout remote {self._shown}"
            self._wrapped(text, "checkout", "--quiet", "--no-overlay", commit, "--", ".", tree=data)
            self._submodules(data, "repository")
        if self._told["mtime"] == "commit":
            when = self._wrapped("", "log", "-1", "--format=%ct", commit + "^{commit}").strip()
            set_times(data, int(when) * 1_000_000_000)
        if self._told["subdir"]:
            self._scope(data)
        return commit

    def _submodules(self, data: str, repository: str) -> None:
        if not self._told["submodules"] or not os.path.lexists(f"{data}/.gitmodules"):
            return
        classic = self._told["classic"]
        text = (
            "error initializing submodules" if classic else f"failed to update submodules for {self._shown}"
        )
        command = ("submodule", "update", "--init", "--recursive", "--depth=1")
        self._wrapped(text, *command, repository=repository, tree=data)

    def _fetched(self) -> str:
        """The commit, which is in the repository then."""
        told, checksum = self._told, self._told["checksum"]
        text = "error fetching" if told["classic"] else f"failed to fetch remote {self._shown}"
        if told["by_commit"] and not _COMMIT.fullmatch(checksum or self._ref):
            raise GitError("fetch-by-commit requires a full commit SHA checksum" if checksum
                           else "fetch-by-commit requires a checksum or a commit SHA ref")  # fmt: skip
        if told["by_commit"] or _COMMIT.fullmatch(self._ref):
            commit = (checksum if told["by_commit"] and checksum else "") or self._ref
            if checksum and not commit.startswith(checksum):
                raise GitError(f"expected checksum to match {checksum}, got {commit}")
            self._fetch_commit(text, commit)
            return commit
        if told["classic"]:
            self._wrapped(text, "fetch", "--depth=1", "origin", "--", self._ref)
            return self._wrapped(text, "rev-parse", "FETCH_HEAD^{commit}").strip()
        if not self._ref:
            self._ref = self._default_branch()
        object_, commit = self._resolved()
        self._wrapped(text, "fetch", "--depth=1", "--no-tags", "--force", "origin", "--",
                      f"{self._ref}:refs/tags/context")  # fmt: skip
        found = self._wrapped(text, "rev-parse", "refs/tags/context").strip()
        if found != object_:
            self._fetch_commit(text, commit)
            return commit
        return self._wrapped(text, "rev-parse", found + "^{commit}").strip()

    def _fetch_commit(self, text: str, commit: str) -> None:
        try:
            self._git("fetch", "--depth=1", "--no-tags", "origin", commit)
        except Failed:
            # A server that does not give single commits: all there is
            self._wrapped(text, "fetch", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*")
        self._wrapped(text, "cat-file", "-e", commit + "^{commit}")

    def _default_branch(self) -> str:
        text = f"error fetching default branch for repository {self._shown}"
        output = self._wrapped(text, "ls-remote", "--symref", "--", self._remote, "HEAD")
        found = _BRANCH.search(output)
        if found is None or found[1].startswith("-"):
            raise GitError(f"could not find default branch for repository: {self._shown}")
        return found[1]

    def _resolved(self) -> tuple[str, str]:
        """What the ref is, and the commit that this is."""
        ref = self._ref
        text = f"failed to fetch remote {self._shown}"
        output = self._wrapped(text, "ls-remote", "--", self._remote, ref, ref + "^{}")
        refs = dict(line.split("\t", 1)[::-1] for line in output.splitlines() if "\t" in line)
        tag = "refs/tags/" + ref.removeprefix("refs/tags/")
        names = ("refs/" + ref.removeprefix("refs/"), "refs/heads/" + ref.removeprefix("refs/heads/"))
        found = next((refs[name] for name in names if refs.get(name)), "")
        peeled = "" if found else refs.get(tag + "^{}", "")
        found = found or refs.get(tag, "")
        if not found:
            raise GitError(f"repository does not contain ref {ref}, output: {json.dumps(output)}")
        if not _COMMIT.fullmatch(found):
            raise GitError(f'invalid commit sha "{found}"')
        checksum = self._told["checksum"]
        if checksum and not found.startswith(checksum) and not peeled.startswith(checksum):
            raise GitError(f"expected checksum to match {checksum}, got {peeled or found}")
        return found, peeled or found

    def _with_git_dir(self, data: str, commit: str) -> None:
        """The files with a `.git` of their own, as a clone of depth 1 would have."""
        text = f"failed to checkout remote {self._shown}"
        self._wrapped(text, "init", "--quiet", repository="data/.git", tree=data)
        ref = self._ref if not _COMMIT.fullmatch(self._ref) else commit
        for command in (
            ("remote", "add", "origin", self._remote),
            ("fetch", "--update-head-ok", "--depth=1", "--no-tags", "origin", "--", ref),
            ("checkout", "--quiet", commit),
            ("remote", "set-url", "origin", self._shown),
            ("reflog", "expire", "--all", "--expire=now"),
        ):
            self._wrapped(text, *command, repository="data/.git", tree=data)
        if os.path.lexists(f"{data}/.git/FETCH_HEAD"):
            os.unlink(f"{data}/.git/FETCH_HEAD")
        self._submodules(data, "data/.git")

    def _scope(self, data: str) -> None:
        """Of all files only those in the folder "subdir"; no link may be on the way."""
        subdir = self._told["subdir"]
        fd = os.open(data, OPEN_DIRECTORY)
        for part in subdir.split("/"):
            try:
                following = os.open(part, OPEN_DIRECTORY, dir_fd=fd)
            except FileNotFoundError:
                raise GitError(
                    f'invalid subdir {subdir}: failed to lstat "{part}": no such file or directory'
                ) from None
            except OSError:
                text = f'invalid subdir {subdir}: git subpath "{subdir}" contains non-directory "{part}"'
                raise GitError(text) from None
            os.close(fd)
            fd = following
        os.rename(data, f"{self._folder}/whole")
        os.mkdir(data, 0o755)
        target = os.open(data, OPEN_DIRECTORY)
        for name in os.listdir(fd):
            os.rename(name, name, src_dir_fd=fd, dst_dir_fd=target)
        os.close(fd)
        os.close(target)


def _confined() -> None:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


def redacted(remote: str) -> str:
    """The URL without a password."""
    return re.sub(r"^([a-z]+://[^/@]*):[^/@]*@", r"\1:xxxxx@", remote)


def _scope(remote: str) -> str:
    """For which URLs a token is good:
    of github.com's repositories for all, as their submodules want it, too.
    """
    for prefix in ("https://github.com/", "https://www.github.com/"):
        if remote.startswith(prefix):
            return prefix
    return remote
