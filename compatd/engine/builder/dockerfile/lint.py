"""BuildKit's build checks: rules, and the warnings that a Dockerfile gets.

Source: docs.docker.com/reference/build-checks, moby/buildkit frontend/dockerfile/linter (names, descriptions,
texts). Rules about single lines are here; those about variables and platforms are asked by `graph` and
`evaluate`, which know these.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from compatd.engine.builder.dockerfile import directives
from compatd.engine.builder.dockerfile.errors import DockerfileError, Lines
from compatd.engine.builder.dockerfile.instructions import Instruction, Stage
from compatd.engine.builder.dockerfile.parser import Dockerfile, Node
from compatd.engine.builder.dockerfile.text import quote

_URL = "https://docs.docker.com/go/dockerfile/rule/"
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)

# Name → (description, text with places for words).
RULES: dict[str, tuple[str, str]] = {
    "StageNameCasing": ("Stage names should be lowercase", "Stage name '{}' should be lowercase"),
    "FromAsCasing": (
        "The 'as' keyword should match the case of the 'from' keyword",
        "'{1}' and '{0}' keywords' casing do not match",
    ),
    "NoEmptyContinuation": (
        "Empty continuation lines will become errors in a future release",
        "Empty continuation line",
    ),
    "ConsistentInstructionCasing": (
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
        "Command '{}' should match the case of the command majority ({})",
    ),
    "DuplicateStageName": (
        "Stage names should be unique",
        "Duplicate stage name {}, stage names should be unique",
    ),
    "ReservedStageName": (
        "Reserved words should not be used as stage names",
        "Stage name should not use the same name as reserved stage {}",
    ),
    "JSONArgsRecommended": (
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
        "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
    ),
    "MaintainerDeprecated": (
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
        "Maintainer instruction is deprecated in favor of using label",
    ),
    "UndefinedArgInFrom": (
        "FROM command must use declared ARGs",
        "FROM argument '{}' is not declared",
    ),
    "WorkdirRelativePath": (
        "Relative workdir without an absolute workdir declared within the build can have unexpected results "
        "if the base image changes",
        "Relative workdir {} can have unexpected results if the base image changes",
    ),
    "UndefinedVar": (
        "Variables should be defined before their use",
        "Usage of undefined variable '${}'",
    ),
    "MultipleInstructionsDisallowed": (
        "Multiple instructions of the same type should not be used in the same stage",
        "Multiple {} instructions should not be used in the same stage because only the last one will be "
        "used",
    ),
    "LegacyKeyValueFormat": (
        "Legacy key/value format with whitespace separator should not be used",
        '"{0} key=value" should be used instead of legacy "{0} key value" format',
    ),
    "InvalidBaseImagePlatform": (
        "Base image platform does not match expected target platform",
        "Base image {} was pulled with platform {}, expected {} for current build",
    ),
    "RedundantTargetPlatform": (
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
    ),
    "SecretsUsedInArgOrEnv": (
        "Sensitive data should not be used in the ARG or ENV commands",
        "Do not use ARG or ENV instructions for sensitive data ({} {})",
    ),
    "InvalidDefaultArgInFrom": (
        "Default value for global ARG results in an empty or invalid base image name",
        "Default value for ARG {} results in empty or invalid base image name",
    ),
    "FromPlatformFlagConstDisallowed": (
        "FROM --platform flag should not use a constant value",
        "FROM --platform flag should not use constant value {}",
    ),
    "CopyIgnoredFile": (
        "Attempting to Copy file that is excluded by .dockerignore",
        "Attempting to {} file {} that is excluded by .dockerignore",
    ),
    "InvalidDefinitionDescription": (
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. "
        "If this is not intended to be a description comment, add an empty line or comment between the "
        "instruction and the comment.",
        "Comment for {} should follow the format: `# {} <description>`",
    ),
    "ExposeProtoCasing": (
        "Protocol in EXPOSE instruction should be lowercase",
        "Defined protocol '{}' in EXPOSE instruction should be lowercase",
    ),
    "ExposeInvalidFormat": (
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an "
        "error in a future release",
        "EXPOSE instruction should not define an IP address or host-port mapping, found '{}'",
    ),
}
MAX_WARNINGS = 1000
EXPERIMENTAL = ("InvalidDefinitionDescription",)
_WITHOUT_URL = ("InvalidBaseImagePlatform",)


@dataclass(frozen=True, slots=True)
class Warning:
    """One finding. `short` is the text with the rule's name before and the line behind, as builds show it."""

    rule: str
    description: str
    url: str
    message: str
    lines: Lines

    @property
    def short(self) -> str:
        where = f" (line {self.lines[0]})" if self.lines[0] > 0 else ""
        return f"{self.rule}: {self.message}{where}"


@dataclass(frozen=True, slots=True)
class Options:
    """`skip=A,B;error=true;experimental=C`; "all" for each rule."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False


def parse_options(text: str) -> Options:
    """The value of `# check=` or of the build argument BUILDKIT_DOCKERFILE_CHECK. Raises DockerfileError."""
    text = text.strip()
    found = Options()
    for part in text.split(";", 2) if text else ():
        key, equals, value = part.partition("=")
        key, value = key.strip(), value.strip()
        if not equals:
            raise DockerfileError(f"invalid check option {quote(part)}")
        names = frozenset(name.strip() for name in value.split(","))
        if key == "skip":
            found = replace(found, skip=names)
        elif key == "experimental":
            found = replace(found, experimental=names)
        elif key != "error":
            raise DockerfileError(f"invalid check option {quote(key)}")
        elif value in ("1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"):
            found = replace(found, error=value.lower() in ("1", "t", "true"))
        else:
            raise DockerfileError(
                f"failed to parse check option {quote(part)}: strconv.ParseBool: parsing {quote(value)}: "
                "invalid syntax"
            )
    return found


@dataclass(slots=True)
class Linter:
    """Collects warnings, in the order in which they are found."""

    options: Options = field(default_factory=Options)
    warnings: list[Warning] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether there are so many that no more are taken."""
        return len(self.warnings) >= MAX_WARNINGS

    def warn(self, rule: str, lines: Lines, *words: str, hint: str = "") -> None:
        """Add a warning of this rule, unless it is not asked for; `hint` is what may have been meant."""
        wanted = self.options.experimental if rule in EXPERIMENTAL else self.options.skip
        if (rule in wanted or "all" in wanted) is not (rule in EXPERIMENTAL) or self.full:
            return
        description, text = RULES[rule]
        dashed = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", rule).lower()
        url = "" if rule in _WITHOUT_URL else f"{_URL}{dashed}/"
        message = text.format(*words) + (f" (did you mean {hint}?)" if hint else "")
        self.warnings.append(Warning(rule, description, url, message, lines))

    def with_comments(self, comments: Sequence[str]) -> "Linter":
        """The same, with what a `# check=` right above an instruction says for that one."""
        for comment in comments:
            found = directives.Reader(mark="").read(comment)
            if found and found.name == "check":
                try:
                    more = parse_options(found.word)
                except DockerfileError:
                    return self
                options = replace(
                    self.options,
                    skip=self.options.skip | more.skip,
                    experimental=self.options.experimental | more.experimental,
                )
                return Linter(options, self.warnings)
        return self

    def finish(self) -> None:
        """Raise DockerfileError when there are warnings and `error=true` was said."""
        if self.options.error and self.warnings:
            rules = ", ".join(dict.fromkeys(warning.rule for warning in self.warnings))
            raise DockerfileError(f"lint violation found for rules: {rules}")


def check_node(linter: Linter, node: Node) -> None:
    """The rules about one line, before it is known to be right."""
    name, words = node.keyword.lower(), node.arguments
    if name == "maintainer":
        linter.warn("MaintainerDeprecated", node.lines)
    if name == "from" and len(words) == 3 and words[2] != words[2].lower():
        linter.warn("StageNameCasing", node.lines, words[2])
    if name == "from" and len(words) >= 3:
        lower, upper = node.keyword.islower(), node.keyword.isupper()
        if (lower and words[1] != words[1].lower()) or (upper and words[1] != words[1].upper()):
            linter.warn("FromAsCasing", node.lines, node.keyword, words[1])
    if name == "from" and len(words) == 3:
        _description(linter, node, "FROM", [words[2].lower()])
    if name == "arg":
        _description(linter, node, "ARG", [word.partition("=")[0] for word in words])


def _description(linter: Linter, node: Node, keyword: str, names: list[str]) -> None:
    if node.comments and names and node.comments[-1].split(" ")[0] not in names:
        example = names[0] if len(names) == 1 else "<arg_key>"
        linter.warn("InvalidDefinitionDescription", node.lines, keyword, example)


def check_program(linter: Linter, dockerfile: Dockerfile, stages: Iterable[Stage]) -> None:
    """The rules about a whole file."""
    stages = list(stages)
    seen: set[str] = set()
    for stage in stages:
        name = stage.start.stage
        if name in ("context", "scratch"):
            linter.warn("ReservedStageName", stage.start.lines, quote(name))
        if name and name in seen:
            linter.warn("DuplicateStageName", stage.start.lines, quote(name))
        seen.add(name)
    _check_casing(linter, [one for stage in stages for one in (stage.start, *stage.instructions)])


def check_continuations(linter: Linter, dockerfile: Dockerfile) -> None:
    """The rule about empty lines within instructions."""
    for line in dockerfile.empty_continuations:
        linter.warn("NoEmptyContinuation", (line, line))


def _check_casing(linter: Linter, instructions: list[Instruction]) -> None:
    lower = sum(one.keyword == one.keyword.lower() for one in instructions)
    upper = sum(one.keyword == one.keyword.upper() for one in instructions)
    case = "lowercase" if lower > upper else "uppercase"
    for one in instructions:
        right = one.keyword.lower() if lower > upper else one.keyword.upper()
        if one.keyword != right:
            linter.warn("ConsistentInstructionCasing", one.lines, one.keyword, case)


def check_secret(linter: Linter, keyword: str, name: str, lines: Lines) -> None:
    """The rule about names that look like those of secrets."""
    if _SECRET.search(name) and not _NO_SECRET.search(name):
        linter.warn("SecretsUsedInArgOrEnv", lines, keyword, quote(name))


def check_platform(linter: Linter, name: str, expected: str, actual: str, lines: Lines) -> None:
    """The rule about a base image of another platform, for who fetched it; platforms as texts, normalised."""
    if expected.split("/")[:2] != actual.split("/")[:2]:
        linter.warn("InvalidBaseImagePlatform", lines, name, quote(actual), quote(expected))
