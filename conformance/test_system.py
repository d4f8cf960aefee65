"""/_ping, /version, /info."""

import json
import os

import pytest

from conformance.cli import Cli
from conformance.engine import Engine, version


@pytest.mark.operation("SystemPing", "SystemPingHead")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ping(engine: Engine, method: str) -> None:
    answer = engine.wire.request(method, "/_ping")
    assert answer.status == 200
    assert answer.body == (b"OK" if method == "GET" else b"")
    assert answer.headers["api-version"] == engine.api
    assert answer.headers["ostype"] == "linux"
    assert answer.headers["docker-experimental"] == "false"
    assert answer.headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["server"].startswith("Docker/")
    assert answer.headers["server"].endswith("(linux)")
    assert answer.headers.get("builder-version") == engine.pick({"1.24": None, "1.42": "2"})
    assert "alt-svc" not in answer.headers


@pytest.mark.operation("SystemPing")
@pytest.mark.since("1.42")
def test_ping_tells_the_swarm_state(engine: Engine) -> None:
    assert engine.wire.request("GET", "/_ping").headers["swarm"] == "inactive"


@pytest.mark.operation("SystemVersion")
def test_version(engine: Engine) -> None:
    answer = engine.wire.request("GET", "/version")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["api-version"] == engine.api
    found = answer.json()
    assert version(found["MinAPIVersion"]) <= version("1.40") <= version(found["ApiVersion"])
    uname = os.uname()
    assert found["Os"] == "linux"
    assert found["Arch"] == {"x86_64": "amd64", "aarch64": "arm64"}.get(uname.machine, uname.machine)
    assert found["KernelVersion"] == uname.release
    assert found["Version"] and "Name" in found["Platform"]
    names = [component["Name"] for component in found["Components"]]
    assert names[0] == "Engine"
    engine_part = found["Components"][0]
    assert engine_part["Version"] == found["Version"]
    assert engine_part["Details"]["ApiVersion"] == found["ApiVersion"]
    assert engine_part["Details"]["Os"] == "linux"


@pytest.mark.operation("SystemVersion")
def test_version_by_cli(engine: Engine, cli: Cli) -> None:
    assert (
        cli.text("version", "--format", "{{.Server.Version}} {{.Server.Os}}")
        == f"{engine.version['Version']} linux"
    )
    negotiated = cli.text("version", "--format", "{{.Client.APIVersion}}")
    own = (
        version("1.41")
        if cli.major == 20
        else version(cli.text("version", "--format", "{{.Client.DefaultAPIVersion}}"))
    )
    assert version(negotiated) == min(own, version(engine.api))


@pytest.mark.operation("SystemInfo")
def test_info(engine: Engine) -> None:
    info = engine.wire.get("/info")
    assert info["OSType"] == "linux"
    assert info["Architecture"] == os.uname().machine
    assert info["NCPU"] >= 1
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert info["MemTotal"] == pages
    assert info["KernelVersion"] == os.uname().release
    assert info["ServerVersion"] == engine.version["Version"]
    assert info["DefaultRuntime"] in info["Runtimes"]
    assert info["CgroupDriver"] in {"cgroupfs", "systemd"}
    assert info["CgroupVersion"] in {"1", "2"}
    assert info["LoggingDriver"] == "json-file"
    assert info["Swarm"]["LocalNodeState"] == "inactive"
    assert {"local"} <= set(info["Plugins"]["Volume"])
    assert {"bridge", "host", "null"} <= set(info["Plugins"]["Network"])
    assert "json-file" in info["Plugins"]["Log"]
    assert any(option.startswith("name=seccomp") for option in info["SecurityOptions"])
    assert "127.0.0.0/8" in info["RegistryConfig"]["InsecureRegistryCIDRs"]
    assert info["ID"] and info["Name"] == os.uname().nodename
    for key in ("MemoryLimit", "SwapLimit", "CpuCfsQuota", "PidsLimit", "IPv4Forwarding", "OomKillDisable"):
        assert isinstance(info[key], bool), key


@pytest.mark.since("1.44")
@pytest.mark.operation("SystemInfo")
def test_what_runtimes_can(engine: Engine) -> None:
    info = engine.wire.get("/info", version="1.44")
    runtime = info["Runtimes"][info["DefaultRuntime"]]
    features = json.loads(runtime["status"]["org.opencontainers.runtime-spec.features"])
    assert features["ociVersionMin"] == "1.0.0"
    assert "rbind" in features["mountOptions"] and "CAP_CHOWN" in features["linux"]["capabilities"]
    before = engine.wire.get("/info", version="1.43")
    assert before["Runtimes"][before["DefaultRuntime"]] == {"path": runtime["path"]}


@pytest.mark.operation("SystemInfo")
def test_info_counts_containers(engine: Engine) -> None:
    """Others may make containers meanwhile, so only of our own we know: there are at least these."""
    engine.sleeper()
    engine.create("true")
    paused = engine.sleeper()
    engine.wire.post(f"/containers/{paused}/pause", status=204)
    info = engine.wire.get("/info")
    assert info["ContainersRunning"] >= 1
    assert info["ContainersPaused"] >= 1
    assert info["ContainersStopped"] >= 1
    assert (
        info["Containers"] == info["ContainersRunning"] + info["ContainersPaused"] + info["ContainersStopped"]
    )
    assert info["Images"] >= 1


@pytest.mark.operation("SystemInfo")
def test_info_by_cli(engine: Engine, cli: Cli) -> None:
    assert (
        cli.text("info", "--format", "{{.OSType}}/{{.ServerVersion}}") == f"linux/{engine.version['Version']}"
    )
    assert "Server Version: " + engine.version["Version"] in cli.text("info")


@pytest.mark.operation("SystemInfo")
def test_info_for_the_oldest_clients(engine: Engine) -> None:
    if version(engine.min_api) > version("1.24"):
        pytest.skip(f"this engine serves no API older than {engine.min_api}")
    found, newer = (engine.wire.get("/info", version=api) for api in ("1.24", "1.25"))
    names = [option.split(",")[0].removeprefix("name=") for option in newer["SecurityOptions"]]
    assert found["SecurityOptions"] == names and "seccomp" in names
    assert found["ExecutionDriver"] == "<not supported>" and "ExecutionDriver" not in newer


@pytest.mark.operation("ImageList")
def test_no_digests_for_old_clients(engine: Engine) -> None:
    for api, digests in (("1.41", None), ("1.43", []), ("1.45", [])):
        if engine.at_least(api):
            filters = {"reference": [engine.image]}
            (found,) = engine.wire.get("/images/json", version=api, filters=filters)
            assert (found["RepoTags"], found["RepoDigests"]) == ([engine.image], digests)
