"""Steps by the classic door: what ONBUILD brings is refused like what a Dockerfile says itself."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from compatd.engine.builder import steps
from compatd.engine.builder.dockerfile import parser, typed
from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.request import BUILDKIT, CLASSIC
from compatd.engine.builder.running import place


def _made(text: str, door: str) -> Any:
    one = typed.instruction(parser.parse(text.encode()).nodes[0])
    step = SimpleNamespace(kind="run", instruction=one)
    return steps.make(cast(Any, None), cast(Any, SimpleNamespace(door=door)), cast(Any, step), (), ())


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("--security=insecure", "security"),
        ("--network=host", "network"),
        ("--network=none", "network"),
        ("--mount=type=cache,target=/x", "mount"),
    ],
)
def test_triggers_get_no_privileges_by_the_classic_door(flag: str, name: str) -> None:
    """`ONBUILD RUN --security=insecure` was a privileged container for whoever may have none."""
    text = f"RUN {flag} true"
    with pytest.raises(BuildError, match=f"the --{name} option requires BuildKit"):
        _made(text, CLASSIC)
    assert _made(text, BUILDKIT) is not None
    assert _made("RUN true", CLASSIC) is not None


@pytest.mark.parametrize("classic", [True, False])
def test_nothing_is_privileged_without_a_grant(classic: bool) -> None:
    run = SimpleNamespace(classic=classic, network="default", security="insecure", entitlements=frozenset())
    with pytest.raises(BuildError, match=r"security\.insecure is not allowed"):
        place.check_entitlements(cast(Any, run))
