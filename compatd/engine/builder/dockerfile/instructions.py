"""The instructions of a Dockerfile as data: what each one holds, and which of its words are expanded.

Source: the Dockerfile reference, moby/buildkit frontend/dockerfile/instructions (texts of errors).
Instructions never change: `expanded` answers a copy. `typed.py` makes them from what the parser found.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

from compatd.engine.builder.dockerfile.errors import Lines

Word = Callable[[str], str]  # expands variables in one word; raises DockerfileError


@dataclass(frozen=True, slots=True)
class Heredoc:
    """`<<EOF`: its lines as written; `expand` is false when the name was quoted, `chomp` true for `<<-`."""

    name: str
    content: str = ""
    expand: bool = True
    chomp: bool = False
    descriptor: int = 0

    @property
    def data(self) -> str:
        """The content, without the tabs before its lines for `<<-`."""
        if not self.chomp:
            return self.content
        return "\n".join(line.lstrip("\t") for line in self.content.split("\n"))


@dataclass(frozen=True, slots=True)
class Pair:
    """A name and its value; `value` is None for `ARG name`, `spaced` true for the old `ENV name value`."""

    key: str
    value: str | None
    spaced: bool = False

    def __str__(self) -> str:
        return f"{self.key}={self.value or ''}"


@dataclass(frozen=True, slots=True)
class Mount:
    """One `RUN --mount`. `source` of a secret may be its ID, too; `env` "" stands for the secret's own ID."""

    type: str = "bind"  # bind, cache, tmpfs, secret, ssh
    source_stage: str = ""  # from=
    source: str = ""
    target: str = ""
    read_only: bool = False
    size: int = 0
    id: str = ""
    sharing: str = ""  # "" (shared), shared, private, locked
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What all of them have: the keyword as written, the whole line, its place, the comments above it."""

    keyword: str
    original: str
    lines: Lines
    comments: tuple[str, ...] = ()

    def expanded(self, word: Word) -> Self:
        """With variables replaced in those words where the language allows them."""
        return self

    def expanded_raw(self, word: Word) -> Self:
        """With variables replaced in heredocs, where quotes mean nothing."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    pairs: tuple[Pair, ...]

    def expanded(self, word: Word) -> Self:
        return replace(self, pairs=_expand_pairs(self.pairs, word))


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    """`literal`: as the client gave it beside the Dockerfile, nothing in it is expanded."""

    pairs: tuple[Pair, ...]
    literal: bool = False

    def expanded(self, word: Word) -> Self:
        if self.literal:
            return self
        return replace(self, pairs=_expand_pairs(self.pairs, word))


def _expand_pairs(pairs: tuple[Pair, ...], word: Word) -> tuple[Pair, ...]:
    return tuple(Pair(word(pair.key), word(pair.value or ""), pair.spaced) for pair in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    """Expanded by who evaluates it: a value from outside replaces the default, errors in it included."""

    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Instruction):
    """What COPY and ADD share. `contents` are heredocs, copied after `sources`."""

    sources: tuple[str, ...]
    contents: tuple[Heredoc, ...] = ()
    destination: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()

    def expanded(self, word: Word) -> Self:
        return replace(
            self,
            chown=word(self.chown),
            chmod=word(self.chmod),
            sources=tuple(map(word, self.sources)),
            destination=word(self.destination),
        )

    def expanded_raw(self, word: Word) -> Self:
        contents = (
            replace(item, content=word(item.data), chomp=False) if item.expand else item
            for item in self.contents
        )
        return replace(self, contents=tuple(contents))


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Transfer):
    source_stage: str = ""  # --from
    parents: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Transfer):
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None  # None: local archives are unpacked, fetched ones are not

    def expanded(self, word: Word) -> Self:
        # The slots of this class are a copy: super() without arguments would not find it.
        return replace(Transfer.expanded(self, word), checksum=word(self.checksum))


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Instruction):
    """`words` in exec form; in shell form (`shell`) one text, for which `files` are its heredocs."""

    words: tuple[str, ...]
    shell: bool
    files: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Command):
    """`mounts` tells only `source_stage` until it is expanded."""

    mount_flags: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: str = "default"  # default, none, host
    security: str = "sandbox"  # sandbox, insecure
    devices: tuple[str, ...] = ()

    def expanded(self, word: Word) -> Self:
        from compatd.engine.builder.dockerfile.mounts import parse_mount

        return replace(self, mounts=tuple(parse_mount(text, word) for text in self.mount_flags))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Command):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Command):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """`test` as in an image's config; the rest is 0 where it is not said, durations in nanoseconds."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    path: str

    def expanded(self, word: Word) -> Self:
        return replace(self, path=word(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    user: str

    def expanded(self, word: Word) -> Self:
        return replace(self, user=word(self.user))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """`ports` sorted; each is expanded into words by who evaluates it."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    paths: tuple[str, ...]

    def expanded(self, word: Word) -> Self:
        return replace(self, paths=tuple(map(word, self.paths)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Instruction):
    signal: str

    def expanded(self, word: Word) -> Self:
        return replace(self, signal=word(self.signal))


@dataclass(frozen=True, slots=True, kw_only=True)
class Onbuild(Instruction):
    """`trigger` is the instruction as it goes into an image's config, heredocs included."""

    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """`base` and `platform` as written; `stage` in lower case, "" for none."""

    base: str
    stage: str = ""
    platform: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A FROM and what follows it."""

    start: From
    instructions: list[Instruction] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Program:
    """A whole Dockerfile: the ARGs before the first FROM, and the stages."""

    arguments: tuple[Arg, ...]
    stages: tuple[Stage, ...]
