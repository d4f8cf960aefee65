"""Build checks: which rule says what about which line, and what silences it."""

# ruff: noqa: E501  (texts of errors in one piece)

import pytest

from compatd.engine.builder.dockerfile import lint
from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.ignore import Matcher
from compatd.engine.builder.dockerfile.parser import parse
from compatd.engine.builder.evaluate import evaluate
from compatd.engine.builder.graph import Options, plan
from compatd.engine.images.platform import Platform

HERE = Platform("linux", "amd64")


def warnings(text: str, ignore: Matcher | None = None, **build_args: str) -> list[str]:
    made = plan(parse(text.encode()), Options(build_args=build_args), HERE)
    states = {}
    for index in made.needed:
        parent = made.stages[index].parent
        _, states[index] = evaluate(made, index, None if parent is None else states[parent], ignore)
    return [warning.short for warning in made.linter.warnings]


RULES = [
    ("FROM scratch AS Base", "StageNameCasing: Stage name 'Base' should be lowercase (line 1)"),
    ("FROM scratch as base", "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)"),
    ("FROM scratch\nRUN a \\\n\n b", "NoEmptyContinuation: Empty continuation line (line 4)"),
    ("FROM scratch\nrun a", "ConsistentInstructionCasing: Command 'run' should match the case of the command majority (uppercase) (line 2)"),
    ("from scratch\nrun a\nRun b", "ConsistentInstructionCasing: Command 'Run' should match the case of the command majority (lowercase) (line 3)"),
    ("FROM scratch AS b\nFROM scratch AS b", 'DuplicateStageName: Duplicate stage name "b", stage names should be unique (line 2)'),
    ("FROM x AS scratch", 'ReservedStageName: Stage name should not use the same name as reserved stage "scratch" (line 1)'),
    ("FROM scratch\nCMD a", "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 2)"),
    ("FROM scratch\nMAINTAINER a", "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 2)"),
    ("ARG base=b\nFROM a$bas", "UndefinedArgInFrom: FROM argument 'bas' is not declared (did you mean base?) (line 2)"),
    ("FROM scratch\nWORKDIR a", 'WorkdirRelativePath: Relative workdir "a" can have unexpected results if the base image changes (line 2)'),
    ("FROM scratch\nENV foo=a\nUSER $fo", "UndefinedVar: Usage of undefined variable '$fo' (did you mean $foo?) (line 3)"),
    ('FROM scratch\nCMD ["a"]\nCMD ["b"]', "MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used (line 2)"),
    ("FROM scratch\nENV a b", 'LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format (line 2)'),
    ("FROM --platform=$TARGETPLATFORM scratch", "RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior (line 1)"),
    ("FROM scratch\nARG DB_PASSWORD", 'SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG "DB_PASSWORD") (line 2)'),
    ("ARG tag\nFROM busybox:$tag", "InvalidDefaultArgInFrom: Default value for ARG busybox:$tag results in empty or invalid base image name (line 2)"),
    ("FROM --platform=linux/arm64 scratch", 'FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "linux/arm64" (line 1)'),
    ("# check=experimental=all\nFROM scratch\n# other words\nARG a", "InvalidDefinitionDescription: Comment for ARG should follow the format: `# a <description>` (line 4)"),
    ("FROM scratch\nEXPOSE 80/TCP", "ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase (line 2)"),
    ("FROM scratch\nEXPOSE 81:80", "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '81:80' (line 2)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), RULES)
def test_rules(text: str, expected: str) -> None:
    build_args = {"tag": "1"} if "tag" in text else {}
    assert warnings(text + "\n", **build_args) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "FROM scratch AS a\nARG x=1\nENV TOKEN_FILE=$x PUBLIC_KEY=1\nWORKDIR /a\nWORKDIR b",
        'FROM scratch\nSHELL ["/bin/a"]\nCMD b',
        "FROM --platform=linux/arm64 scratch AS arm64",
        "FROM --platform=$BUILDPLATFORM scratch",
        "FROM scratch\n# other words\nARG a",
        "from scratch as a",
        "FROM scratch\nARG x\nUSER ${x:-y}",
        "# check=skip=all\nFROM scratch AS B\nMAINTAINER x",
        "# check=skip=MaintainerDeprecated, X\nFROM scratch\n# check=skip=JSONArgsRecommended\nCMD a",
    ],
)
def test_nothing_to_say(text: str) -> None:
    assert warnings(text) == []


def test_files_that_are_left_out() -> None:
    found = warnings("FROM scratch\nCOPY a.o b /\nADD . /", Matcher(["*.o"]))
    assert found == [
        'CopyIgnoredFile: Attempting to Copy file "a.o" that is excluded by .dockerignore (line 2)'
    ]
    assert warnings("FROM scratch\nCOPY a.o /", Matcher(["*.o", "!b"])) == []
    assert len(warnings("FROM scratch\nCOPY . /", Matcher(["*"]))) == 1


def test_urls_and_descriptions() -> None:
    linter = lint.Linter()
    linter.warn("JSONArgsRecommended", (3, 4), "CMD")
    (found,) = linter.warnings
    assert found.url == "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"
    assert found.description.startswith("JSON arguments recommended for ENTRYPOINT/CMD")
    assert found.lines == (3, 4)


def test_bases_of_other_platforms() -> None:
    linter = lint.Linter()
    lint.check_platform(linter, "busybox", "linux/arm/v7", "linux/arm/v6", (1, 1))
    lint.check_platform(linter, "busybox", "linux/arm64", "linux/amd64", (1, 1))
    (found,) = linter.warnings
    assert found.message == (
        'Base image busybox was pulled with platform "linux/amd64", expected "linux/arm64" for current build'
    )
    assert found.url == ""


def test_options() -> None:
    found = lint.parse_options("skip=A, B;error=true;experimental=all")
    assert (found.skip, found.error, found.experimental) == ({"A", "B"}, True, {"all"})
    for text, message in (
        ("x", 'invalid check option "x"'),
        ("x=y", 'invalid check option "x"'),
        ("error=y", 'failed to parse check option "error=y": strconv.ParseBool: parsing "y": invalid syntax'),
    ):
        with pytest.raises(DockerfileError) as caught:
            lint.parse_options(text)
        assert caught.value.message == message


def test_warnings_as_errors() -> None:
    made = plan(parse(b"# check=error=true\nFROM scratch AS B\n"), Options(), HERE)
    with pytest.raises(DockerfileError, match="lint violation found for rules: StageNameCasing"):
        made.linter.finish()
    skipping = Options(build_args={"BUILDKIT_DOCKERFILE_CHECK": "skip=all"})
    plan(parse(b"# check=error=true\nFROM scratch AS B\n"), skipping, HERE).linter.finish()


def test_so_many_are_enough() -> None:
    text = "FROM scratch\n" + "".join(f"USER ${{u{number}}}x\n" for number in range(1500))
    assert len(warnings(text)) == lint.MAX_WARNINGS
