"""What names a git repository, and what of it is meant: `https://host/repo.git#ref:folder`,
`?ref=…&subdir=…`. Pure.

Source: moby/buildkit frontend/dockerfile/dfgitutil, util/gitutil, util/sshutil (rules, texts of errors).
"""

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from compatd.engine.builder.dockerfile.errors import DockerfileError

_SCHEME = re.compile(r"([a-zA-Z0-9]+)://")
_SCP = re.compile(
    r"[a-zA-Z0-9_-]+@[a-zA-Z0-9.-]+:[^?#]*(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?", re.DOTALL
)
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_SWITCHES = ("submodules", "keep-git-dir", "fetch-by-commit")
_COMMIT = re.compile(r"[a-f0-9]{40}|[a-f0-9]{64}")
_MAX_FIELDS = 100


@dataclass(slots=True)
class GitRef:
    """`remote` is what git is given. `local`: a folder might be called so, too (`github.com/…`)."""

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    mtime: str = ""
    fetch_by_commit: bool = False
    local: bool = False

    @property
    def by_commit(self) -> bool:
        """Whether `ref` is a commit's whole name."""
        return is_commit(self.ref)


def is_commit(text: str) -> bool:
    """Whether this is a commit's whole name."""
    return _COMMIT.fullmatch(text) is not None


def parse(text: str) -> GitRef | None:
    """The repository that is meant, or None when it is none.

    Raises DockerfileError for a query that is wrong.
    """
    if text.startswith(("./", "../")):
        return None
    if text.startswith("github.com/"):
        found = _url("https://" + text)
        if found is None:
            return None
        ref, query = found
        ref.local, ref.remote = True, ref.remote.removeprefix("https://")
        return _with_query(ref, query)
    scheme = _SCHEME.match(text)
    if scheme:
        name = scheme[1].lower()
        if name not in ("http", "https", "ssh", "git"):
            return None
        found = _url(text)
        if found is None or (name in ("http", "https") and not _path(found[0].remote).endswith(".git")):
            return None
        return _with_query(*found)
    match = _SCP.fullmatch(text)
    if match is None:
        return None
    ref = GitRef(re.split(r"[?#]", text, maxsplit=1)[0])
    _fragment(ref, match["fragment"] or "")
    return _with_query(ref, match["query"] or "")


def _path(url: str) -> str:
    return unquote(urlsplit(url).path)


def _url(text: str) -> tuple[GitRef, str] | None:
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    if any(char <= " " or char == "\x7f" for char in text):
        return None
    ref = GitRef(f"{parts.scheme}://{parts.netloc}{parts.path}")
    _fragment(ref, unquote(parts.fragment))
    return ref, parts.query


def _fragment(ref: GitRef, fragment: str) -> None:
    ref.ref, _, subdir = fragment.partition(":")
    ref.subdir = posixpath.normpath("/" + subdir).lstrip("/") if subdir else ""


def _with_query(ref: GitRef, query: str) -> GitRef:
    if not query:
        return ref
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise DockerfileError("invalid query of a git URL") from None
    tag = branch = ""
    for key, values in fields.items():
        if len(values) > 1:
            raise DockerfileError(f'query "{key}" has multiple values')
        value = values[0]
        if not value and key not in _SWITCHES:
            raise DockerfileError(f'query "{key}" has no value')
        if key == "tag":
            tag = "refs/tags/" + value.removeprefix("refs/tags/")
        elif key == "branch":
            branch = "refs/heads/" + value.removeprefix("refs/heads/")
        else:
            _field(ref, key, value)
    if tag and branch:
        raise DockerfileError("branch conflicts with tag")
    if wanted := tag or branch:
        _once("ref", ref.ref, wanted)
        ref.ref = wanted
    return ref


def _once(name: str, old: str, new: str) -> None:
    if old and old != new:
        raise DockerfileError(f'{name} conflicts: "{old}" vs "{new}"')


def _field(ref: GitRef, key: str, value: str) -> None:
    if key == "ref":
        _once("ref", ref.ref, value)
        ref.ref = value
    elif key == "subdir":
        _once("subdir", ref.subdir, value)
        ref.subdir = value
    elif key in ("checksum", "commit"):
        ref.checksum = value
    elif key == "mtime":
        if value not in ("checkout", "commit"):
            raise DockerfileError(f'invalid mtime value: "{value}" (must be "checkout" or "commit")')
        ref.mtime = value
    elif key in _SWITCHES:
        if value and value not in _TRUE + _FALSE:
            raise DockerfileError(f'invalid {key} value: "{value}"')
        on = not value or value in _TRUE
        if key == "submodules":
            ref.submodules = on
        elif key == "keep-git-dir":
            ref.keep_git_dir = on
        else:
            ref.fetch_by_commit = on
    else:
        raise DockerfileError(f'unexpected query "{key}"')


def classic(text: str) -> GitRef | None:
    """As the classic builder understands it: no query, and `master` where no ref is said.

    Raises DockerfileError.
    """
    web = text.startswith(("http://", "https://"))
    if not (web and re.search(r"\.git(?:#.+)?\Z", text)) and not text.startswith(
        ("git://", "github.com/", "git@")
    ):
        return None
    if not web and not text.startswith(("git://", "git@")):
        text = "https://" + text
    remote, _, fragment = text.partition("#")
    ref, _, subdir = (fragment if text.startswith("git@") else unquote(fragment)).partition(":")
    if ref.startswith("-"):
        raise DockerfileError(f"invalid refspec: {ref}")
    return GitRef(remote, ref or "master", posixpath.normpath("/" + subdir).lstrip("/") if subdir else "")
