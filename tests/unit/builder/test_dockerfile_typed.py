"""Each instruction: what it holds, and what is wrong with it in BuildKit's words."""

# ruff: noqa: E501  (texts of errors in one piece)

from typing import Any

import pytest

from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.mounts import parse_mount
from compatd.engine.builder.dockerfile.parser import parse
from compatd.engine.builder.dockerfile.typed import program


def one(text: str) -> Any:
    return program(parse(f"FROM scratch\n{text}\n".encode())).stages[0].instructions[0]


def error(text: str) -> DockerfileError:
    with pytest.raises(DockerfileError) as caught:
        program(parse(text.encode()))
    return caught.value


PREFIX = "dockerfile parse error on line 2: "


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("FROM", "FROM requires either one or three arguments"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a AS 1b", 'invalid name for build stage: "1b", name can\'t start with a number or contain symbols'),
        ("FROM --plaform=x a", "unknown flag: --plaform (did you mean platform?)"),
        ("FROM --platform a", "missing a value on flag: --platform"),
        ("FROM --platform=a --platform=b a", "duplicate flag specified: --platform"),
        ("FRM a", "unknown instruction: FRM (did you mean FROM?)"),
        ("bogus a", "unknown instruction: bogus"),
        ("COPY a", "COPY requires at least two arguments, but only one was provided. Destination could not be determined"),
        ("ADD", "ADD requires at least two arguments, but only one was provided. Destination could not be determined"),
        ("COPY --link=x a b", "expecting boolean value for flag --link, not: x"),
        ("COPY --link= a b", "missing a value on flag: --link"),
        ("COPY --checksum=x a b", "unknown flag: --checksum"),
        ("COPY a <<E\nE", "COPY cannot accept a heredoc as a destination"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV =a", "ENV names can not be blank"),
        ("ENV --x a=b", "unknown flag: --x"),
        ("LABEL", "LABEL requires at least one argument"),
        ("ARG", "ARG requires at least one argument"),
        ("ARG =a", "ARG names can not be blank"),
        ("MAINTAINER", "MAINTAINER requires exactly one argument"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("USER", "USER requires exactly one argument"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ('VOLUME [" "]', "VOLUME specified can not be an empty string"),
        ("SHELL a", "SHELL requires the arguments to be in JSON form"),
        ("SHELL []", "SHELL requires at least one argument"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD ONBUILD RUN a", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD from a", "FROM isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK NONE a", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK bad", 'Unknown type "BAD" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK --interval=1 CMD a", 'time: missing unit in duration "1"'),
        ("HEALTHCHECK --interval=1x CMD a", 'time: unknown unit "x" in duration "1x"'),
        ("HEALTHCHECK --timeout=1us CMD a", 'Interval "timeout" cannot be less than 1ms'),
        ("HEALTHCHECK --retries=-1 CMD a", "--retries cannot be negative (-1)"),
        ("HEALTHCHECK --retries=a CMD a", 'strconv.ParseInt: parsing "a": invalid syntax'),
        ("RUN --network=x a", 'invalid network mode "x"'),
        ("RUN --security=x a", 'security "x" is not valid'),
        ("RUN --mount=from=$x,target=/ a", "'from' doesn't support variable expansion, define alias stage instead"),
        ('RUN --mount=\'a"b\' x', 'failed to parse csv mounts: parse error on line 1, column 2: bare " in non-quoted field'),
        ("RUN --device=a,name=b x", "device name already set to a"),
    ],
)  # fmt: skip
def test_errors(line: str, message: str) -> None:
    found = error(f"FROM scratch\n{line}\n")
    assert found.message == PREFIX + message
    assert found.locations == [(2, 3 if "\n" in line else 2)]


def test_stages_and_global_arguments() -> None:
    found = program(parse(b"ARG a=1\nFROM x AS Y\nRUN z\nfrom --platform=$p y as w\n"))
    assert [str(arg.pairs[0]) for arg in found.arguments] == ["a=1"]
    first, second = found.stages
    assert (first.start.base, first.start.stage, len(first.instructions)) == ("x", "y", 1)
    assert (second.start.base, second.start.stage, second.start.platform) == ("y", "w", "$p")


def test_what_comes_before_the_first_from() -> None:
    assert error("RUN a\nFROM b\n").message == "no build stage in current context"
    assert error("ARG a\n").message == "dockerfile contains no stages to build"


def test_copy() -> None:
    copy = one("COPY --from=b --chown=1:2 --chmod=u+x --link --parents --exclude=a --exclude=b c d/ e")
    assert isinstance(copy, i.Copy)
    assert (copy.source_stage, copy.chown, copy.chmod, copy.exclude) == ("b", "1:2", "u+x", ("a", "b"))
    assert (copy.link, copy.parents, copy.sources, copy.destination) == (True, True, ("c", "d/"), "e")


def test_add() -> None:
    add = one("ADD --checksum=sha256:$s --keep-git-dir=false --unpack a b")
    assert isinstance(add, i.Add)
    assert (add.keep_git_dir, add.unpack) == (False, True)
    plain = one("ADD $a $b")
    assert (plain.keep_git_dir, plain.unpack) == (None, None)
    expanded = add.expanded(lambda word: word.replace("$s", "0"))
    assert (expanded.checksum, expanded.unpack) == ("sha256:0", True)


def test_heredocs_of_copy() -> None:
    copy = one("COPY a <<B <<-'C' /\n$x \"q\"\nB\n\t$x\nC")
    assert copy.sources == ("a",)
    raw = copy.expanded_raw(lambda word: word.replace("$x", "y"))
    assert [item.data for item in raw.contents] == ['y "q"\n', "$x\n"]


def test_run() -> None:
    run = one('RUN --mount=type=cache,target=$t,id=a --network=none --security=insecure ["a", "$b"]')
    assert (run.words, run.shell, run.network, run.security) == (("a", "$b"), False, "none", "insecure")
    (mount,) = run.expanded(lambda word: word.replace("$t", "/c")).mounts
    assert (mount.type, mount.target, mount.id, mount.read_only) == ("cache", "/c", "a", False)
    assert one("RUN a $b").words == ("a $b",)


def test_onbuild() -> None:
    assert one("ONBUILD  RUN  a \\\n b").trigger == "RUN  a  b"
    assert one("onbuild COPY <<E /\nx\nE").trigger == "COPY <<E /\nx\nE"


def test_healthcheck() -> None:
    check = one(
        "HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=1h --start-interval=5s --retries=3 cmd a b"
    )
    assert check.test == ("CMD-SHELL", "a b")
    assert (check.interval, check.timeout, check.retries) == (90 * 10**9, 1_500_000_000, 3)
    assert (check.start_period, check.start_interval) == (3600 * 10**9, 5 * 10**9)
    assert one('HEALTHCHECK CMD ["a"]').test == ("CMD", "a")
    assert one("HEALTHCHECK none").test == ("NONE",)


def same(word: str) -> str:
    return word


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target=/a", i.Mount(target="/a", read_only=True)),
        ("type=bind,from=x,src=/b,dst=/a,rw", i.Mount(source_stage="x", source="/b", target="/a")),
        ("type=bind,target=/a,readwrite=false", i.Mount(target="/a", read_only=True)),
        ("type=cache,sharing=locked,uid=1,gid=2,mode=0700,target=/a",
         i.Mount("cache", target="/a", sharing="locked", uid=1, gid=2, mode=0o700)),
        ("type=tmpfs,size=1m,destination=/a", i.Mount("tmpfs", target="/a", size=1 << 20)),
        ("type=secret,id=s,env=S,required", i.Mount("secret", id="s", env="S", required=True, read_only=True)),
        ("type=secret,id=s,env=", i.Mount("secret", id="s", env="", read_only=True)),
        ("type=ssh,required=true", i.Mount("ssh", required=True, read_only=True)),
        ('"target=/a,b"', i.Mount(target="/a,b", read_only=True)),
    ],
)  # fmt: skip
def test_mounts(text: str, expected: i.Mount) -> None:
    assert parse_mount(text, same) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=bnd", 'unsupported mount type "bnd" (did you mean bind?)'),
        ("type=cache,sharing=lock", 'unsupported sharing value "lock" (did you mean locked?)'),
        ("targt=/a", "unexpected key 'targt' in 'targt=/a' (did you mean target?)"),
        ("x", "invalid field 'x' must be a key=value pair"),
        ("ro=x", "invalid value for ro: x"),
        ("required", "unexpected key 'required' for mount type 'bind'"),
        ("size=1", "unexpected key 'size' for mount type 'bind'"),
        ("type=tmpfs,size=x", "invalid value for size: x"),
        ("mode=9", "invalid value 9 for mode"),
        ("uid=-1", "invalid value -1 for uid"),
        ("target=/a,uid=1", 'uid not allowed for "bind" type mounts'),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=secret,id=a,source=b", "both source and id can't be set"),
        ("sharing=shared", "invalid cache sharing set for bind mount"),
    ],
)
def test_mount_errors(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_mount(text, same)
    assert caught.value.message == message
