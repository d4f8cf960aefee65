"""Users, groups, working directories, variables, and other fields of Config: as asked for, or why not."""

from typing import Any

import pytest

from conformance.engine import Engine

CREATE = ("ContainerCreate",)
START = ("ContainerCreate", "ContainerStart")
RUN = ("ContainerCreate", "ContainerStart", "ContainerInspect")


def create_fails(engine: Engine, host: dict[str, Any], **config: Any) -> tuple[int, str]:
    """Status and text of a create that fails; (201, "") when it does not."""
    body = {"Image": engine.image, "HostConfig": host, **config}
    answer = engine.wire.request("POST", "/containers/create", body)
    if answer.status == 201:
        engine.remove(answer.json()["Id"])
        return 201, ""
    return answer.status, answer.message


def start_fails(engine: Engine, host: dict[str, Any], **config: Any) -> tuple[int, str]:
    """The same of a start, after a create that works."""
    answer = engine.wire.request("POST", f"/containers/{engine.create('true', host=host, **config)}/start")
    return answer.status, answer.message if answer.status >= 400 else ""


@pytest.mark.operation(*START)
def test_additional_groups(engine: Engine) -> None:
    done = engine.ended("id", "-G", host={"GroupAdd": ["1234", "daemon", "1234"]})
    assert done.code == 0
    first, *rest = done.out.split()
    assert first == "0"
    assert "1234" in rest
    assert len(rest) == len(set(rest)) or not engine.at_least("1.44")


@pytest.mark.operation(*START)
@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("nobody-knows", "unable to find group nobody-knows: no matching entries in group file"),
        ("4294967296", "uids and gids must be in range 0-2147483647"),
        ("-1", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_groups_that_cannot_be(engine: Engine, group: str, message: str) -> None:
    status, found = start_fails(engine, {"GroupAdd": [group]})
    assert (status, found.lower()) == (500, message)


@pytest.mark.operation(*START)
@pytest.mark.parametrize("user", ["4294967296", "2147483648", "-1"])
def test_users_out_of_range(engine: Engine, user: str) -> None:
    found = start_fails(engine, {}, User=user)
    assert found == (500, "uids and gids must be in range 0-2147483647")


@pytest.mark.operation(*RUN)
def test_working_directory_is_made(engine: Engine) -> None:
    container = engine.create("sh", "-c", "pwd; ls -ldn .", User="1000", WorkingDir="/made/../by//us/")
    assert engine.inspect(container)["Config"]["WorkingDir"] == "/by/us"
    engine.start(container)
    assert engine.wait(container) == 0
    path, listing = engine.logs(container)[0].splitlines()
    assert path == "/by/us"
    assert listing.split()[0].startswith("drwxr-xr-x")
    assert listing.split()[2:4] == ["0", "0"]


@pytest.mark.operation("ContainerCreate", "ContainerChanges")
def test_working_directory_is_there_before_the_start(engine: Engine) -> None:
    container = engine.create("true", WorkingDir="/made/deep")
    found = {change["Path"] for change in engine.wire.get(f"/containers/{container}/changes")}
    assert {"/made", "/made/deep"} <= found


@pytest.mark.operation(*CREATE)
def test_working_directory_that_is_a_file(engine: Engine) -> None:
    found = create_fails(engine, {}, WorkingDir="/bin/busybox")
    assert found == (500, "Cannot mkdir: /bin/busybox is not a directory")


@pytest.mark.operation(*RUN)
def test_environment(engine: Engine) -> None:
    given = ["A=1", "B=", "C", "A=2", "D E=f=g", "HOME=/x"]
    done = engine.ended("/bin/env", Env=given)
    lines = done.out.splitlines()
    assert {"A=2", "B=", "D E=f=g", "HOME=/x"} <= set(lines)
    assert not [line for line in lines if line.startswith("C=") or line in ("C", "A=1")]
    assert engine.inspect(done.id)["Config"]["Env"][: len(given)] == given


@pytest.mark.operation(*RUN)
def test_shell_and_triggers_are_shown(engine: Engine) -> None:
    container = engine.create("true", Shell=["/bin/ash", "-c"], OnBuild=["RUN true"])
    config = engine.inspect(container)["Config"]
    assert (config["Shell"], config["OnBuild"]) == (["/bin/ash", "-c"], ["RUN true"])


@pytest.mark.operation(*CREATE)
def test_storage_options(engine: Engine) -> None:
    assert create_fails(engine, {"StorageOpt": {"bogus": "1"}}) == (500, "Unknown option bogus")
    status, message = create_fails(engine, {"StorageOpt": {"size": "1G"}})
    text = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
    assert (status, message) in ((201, ""), (500, text))


@pytest.mark.operation(*RUN)
@pytest.mark.since("1.43")
def test_annotations(engine: Engine) -> None:
    container = engine.create("true", host={"Annotations": {"org.example.a": "b"}})
    assert engine.inspect(container)["HostConfig"]["Annotations"] == {"org.example.a": "b"}
    assert create_fails(engine, {"Annotations": {"": "x"}}) == (
        400,
        "invalid Annotations: the empty string is not permitted as an annotation key",
    )
