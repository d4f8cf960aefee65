"""Steps of a stage: expanded instructions, titles, configs, histories in both builders' words."""

# ruff: noqa: E501  (texts of errors in one piece)

import copy
import time
from collections.abc import Mapping
from typing import Any

import pytest

from compatd.engine.builder import history
from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.parser import parse
from compatd.engine.builder.evaluate import evaluate
from compatd.engine.builder.graph import Options, plan
from compatd.engine.builder.sources import kind, normal_path
from compatd.engine.builder.state import PATH, State, Step, proxy_environment
from compatd.engine.errors import EngineError
from compatd.engine.images.platform import Platform

HERE = Platform("linux", "amd64")


def run(text: str, base: Mapping[str, Any] | None = None, **options: Any) -> tuple[list[Step], State]:
    """All steps of the target, stages evaluated one after the other."""
    made = plan(parse(text.encode()), Options(**options), HERE)
    states: dict[int, State] = {}
    steps: list[Step] = []
    for index in made.needed:
        parent = made.stages[index].parent
        steps, states[index] = evaluate(made, index, states[parent] if parent is not None else base)
    return steps, states[made.target]


def body(lines: str, base: Mapping[str, Any] | None = None, **options: Any) -> tuple[list[Step], State]:
    return run("FROM scratch\n" + lines, base, **options)


def test_scratch() -> None:
    steps, state = run("FROM scratch")
    assert steps == []
    assert state.image == {
        "architecture": "amd64", "os": "linux", "config": {"Env": [f"PATH={PATH}"], "WorkingDir": "/"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "key", "value", "created_by", "classic"),
    [
        ("ENV a=$PATH:/x", "Env", [f"PATH={PATH}", f"a={PATH}:/x"], f"ENV a={PATH}:/x", f" ENV a={PATH}:/x"),
        ("LABEL a=b \"c d\"='e f'", "Labels", {"a": "b", "c d": "e f"}, "LABEL a=b c d=e f", " LABEL a=b c d=e f"),
        ("USER a$none", "User", "a", "USER a", " USER a"),
        ("WORKDIR a/../b", "WorkingDir", "/b", "WORKDIR /b", "WORKDIR /b"),
        ("VOLUME /a /b", "Volumes", {"/a": {}, "/b": {}}, "VOLUME [/a /b]", " VOLUME [/a /b]"),
        ("EXPOSE 81-82/UDP 80", "ExposedPorts", {"80/tcp": {}, "81/udp": {}, "82/udp": {}},
         "EXPOSE [80/tcp 81/udp 82/udp]", " EXPOSE 80 81-82/UDP"),
        ("STOPSIGNAL SIGTERM", "StopSignal", "SIGTERM", "STOPSIGNAL SIGTERM", " STOPSIGNAL SIGTERM"),
        ('SHELL ["/bin/a", "-c"]', "Shell", ["/bin/a", "-c"], "SHELL [/bin/a -c]", " SHELL [/bin/a -c]"),
        ("CMD a $b", "Cmd", ["/bin/sh", "-c", "a $b"], 'CMD ["/bin/sh" "-c" "a $b"]', ' CMD ["/bin/sh" "-c" "a $b"]'),
        ('ENTRYPOINT ["a\\t"]', "Entrypoint", ["a\t"], 'ENTRYPOINT ["a\\t"]', ' ENTRYPOINT ["a\\t"]'),
        ("ENTRYPOINT []", "Entrypoint", None, "ENTRYPOINT []", " ENTRYPOINT []"),
        ("ONBUILD RUN a", "OnBuild", ["RUN a"], "ONBUILD RUN a", " ONBUILD RUN a"),
        ("HEALTHCHECK --interval=90s --retries=3 CMD a", "Healthcheck",
         {"Test": ["CMD-SHELL", "a"], "Interval": 90_000_000_000, "Retries": 3},
         "HEALTHCHECK {Test:[CMD-SHELL a] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}",
         ' HEALTHCHECK &{["CMD-SHELL" "a"] "1m30s" "0s" "0s" "0s" \'\\x03\'}'),
        ("MAINTAINER a b", "author", "a b", "MAINTAINER a b", " MAINTAINER a b"),
    ],
)  # fmt: skip
def test_configs_and_texts(line: str, key: str, value: Any, created_by: str, classic: str) -> None:
    (step,), state = body(line)
    assert (state.config.get(key) if key != "author" else state.image["author"]) == value
    assert step.created_by == created_by
    shell = "/bin/a -c" if key == "Shell" else "/bin/sh -c"
    assert step.classic_created_by == f"{shell} #(nop) {classic}"
    if key != "OnBuild":  # BuildKit writes no history for these
        entry = state.image["history"][-1]
        assert entry["created_by"] == created_by
        assert entry.get("empty_layer", False) is (key != "WorkingDir")


def test_variables_see_what_was_before_the_instruction() -> None:
    _, state = body("ENV a=1\nENV a=2 b=$a\nLABEL x=$a$b")
    assert state.config["Labels"] == {"x": "21"}
    assert list(state.variables)[-2:] == ["a", "b"]


def test_arguments() -> None:
    text = (
        "ARG glob=g\nFROM scratch AS one\nARG glob\nARG a=1 none\nARG b=${a}x\nENV a=env\nARG TARGETARCH\n"
        "RUN x\nFROM one\nRUN y\n"
    )
    (first, *_), _ = run(text, build_args={"given": "no"})
    assert first.args == ("/bin/sh", "-c", "y")
    assert first.created_by == ("RUN |5 glob=g a=env none= b=1x TARGETARCH=amd64 /bin/sh -c y # buildkit")
    assert first.classic_created_by == "|3 TARGETARCH=amd64 b=1x glob=g /bin/sh -c y"
    assert first.environment == [
        f"PATH={PATH}", "glob=g", "b=1x", "a=env", "TARGETARCH=amd64",
    ]  # fmt: skip
    _, state = run(text, build_args={"a": "2", "none": "", "b": "given"})
    assert (state.variables["b"], state.variables["none"]) == ("given", "")


def test_an_argument_from_outside_replaces_a_default_that_is_wrong() -> None:
    with pytest.raises(DockerfileError, match="missing '}'"):
        body("ARG a=${b:-")
    assert body("ARG a=${b:-", build_args={"a": "1"})[1].variables["a"] == "1"


def test_a_command_of_the_base_goes_with_its_entrypoint() -> None:
    base = {"config": {"Cmd": ["a"], "Entrypoint": ["b"], "OnBuild": ["RUN x"], "Env": ["A=1"]}}
    kept = copy.deepcopy(base)
    _, state = run('FROM base\nENTRYPOINT ["c"]', base)
    assert (state.config.get("Cmd"), state.config["Entrypoint"]) == (None, ["c"])
    assert state.config["Env"] == ["A=1", f"PATH={PATH}"]
    assert "OnBuild" not in state.config
    _, state = run('FROM base\nCMD ["d"]\nENTRYPOINT ["c"]', base)
    assert (state.config["Cmd"], state.config["ArgsEscaped"]) == (["d"], True)
    assert base == kept


def test_steps_do_not_change_what_came_before() -> None:
    steps, _ = body("ENV a=1\nLABEL b=c\nEXPOSE 80")
    assert "Labels" not in steps[0].state.config
    assert [len(step.state.image["history"]) for step in steps] == [1, 2, 3]
    assert steps[1].before is steps[0].state


def test_titles() -> None:
    text = 'FROM base AS b\nRUN --mount=type=secret,id=s,env=S a $x "$PATH" $S\nenv x=1\nworkdir w\n'
    steps, _ = run(text, {"config": {"Env": ["PATH=/p"]}})
    assert [step.title for step in steps if step.title] == [
        '[2/3] RUN --mount=type=secret,id=s,env=S a $x "/p" ****',
        "[3/3] WORKDIR w",
    ]
    steps, _ = run(text + "FROM b\nCOPY a $x\n", several_platforms=True)
    assert [step.title for step in steps] == ["[linux/amd64 stage-1 1/1] COPY a 1"]


def test_run_with_heredocs() -> None:
    script, _ = body("RUN <<-E\n\t#!/bin/x\n\ta $b\nE")
    assert script[0].args == ("/bin/sh", "-c", "/dev/pipes/E")
    assert script[0].script is not None
    assert script[0].script.content == "#!/bin/x\na $b\n"
    assert script[0].title == "[1/1] RUN <<-E (#!/bin/x...)"
    plain, _ = body("RUN <<E\na\nE")
    assert (plain[0].args[-1], plain[0].script) == ("a\n", None)
    mixed, _ = body("RUN cat <<A <<B\n1\nA\n2\nB")
    assert mixed[0].args[-1] == "cat <<A <<B\n1\nA\n2\nB"


def test_copy_and_add() -> None:
    text = "WORKDIR /w\nENV d=out\nCOPY --chown=$d:1 --chmod=755 --link a b $d/\nCOPY <<E .\n$d\nE\nADD a .\n"
    steps, state = body(text)
    assert [step.destination for step in steps[2:]] == ["/w/out/", "/w/", "/w/"]
    assert steps[2].created_by == "COPY --chown=out:1 --chmod=755 a b out/ # buildkit"
    assert steps[3].created_by == "COPY <<E . # buildkit"
    copied: Any = steps[3].instruction
    assert copied.contents[0].data == "out\n"
    one: Any = steps[2].instruction
    assert history.classic_text(one, None, ["/bin/sh", "-c"], "file:12") == (
        "/bin/sh -c #(nop) COPY --chown=out:1 file:12 in out/ "
    )
    assert sum("empty_layer" not in entry for entry in state.image["history"]) == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("COPY http://a/b /", "source can't be a URL for COPY"),
        ("COPY git@github.com:a/b.git /", "source can't be a git ref for COPY"),
        (
            "COPY --chmod=8 a b",
            "invalid chmod parameter: '8'. it should be octal string and between 0 and 07777",
        ),
        ("ADD --checksum=sha256:0 a b", "checksum requires HTTP(S) or Git sources"),
        ("ADD --checksum=x http://a http://b /", "checksum can't be specified for multiple sources"),
        ("EXPOSE a", "invalid containerPort: a"),
        ("EXPOSE 80/x", 'invalid port: "80/x": invalid proto: x'),
        ("EXPOSE 70000", "invalid containerPort: 70000"),
        ("EXPOSE 1:2:80", "invalid IP address: 1"),
        ("EXPOSE /tcp", 'invalid port: "/tcp": no port specified'),
        ("STOPSIGNAL NONE", "invalid signal: NONE"),
        ("USER ${a?why}", 'failed to process "${a?why}": a: why'),
        ("RUN --mount=type=${t},target=/x y", 'unsupported mount type ""'),
    ],
)
def test_errors(line: str, message: str) -> None:
    with pytest.raises(EngineError) as caught:
        body("\n" + line)
    assert caught.value.message == message
    assert isinstance(caught.value, DockerfileError)
    assert caught.value.locations == [(3, 3)]


def test_labels_from_outside_are_the_targets() -> None:
    _, state = body("LABEL a=b", labels={"a": "c", "d": "e"})
    assert state.config["Labels"] == {"a": "c", "d": "e"}


def test_triggers_show_as_such() -> None:
    made = plan(parse(b"FROM base\nRUN own"), Options(), HERE).with_triggers(0, ["RUN t"])
    steps, _ = evaluate(made, 0, {"config": {}})
    assert [step.title for step in steps] == ["[2/3] ONBUILD RUN t", "[3/3] RUN own"]


def test_proxies() -> None:
    assert proxy_environment({"HTTP_PROXY": "p", "No_Proxy": "n", "x": "y", "https_proxy": ""}) == [
        "HTTP_PROXY=p", "http_proxy=p", "NO_PROXY=n", "no_proxy=n",
    ]  # fmt: skip


def test_values_that_grow_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["ENV a=" + "x" * 1000] + ["ENV a=$a$a$a$a"] * 20
    with pytest.raises(DockerfileError, match="longer than"):
        body("\n".join(lines))
    monkeypatch.setattr("compatd.engine.builder.evaluate.MAX_EXPANDED", 1 << 20)
    with pytest.raises(DockerfileError, match="expand to more than"):
        body("ENV a=" + "x" * 6_000 + "\n" + "USER $a$a$a$a$a$a$a$a$a$a\n" * 20)


@pytest.mark.parametrize("word", ["${a//x/}", "${a%%x*}", "${a#x*}"])
def test_patterns_that_come_to_nothing_are_bounded(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`${a//x/}` of four megabytes is empty, and takes seconds: so a Dockerfile held a thread for hours."""
    monkeypatch.setattr("compatd.engine.builder.dockerfile.expand.MAX_WORK", 1 << 20)
    with pytest.raises(DockerfileError, match="takes too long"):
        body("ENV a=" + "x" * 400 + "\n" + f"ENV c={word * 5}\n" * 10)
    body("ENV a=" + "x" * 400 + "\n" + f"ENV c={word * 5}\n" * 5)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a", "local"),
        ("github.com/a/b", "local"),
        ("http://a/b.tar", "http"),
        ("https://github.com/a/b.git", "git"),
        ("https://github.com/a/b.git#v1:sub", "git"),
        ("git://a/b", "git"),
        ("git@github.com:a/b", "git"),
        ("ssh://git@h/a", "git"),
    ],
)
def test_kinds_of_sources(source: str, expected: str) -> None:
    assert kind(source) == expected


def test_paths() -> None:
    assert normal_path("/a", "b/../c/", keep_slash=True) == "/a/c/"
    assert normal_path("/a", "b/.", keep_slash=True) == "/a/b/."
    assert normal_path("/a", "", keep_slash=True) == "/a/"
    assert normal_path("/a", "../../../x") == "/x"
    assert normal_path("", "x") == "/x"
    assert normal_path("/a", "/b/../c") == "/b/../c"


def test_many_stages_on_each_other() -> None:
    text = "FROM scratch AS s0\n" + "".join(
        f"FROM s{number} AS s{number + 1}\nENV e{number}=$PATH\n" for number in range(900)
    )
    begin = time.process_time()
    _, state = run(text)
    assert len(state.config["Env"]) == 901
    assert time.process_time() - begin < 20  # it takes some 0.3 s


def test_a_named_context_is_counted_and_has_no_number() -> None:
    steps, _ = run("FROM foo\nCOPY a /\nRUN b", {"config": {}}, contexts=["foo"])
    assert [step.title for step in steps] == ["[1/3] COPY a /", "[2/3] RUN b"]
