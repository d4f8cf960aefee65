"""Image references: `busybox`, `localhost:5000/a/b:tag`, `docker.io/library/x@sha256:…`.

Grammar and texts of errors: the distribution project's `reference` package, as Docker Engine uses it. The
short, *familiar* form is what people type and see; the *canonical* form names registry and repository.
"""

import re
from dataclasses import dataclass

from compatd.engine.errors import InvalidParameter

DEFAULT_DOMAIN = "docker.io"
LEGACY_DOMAIN = "index.docker.io"
OFFICIAL = "library/"
DEFAULT_TAG = "latest"
MAX_NAME = 255

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"\w[\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_PATH})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?", re.ASCII)  # fmt: skip # noqa: E501
_TAG_ONLY = re.compile(_TAG, re.ASCII)
_HEX64 = re.compile(r"[a-f0-9]{64}")
_DIGEST_SIZES = {"sha256": 64, "sha384": 96, "sha512": 128}
_ALGORITHM = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository, with a tag, a digest, both or neither."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The repository with its registry: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as people write it: `busybox`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix(OFFICIAL)
        return rest if "/" not in rest else self.path

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def familiar(self) -> str:
        """`busybox:latest`, or whatever of tag and digest there is."""
        return self.familiar_name + self._suffix

    def __str__(self) -> str:
        return self.name + self._suffix

    def with_tag(self, tag: str) -> "Reference":
        """The same repository with `tag` (the digest stays). Raises InvalidParameter."""
        if not _TAG_ONLY.fullmatch(tag):
            raise InvalidParameter("invalid tag format")
        return Reference(self.domain, self.path, tag, self.digest)

    def with_digest(self, digest: str) -> "Reference":
        """The same repository with that digest and no tag."""
        return Reference(self.domain, self.path, "", digest)

    def tagged(self) -> "Reference":
        """With `latest` when there is neither tag nor digest."""
        return self if self.tag or self.digest else Reference(self.domain, self.path, DEFAULT_TAG)

    def stored(self) -> "Reference":
        """As the store keys it: a digest wins over a tag, and there is always one of both."""
        return self.with_digest(self.digest) if self.digest else self.tagged()


def is_digest(text: str) -> bool:
    """Whether `text` is a well-formed digest of a known algorithm."""
    algorithm, colon, value = text.partition(":")
    size = _DIGEST_SIZES.get(algorithm)
    return bool(colon) and size == len(value) and bool(re.fullmatch(r"[a-f0-9]+", value))


def check_digest(text: str) -> None:
    """Raises InvalidParameter with go-digest's text for a digest that is none."""
    algorithm, colon, value = text.partition(":")
    if not colon or not value or not _ALGORITHM.fullmatch(algorithm):
        raise InvalidParameter("invalid checksum digest format")
    if algorithm not in _DIGEST_SIZES:
        raise InvalidParameter("unsupported digest algorithm")
    if len(value) != _DIGEST_SIZES[algorithm]:
        raise InvalidParameter("invalid checksum digest length")
    if not is_digest(text):
        raise InvalidParameter("invalid checksum digest format")


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    is_domain = slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first)
    domain, path = (first, rest) if is_domain else (DEFAULT_DOMAIN, text)
    if domain == LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = OFFICIAL + path
    return domain, path


def parse(text: str) -> Reference:
    """A reference out of what a person typed. Raises InvalidParameter with Docker's text."""
    if _HEX64.fullmatch(text):
        raise InvalidParameter(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    domain, path = _split_domain(text)
    remote = path.partition(":")[0]
    if remote.lower() != remote:
        raise InvalidParameter(f"invalid reference format: repository name ({remote}) must be lowercase")
    whole = f"{domain}/{path}"
    match = _REFERENCE.fullmatch(whole)
    if not match:
        if _REFERENCE.fullmatch(whole.lower()):
            raise InvalidParameter("repository name must be lowercase")
        raise InvalidParameter("invalid reference format")
    if len(match["path"]) > MAX_NAME:
        raise InvalidParameter(f"repository name must not be more than {MAX_NAME} characters")
    if match["digest"]:
        check_digest(match["digest"])
    if not match["domain"]:
        raise InvalidParameter("invalid reference format")
    return Reference(match["domain"], match["path"], match["tag"] or "", match["digest"] or "")


def parse_any(text: str) -> Reference | str:
    """A reference, or a digest as text when `text` is one (64 hex digits, or `sha256:…`)."""
    if _HEX64.fullmatch(text):
        return f"sha256:{text}"
    if is_digest(text):
        return text
    return parse(text)


def repo_and_tag(repo: str, tag: str, *, digest_error: str) -> Reference | None:
    """The target of `tag` and `import`; None when `repo` is empty. Raises InvalidParameter."""
    if not repo:
        return None
    reference = parse(repo)
    if reference.digest:
        raise InvalidParameter(digest_error)
    return reference.with_tag(tag) if tag else reference.tagged()
