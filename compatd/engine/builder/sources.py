"""The paths of COPY, ADD and WORKDIR: what kind of source one is, what is refused, where it goes."""

from compatd.engine.builder.dockerfile import chmod, gitref
from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.ignore import Matcher
from compatd.engine.builder.dockerfile.text import clean


def kind(source: str) -> str:
    """`git`, `http` or `local`: how ADD gets this. Raises DockerfileError for a git URL that is wrong."""
    ref = gitref.parse(source)
    if ref is not None and not ref.local:
        return "git"
    return "http" if source.startswith(("http://", "https://")) else "local"


def check_transfer(one: i.Transfer) -> None:
    """Whether flags and sources of an expanded COPY or ADD fit. Raises DockerfileError."""
    if one.chmod:
        chmod.parse(one.chmod)
    kinds = [kind(source) for source in one.sources]
    if isinstance(one, i.Add) and one.checksum:
        if len(kinds) != 1:
            raise DockerfileError("checksum can't be specified for multiple sources")
        if kinds == ["local"]:
            raise DockerfileError("checksum requires HTTP(S) or Git sources")
    if not isinstance(one, i.Add):
        if "git" in kinds:
            raise DockerfileError("source can't be a git ref for COPY")
        if "http" in kinds:
            raise DockerfileError("source can't be a URL for COPY")


def normal_path(folder: str, path: str, *, keep_slash: bool = False) -> str:
    """`path` within `folder`, absolute; an absolute one stays as it is. "" and "." are the folder itself.

    With `keep_slash` a `/` or `/.` at the end stays: there it means a folder.
    """
    folder = folder if folder.startswith("/") else clean("/" + folder)
    if keep_slash and path in ("", "."):
        path = "./"
    if not path:
        return folder
    if path.startswith("/"):
        return path
    found = clean(f"{folder}/{path}")
    if keep_slash and path.endswith("/") and not found.endswith("/"):
        found += "/"
    elif keep_slash and path.endswith("/."):
        found = found.rstrip("/") + "/."
    return found


def ignored_sources(one: i.Transfer, ignore: Matcher) -> list[str]:
    """The sources of the context that the ignore file leaves out; a pattern for everything hits its root."""
    found = []
    for source in one.sources:
        path = clean(source)
        if kind(source) != "local":
            continue
        root = path in (".", "/")
        everything = any(pattern.text in ("*", "**", "**/*") for pattern in ignore.patterns)
        if (not root or everything) and ignore.ignored(path):
            found.append(path)
    return found
