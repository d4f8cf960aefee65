"""What variables FROM knows, and what the names that it says stand for."""

from collections.abc import Collection, Iterable, Mapping

from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.dockerfile import lint
from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.expand import Lexer
from compatd.engine.builder.dockerfile.parser import Dockerfile
from compatd.engine.errors import InvalidParameter
from compatd.engine.images import reference as references
from compatd.engine.images.platform import Platform

SCRATCH = "scratch"


def lint_options(dockerfile: Dockerfile, build_args: Mapping[str, str]) -> lint.Options:
    """What `BUILDKIT_DOCKERFILE_CHECK` or `# check=` say. Raises DockerfileError."""
    text = build_args.get("BUILDKIT_DOCKERFILE_CHECK")
    try:
        return lint.parse_options(dockerfile.check() if text is None else text)
    except DockerfileError as error:
        raise DockerfileError(f"failed to parse check options: {error.message}") from None


def platform_args(here: Platform, there: Platform, stage: str, given: Mapping[str, str]) -> dict[str, str]:
    """BUILDPLATFORM, TARGETARCH and so on: always known before the first FROM; build arguments go before."""
    found = {
        "BUILDPLATFORM": str(here), "BUILDOS": here.os, "BUILDOSVERSION": "", "BUILDARCH": here.architecture,
        "BUILDVARIANT": here.variant, "TARGETPLATFORM": str(there), "TARGETOS": there.os,
        "TARGETOSVERSION": "", "TARGETARCH": there.architecture, "TARGETVARIANT": there.variant,
        "TARGETSTAGE": stage or "default",
    }  # fmt: skip
    return {key: given.get(key, value) for key, value in found.items()}


def global_args(
    lexer: Lexer, arguments: Iterable[i.Arg], predefined: Mapping[str, str], given: Mapping[str, str]
) -> tuple[dict[str, str], set[str]]:
    """The values of the ARGs before the first FROM, the platform's among them; and all their names."""
    args, known = dict(predefined), set()
    for arg in arguments:
        for pair in arg.pairs:
            known.add(pair.key)
            if pair.key in given:
                args[pair.key] = given[pair.key]
            elif pair.value is not None:
                try:
                    args[pair.key] = lexer.word(pair.value, args).text
                except DockerfileError as error:
                    raise error.at(arg.lines) from None
    return args, known


def check_default_bases(
    linter: lint.Linter, lexer: Lexer, program: i.Program, predefined: Mapping[str, str]
) -> None:
    """Warn of bases that are no image's name unless build arguments are given."""
    try:
        args, _ = global_args(lexer, program.arguments, predefined, {})
        for stage in program.stages:
            base = lexer.word(stage.start.base, args).text
            try:
                references.parse(base)
            except InvalidParameter:
                linter.warn("InvalidDefaultArgInFrom", stage.start.lines, stage.start.base)
    except DockerfileError:
        return  # told where it matters


def named_context(name: str, contexts: Collection[str]) -> str:
    """The client's context that stands for this image, or ""; `docker.io/library/x:latest` is also `x`."""
    if name.lower() in (SCRATCH, "context"):
        return ""
    names = [name]
    try:
        reference = references.parse(name)
        names += [reference.familiar_name, reference.tagged().familiar, str(reference.tagged())]
    except InvalidParameter:
        pass
    return next((one for one in names if one in contexts), "")
