"""Merging image and request, names, signals, capabilities."""

import pytest

from compatd.engine.containers import capabilities, merge, names, signals
from compatd.engine.containers.hostconfig import fill_host_defaults, user_host_config
from compatd.engine.containers.registry import Registry
from compatd.engine.errors import Conflict, InvalidParameter

from .fakes import FakeTable

IMAGE = {
    "User": "app",
    "Env": ["PATH=/bin", "A=image"],
    "Cmd": ["run"],
    "Entrypoint": ["/entry"],
    "Labels": {"a": "1", "b": "2"},
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/data": {}},
    "WorkingDir": "/srv",
    "StopSignal": "SIGINT",
    "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5},
}


def merged(**body: object) -> dict[str, object]:
    config = merge.user_config(dict(body))
    merge.merge_config(config, IMAGE)
    return config


def test_image_fills_what_the_user_left_out() -> None:
    config = merged()
    assert config["Env"] == ["PATH=/bin", "A=image"]
    assert (config["Entrypoint"], config["Cmd"]) == (["/entry"], ["run"])
    assert config["User"] == "app"
    assert config["WorkingDir"] == "/srv"
    assert config["ExposedPorts"] == {"80/tcp": {}}
    assert config["Volumes"] == {"/data": {}}
    assert config["StopSignal"] == "SIGINT"


def test_maps_are_joined_by_key() -> None:
    config = merged(Env=["A=mine", "B"], Labels={"a": "x"}, ExposedPorts={"81/tcp": {}})
    assert config["Env"] == ["A=mine", "B", "PATH=/bin"]
    assert config["Labels"] == {"a": "x", "b": "2"}
    assert config["ExposedPorts"] == {"80/tcp": {}, "81/tcp": {}}


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "expected"),
    [
        (None, None, (["/entry"], ["run"])),
        (None, ["x"], (["/entry"], ["x"])),
        (["/mine"], None, (["/mine"], None)),
        (["/mine"], ["x"], (["/mine"], ["x"])),
        ([""], ["x"], (None, ["x"])),
        ([], None, ([], ["run"])),
        ("/string", None, (["/string"], None)),
    ],
)
def test_entrypoint_discards_the_images_command(entrypoint: object, cmd: object, expected: object) -> None:
    config = merged(Entrypoint=entrypoint, Cmd=cmd)
    assert (config["Entrypoint"], config["Cmd"]) == expected


def test_healthcheck_is_merged_field_by_field() -> None:
    assert merged(Healthcheck={"Retries": 3})["Healthcheck"] == {
        "Retries": 3,
        "Test": ["CMD", "x"],
        "Interval": 5,
    }


def test_nothing_to_run_is_an_error() -> None:
    config = merge.user_config({"Image": "x"})
    with pytest.raises(InvalidParameter, match="no command specified"):
        merge.merge_config(config, {"Env": []})


def test_environment_can_be_replaced_and_removed() -> None:
    assert merge.override_environment(["A=1", "B=2"], ["B=3", "A", "C=4"]) == ["B=3", "C=4"]


def test_host_defaults_are_dockers() -> None:
    host = user_host_config({"Memory": 10 << 20, "Privileged": False})
    fill_host_defaults(host, cgroup_v2=False, shm_size=1 << 26, ipc_mode="private", cgroupns="host")
    assert host["MemorySwap"] == 20 << 20
    assert host["ShmSize"] == 67108864
    assert host["NetworkMode"] == "bridge"
    assert host["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert host["SecurityOpt"] is None
    assert "/proc/kcore" in host["MaskedPaths"]
    assert "Mounts" not in host


def test_privileged_masks_nothing() -> None:
    host = user_host_config({"Privileged": True})
    fill_host_defaults(host, cgroup_v2=True, shm_size=1, ipc_mode="private", cgroupns="private")
    assert host["MaskedPaths"] is None
    assert host["SecurityOpt"] == ["label=disable"]
    assert host["CgroupnsMode"] == "private"


@pytest.mark.parametrize("name", ["-x", "a b", "/", "x", "a/b", "ä1", "ok\n"])
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidParameter) as error:
        names.check_name(name)
    assert error.value.message == (
        f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )


def test_a_name_is_one_containers() -> None:
    registry = Registry(FakeTable())
    assert registry.reserve("1" * 64, "/web") == "web"
    with pytest.raises(Conflict) as error:
        registry.reserve("2" * 64, "web")
    assert error.value.message == (
        f'Conflict. The container name "/web" is already in use by container "{"1" * 64}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )
    registry.release("web")
    assert registry.reserve("2" * 64, "web") == "web"


def test_random_names_are_valid_and_taken_ones_are_passed_over() -> None:
    registry = Registry(FakeTable())
    seen = {registry.reserve(f"{number:064}", "") for number in range(500)}
    assert len(seen) == 500
    for name in seen:
        names.check_name(name)


@pytest.mark.parametrize(("text", "number"), [("KILL", 9), ("sigterm", 15), ("2", 2), ("RTMIN+1", 35)])
def test_signals(text: str, number: int) -> None:
    assert signals.parse_signal(text) == number


@pytest.mark.parametrize("text", ["FOO", "0", ""])
def test_bad_signals(text: str) -> None:
    with pytest.raises(InvalidParameter, match=f"invalid signal: {text}"):
        signals.parse_signal(text)


def test_detach_keys() -> None:
    assert signals.parse_detach_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert signals.parse_detach_keys("a,ctrl-@,DEL") == b"a\x00\x7f"
    with pytest.raises(ValueError, match="ctrl-foo"):
        signals.parse_detach_keys("ctrl-foo")


HAVE = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"]


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        (None, None, ["CAP_CHOWN", "CAP_KILL"]),
        (["net_admin"], ["CAP_KILL"], ["CAP_CHOWN", "CAP_NET_ADMIN"]),
        (["ALL"], ["SYS_ADMIN"], ["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN"]),
        (["KILL"], ["ALL"], ["CAP_KILL"]),
        (None, ["all"], []),
    ],
)
def test_capabilities(add: list[str], drop: list[str], expected: list[str]) -> None:
    found = capabilities.effective(add, drop, privileged=False, have=HAVE)
    assert sorted(found) == sorted(expected)


def test_capabilities_that_do_not_exist_or_are_not_here() -> None:
    with pytest.raises(InvalidParameter, match='unknown capability: "CAP_NOPE"'):
        capabilities.effective(["nope"], None, privileged=False, have=HAVE)
    with pytest.raises(InvalidParameter, match="not available in the current environment"):
        capabilities.effective(["bpf"], None, privileged=False, have=HAVE)
