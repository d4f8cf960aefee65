"""commit's `changes`: instructions of a Dockerfile, what each comes to, and how it is refused."""

from collections.abc import Iterator
from typing import Any

import pytest

from conformance.engine import Engine

COMMIT = "ImageCommit"


@pytest.fixture(scope="module")
def container(engine: Engine) -> Iterator[str]:
    """One to commit: it never runs."""
    made = engine.create(
        "true", Env=["A=1"], WorkingDir="/w", Cmd=["x"], Entrypoint=["y"], ExposedPorts={"1/tcp": {}}
    )
    engine.keep.add(made)
    yield made
    engine.keep.discard(made)
    engine.remove(made)


@pytest.mark.operation(COMMIT)
@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        (("ENV B=$A C=${N:-x}", "ENV D=$B"), {"Env": ["B=1", "C=x", "D=1"]}),
        (("env a=\\\nb\nLABEL l=$A\n# x\n",), {"Env": ["a=b"], "Labels": {"l": "1"}}),
        (("LABEL a b c",), {"Labels": {"a": "b c"}}),
        (("CMD x",), {"Cmd": ["/bin/sh", "-c", "x"], "Entrypoint": ["y"]}),
        (("ENTRYPOINT x",), {"Cmd": None, "Entrypoint": ["/bin/sh", "-c", "x"]}),
        (('CMD ["a"]', 'ENTRYPOINT ["b"]'), {"Cmd": ["a"], "Entrypoint": ["b"]}),
        (('CMD ["a"',), {"Cmd": ["/bin/sh", "-c", '["a"']}),
        (("WORKDIR x/$A",), {"WorkingDir": "/w/x/1"}),
        (("USER ${A:?bad}",), {"User": "1"}),
        (("EXPOSE 80 $A/udp",), {"ExposedPorts": {"1/tcp": {}, "1/udp": {}, "80/tcp": {}}}),
        (("VOLUME /a", 'VOLUME ["/c d"]'), {"Volumes": {"/a": {}, "/c d": {}}}),
        (("ONBUILD RUN x", "ONBUILD USER y"), {"OnBuild": ["RUN x", "USER y"]}),
        (
            ('HEALTHCHECK --interval=5s --timeout=1s --retries=2 CMD ["a"]',),
            {"Healthcheck": {"Test": ["CMD", "a"], "Interval": 5 * 10**9, "Timeout": 10**9, "Retries": 2}},
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_changes(engine: Engine, container: str, changes: tuple[str, ...], fields: dict[str, Any]) -> None:
    image = engine.wire.post("/commit", status=201, container=container, changes=changes).json()["Id"]
    try:
        config = engine.wire.get(f"/images/{image}/json")["Config"]
    finally:
        engine.wire.request("DELETE", f"/images/{image}", force=True)
    config["Env"] = [entry for entry in config["Env"] if entry[:2] != "A=" and entry[:5] != "PATH="]
    config["Labels"].pop("conformance.run", None)
    assert {key: config.get(key) for key in fields} == fields


@pytest.mark.operation(COMMIT)
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("# x", "file with no instructions"),
        ("", "file with no instructions"),
        ("ENV x", "ENV must have two arguments"),
        ("ENV", "ENV requires at least one argument"),
        ("Env =x", "ENV names can not be blank"),
        ("ENV a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
        ("LABEL <<EOF", "LABEL must have two arguments"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ('VOLUME [""]', "VOLUME specified can not be an empty string"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK --interval=1x CMD x", 'time: unknown unit "x" in duration "1x"'),
        ("HEALTHCHECK --interval=1us CMD x", 'Interval "interval" cannot be less than 1ms'),
        ("HEALTHCHECK x", 'Unknown type "X" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("USER ${B:?bad}", 'failed to process "${B:?bad}": B: bad'),
        ("USER ${", "failed to process \"${\": syntax error: missing '}'"),
        ("RUN x", {"1.25": "run is not a valid change command", "1.43": "RUN is not a valid change command"}),
        (
            "HEALTHCHECK --a=1 CMD x",
            {"1.25": "Unknown flag: a", "1.43": "unknown flag: a", "1.48": "unknown flag: --a"},
        ),
        ("EXPOSE x", {"1.25": "Invalid containerPort: x", "1.48": "invalid containerPort: x"}),
    ],
)
def test_changes_that_are_none(engine: Engine, container: str, change: str, text: Any) -> None:
    answer = engine.wire.request("POST", "/commit", container=container, changes=(change,))
    wanted = engine.pick(text) if isinstance(text, dict) else text
    assert (answer.status, answer.message) == (400, wanted)
