"""A stage of a plan and the config of its base → steps: what each does, and the image's config after it.

Pure: nothing is run or copied here. Source: moby/buildkit dockerfile2llb (rules, texts).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from compatd.engine.builder import history, mountrules, ports
from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.dockerfile import lint, words
from compatd.engine.builder.dockerfile.errors import DockerfileError, suggestion
from compatd.engine.builder.dockerfile.expand import Lexer
from compatd.engine.builder.dockerfile.ignore import Matcher
from compatd.engine.builder.dockerfile.text import SPACE, quote
from compatd.engine.builder.graph import Plan, Planned, PlannedStage, Source
from compatd.engine.builder.scope import SCRATCH
from compatd.engine.builder.sources import check_transfer, ignored_sources, normal_path
from compatd.engine.builder.state import SCRIPTS, Json, State, Step, base_state, proxy_environment
from compatd.engine.errors import InvalidParameter

MAX_EXPANDED = 64 << 20  # characters, of all instructions of a stage

_SHELL = ["/bin/sh", "-c"]
_NO_VARIABLES = ("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE")


def evaluate(
    plan: Plan, index: int, base: State | Mapping[str, Any] | None, ignore: Matcher | None = None
) -> tuple[list[Step], State]:
    """All steps of a stage, and the state after them.

    `base`: the state of its parent stage, the image document of its base image, or None for scratch. `ignore`
    only serves a warning. Raises DockerfileError.
    """
    stage = plan.stages[index]
    if isinstance(base, State):
        config = {key: value for key, value in base.config.items() if key != "OnBuild"}
        state = replace(base, image={**base.image, "config": config})
    else:
        state = base_state(stage, base, plan.platform)
    evaluation = _Evaluation(plan, stage, state, ignore, isinstance(base, State))
    steps = []
    for planned in stage.instructions:
        try:
            steps.append(evaluation.step(planned))
        except DockerfileError as error:
            raise error.at(planned.instruction.lines) from None
    state = evaluation.state
    if index == plan.target and plan.options.labels and not plan.options.label_steps:
        labels = {**(state.config.get("Labels") or {}), **plan.options.labels}
        state = replace(state, image={**state.image, "config": {**state.config, "Labels": labels}})
    return steps, state


@dataclass(slots=True)
class _Evaluation:
    plan: Plan
    stage: PlannedStage
    state: State
    ignore: Matcher | None
    on_stage: bool
    number: int = 0
    expanded: int = 0
    once: dict[str, i.Instruction] = field(default_factory=dict)

    total: int = 0  # steps that progress counts

    def __post_init__(self) -> None:
        # FROM is a step of its own where it is an image that must be fetched.
        self.number = int(self.stage.base != SCRATCH and not self.on_stage)
        kinds = (i.Run, i.Transfer, i.Workdir)
        self.total = self.number + sum(isinstance(one.instruction, kinds) for one in self.stage.instructions)
        if self.stage.context:
            self.number = 0  # a named context is no step, but BuildKit counts it

    def step(self, planned: Planned) -> Step:
        linter = self.plan.linter.with_comments(planned.instruction.comments)
        one = planned.instruction.expanded(self._word(planned.instruction, linter, self.plan.lexer))
        one = one.expanded_raw(
            self._word(planned.instruction, linter, replace(self.plan.lexer, escape="\\", keep_quotes=True))
        )
        before = self.state
        image = {**before.image, "config": dict(before.config)}
        self.state = replace(before, image=image, variables=dict(before.variables))
        if isinstance(one, i.Run):
            return self._run(planned, one, before)
        if isinstance(one, i.Transfer):
            return self._transfer(planned, one, before, linter)
        if isinstance(one, i.Workdir):
            return self._workdir(planned, one, before, linter)
        result, old = self._configure(one, linter)
        text = history.config_text(one, result)
        classic = history.classic_text(one, old, self._shell(self.state))
        if not isinstance(one, i.Onbuild):
            self._commit(text, layer=False)
        return Step(one, "config", "", before, self.state, text, classic, triggered=planned.triggered)

    def _word(self, one: i.Instruction, linter: lint.Linter, lexer: Lexer) -> i.Word:
        variables, given = self.state.variables, {pair.key for pair in self.state.args}

        def word(text: str) -> str:
            found = lexer.word(text, variables)
            for name in sorted(found.unset - given):
                if name not in _NO_VARIABLES and not linter.full:
                    hint = suggestion(name, variables)
                    linter.warn("UndefinedVar", one.lines, name, hint=f"${hint}" if hint else "")
            self.expanded += len(found.text)
            if self.expanded > MAX_EXPANDED:
                raise DockerfileError(
                    f"instructions of a stage expand to more than {MAX_EXPANDED} characters"
                )
            return found.text

        return word

    def _shell(self, state: State) -> list[str]:
        return list(state.config.get("Shell") or _SHELL)

    def _commit(self, text: str, *, layer: bool) -> None:
        entry: Json = {"created_by": text, "comment": history.COMMENT}
        if not layer:
            entry["empty_layer"] = True
        self.state.image["history"] = [*(self.state.image.get("history") or []), entry]

    def _title(self, text: str, triggered: bool) -> str:
        self.number += 1
        stage, options, total = self.stage, self.plan.options, self.total
        prefix = f"{self.state.platform} " if options.several_platforms else ""
        prefix += f"{stage.name} " if stage.name else ""
        number = f"{self.number:{int(1 + math.log10(total))}}/{total}"
        keyword, *rest = text.split(" ", 1)
        return f"[{prefix}{number}] {'ONBUILD ' if triggered else ''}{' '.join([keyword.upper(), *rest])}"

    def _shown(self, text: str, lexer: Lexer, variables: Mapping[str, str]) -> str:
        try:
            return lexer.word(text, variables).text
        except DockerfileError:
            return text

    def _run(self, planned: Planned, one: i.Run, before: State) -> Step:
        args, script, shown = list(one.words), None, one.original
        if one.files:
            args, script, shown = _with_heredocs(one)
        mountrules.check(one.mounts, before.config.get("WorkingDir") or "/")
        if one.shell:
            args = [*self._shell(before), " ".join(args)]
        secrets = {mount.env: "****" for mount in one.mounts if mount.type == "secret" and mount.env}
        lexer = replace(self.plan.lexer, raw_quotes=True, keep_unset=True)
        title = self._title(self._shown(shown, lexer, before.variables | secrets), planned.triggered)
        given = {pair.key: before.variables.get(pair.key, pair.value or "") for pair in before.args}
        env = {entry.partition("=")[0] for entry in before.config.get("Env") or ()}
        text = f"RUN {history.run_text(args, given)} # buildkit"
        own = {key: given[key] for key in sorted(given) if key in before.variables and key not in env}
        self._commit(text, layer=True)
        classic = history.run_text(args, own)
        if not own and proxy_environment(self.plan.options.build_args, classic=True):
            classic = f"|0 {classic}"  # they count as given, and are not shown
        return Step(
            one, "run", title, before, self.state, text, classic, layer=True,
            sources=planned.sources, args=tuple(args), script=script, triggered=planned.triggered,
        )  # fmt: skip

    def _transfer(self, planned: Planned, one: i.Transfer, before: State, linter: lint.Linter) -> Step:
        check_transfer(one)
        if self.ignore and not self.ignore.negations and planned.sources == (Source(),):
            _check_ignored(one, self.ignore, linter)
        title = self._title(self._shown(one.original, self.plan.lexer, before.variables), planned.triggered)
        text = f"{history.transfer_text(one)} # buildkit"
        self._commit(text, layer=True)
        folder = before.config.get("WorkingDir") or "/"
        return Step(one, "add" if isinstance(one, i.Add) else "copy", title, before, self.state, text, "",
                    layer=True, sources=planned.sources, triggered=planned.triggered,
                    destination=normal_path(folder, one.destination, keep_slash=True))  # fmt: skip

    def _workdir(self, planned: Planned, one: i.Workdir, before: State, linter: lint.Linter) -> Step:
        if not before.workdir_set and not one.path.startswith("/"):
            linter.warn("WorkdirRelativePath", one.lines, quote(one.path))
        folder = normal_path(before.config.get("WorkingDir") or "/", one.path)
        self.state.config["WorkingDir"] = folder
        self.state = replace(self.state, workdir_set=True)
        title = ""
        if folder != "/":
            title = self._title(
                self._shown(one.original, self.plan.lexer, before.variables), planned.triggered
            )
        text = history.config_text(one, folder)
        self._commit(text, layer=folder != "/")
        return Step(one, "workdir" if folder != "/" else "config", title, before, self.state, text,
                    history.classic_text(one, folder, self._shell(before)), layer=folder != "/",
                    destination=folder, triggered=planned.triggered)  # fmt: skip

    def _configure(self, one: i.Instruction, linter: lint.Linter) -> tuple[Any, Any]:
        """Change the config; what `history.config_text` wants to know of it, and what `classic_text` does."""
        config = self.state.config
        if isinstance(one, i.Env | i.Label):
            self._pairs(one, config, linter)
        elif isinstance(one, i.Arg):
            return self._arg(one, linter)
        elif isinstance(one, i.Cmd | i.Entrypoint):
            args = self._command(one, config, linter)
            return args, args
        elif isinstance(one, i.Healthcheck):
            self._once("HEALTHCHECK", one, linter)
            config["Healthcheck"] = _health(one)
        elif isinstance(one, i.Expose):
            found = [word for port in one.ports for word in self.plan.lexer.words(port, self.state.variables)]
            opened = ports.exposed(found, linter, one.lines)
            config["ExposedPorts"] = {**(config.get("ExposedPorts") or {}), **{port: {} for port in opened}}
            return opened, sorted(found)
        elif isinstance(one, i.Volume):
            if not all(one.paths):
                raise DockerfileError("VOLUME specified can not be an empty string")
            config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in one.paths}}
        elif isinstance(one, i.User):
            config["User"] = one.user
        elif isinstance(one, i.Shell):
            config["Shell"] = list(one.words)
        elif isinstance(one, i.StopSignal):
            from compatd.engine.containers.signals import parse_signal  # its package is large

            try:
                parse_signal(one.signal)
            except InvalidParameter as error:
                raise DockerfileError(error.message) from None
            config["StopSignal"] = one.signal
        elif isinstance(one, i.Onbuild):
            config["OnBuild"] = [*(config.get("OnBuild") or []), one.trigger]
        elif isinstance(one, i.Maintainer):
            self.state.image["author"] = one.text
        return None, None

    def _pairs(self, one: i.Env | i.Label, config: Json, linter: lint.Linter) -> None:
        env = isinstance(one, i.Env)
        found = {entry.partition("=")[0]: entry for entry in config.get("Env") or ()} if env else {}
        for pair in one.pairs:
            if pair.spaced:
                linter.warn("LegacyKeyValueFormat", one.lines, one.keyword)
            if env:
                lint.check_secret(linter, "ENV", pair.key, one.lines)
                self._set(pair.key, pair.value or "")
                found[pair.key] = str(pair)
        if env:
            config["Env"] = list(found.values())
        else:
            given = {pair.key: pair.value or "" for pair in one.pairs}
            config["Labels"] = {**(config.get("Labels") or {}), **given}

    def _set(self, key: str, value: str) -> None:
        self.state.variables.pop(key, None)  # the newest is the last, as RUN gets them
        self.state.variables[key] = value

    def _arg(self, one: i.Arg, linter: lint.Linter) -> tuple[list[i.Pair], list[i.Pair]]:
        """The pairs with the values that they have, and with the defaults alone (for the classic history)."""
        given = self.plan.options.build_args
        found, defaults = [], []
        for pair in one.pairs:
            lint.check_secret(linter, "ARG", pair.key, one.lines)
            value = pair.value
            shown = None if value is None else self._shown(value, self.plan.lexer, self.state.variables)
            defaults.append(i.Pair(pair.key, shown))
            if pair.key in given:
                value = given[pair.key]
            elif value is not None:
                value = self._word(one, linter, self.plan.lexer)(value)
            else:
                value = self.plan.global_args.get(pair.key)
            if value is not None and pair.key not in _NO_VARIABLES:
                self._set(pair.key, value)
            found.append(i.Pair(pair.key, value))
        self.state = replace(self.state, args=(*self.state.args, *found))
        return found, defaults

    def _command(self, one: i.Cmd | i.Entrypoint, config: Json, linter: lint.Linter) -> list[str]:
        name = "CMD" if isinstance(one, i.Cmd) else "ENTRYPOINT"
        self._once(name, one, linter)
        args = list(one.words)
        if one.shell:
            if not config.get("Shell"):
                linter.warn("JSONArgsRecommended", one.lines, one.keyword)
            args = [*self._shell(self.state), " ".join(args)]
        if name == "CMD":
            config["Cmd"], config["ArgsEscaped"] = args, True
            return args
        config["Entrypoint"] = args
        if not args:
            config.pop("Entrypoint")
        if "CMD" not in self.once:
            config.pop("Cmd", None)  # a command of the base was meant for its own entrypoint
        return args

    def _once(self, name: str, one: i.Instruction, linter: lint.Linter) -> None:
        if name in self.once:
            linter.warn("MultipleInstructionsDisallowed", self.once[name].lines, one.keyword)
        self.once[name] = one


def _with_heredocs(one: i.Run) -> tuple[list[str], i.Heredoc | None, str]:
    """What RUN with heredocs executes, its script if it has one, and how it is shown."""
    if len(one.words) != 1 or not one.shell:
        raise DockerfileError(f"parsing produced an invalid run command: [{' '.join(one.words)}]")
    text, first = one.words[0], one.files[0]
    if not words.is_heredoc(text):
        parts = "".join(f"\n{file.content}{file.name}" for file in one.files)
        return [text + parts], None, one.original
    lines = first.content.strip(SPACE).replace("\r\n", "\n").split("\n")
    shown = f"{one.original} ({lines[0]}{'...' if len(lines) > 1 else ''})"
    if first.data.startswith("#!"):
        return [SCRIPTS + first.name], i.Heredoc(first.name, first.data), shown
    return [first.data], None, shown


def _health(one: i.Healthcheck) -> Json:
    found = {
        "Interval": one.interval, "Timeout": one.timeout, "StartPeriod": one.start_period,
        "StartInterval": one.start_interval, "Retries": one.retries,
    }  # fmt: skip
    return {"Test": list(one.test), **{key: value for key, value in found.items() if value}}


def _check_ignored(one: i.Transfer, ignore: Matcher, linter: lint.Linter) -> None:
    keyword = "Add" if isinstance(one, i.Add) else "Copy"
    for path in ignored_sources(one, ignore):
        linter.warn("CopyIgnoredFile", one.lines, keyword, quote(path))
