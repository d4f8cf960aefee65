"""Clients that build by the classic door: command lines without buildx, Compose, docker-py, aiodocker,
Testcontainers, Ansible.
"""

import asyncio
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance import cli as command_line
from conformance import netns
from conformance.builds import context
from conformance.cli import Cli
from conformance.engine import LABEL, Engine
from conformance.test_clients_ansible import PROGRAM, failures

BUILD = "ImageBuild"
CLIENTS = Path(__file__).parent / "clients"


@pytest.fixture
def classic(cli: Cli, engine: Engine, tmp_path: Path) -> Cli:
    """A command line without plugins that is told not to ask for BuildKit."""
    made = Cli(cli.path, engine.host, tmp_path / "config")
    made.config.mkdir()
    made.env["DOCKER_BUILDKIT"] = "0"
    return made


@pytest.fixture
def folder(engine: Engine, tmp_path: Path) -> Path:
    """A project as people have them."""
    made = tmp_path / "project"
    (made / "src").mkdir(parents=True)
    (made / "node_modules").mkdir()
    (made / "Dockerfile").write_text(
        f"FROM {engine.image} AS first\nARG word=none\nRUN echo $word >/word; : {engine.name()}\n"
        "FROM first AS second\nCOPY . /app\nRUN ls -A /app && cat /word && grep some /etc/hosts; true\n"
    )
    (made / ".dockerignore").write_text("node_modules\n*.log\n!keep.log\nDockerfile\n.dockerignore\n")
    for name in ("src/main", "node_modules/big", "a.log", "keep.log"):
        (made / name).write_text(name + "\n")
    return made


def run_label(engine: Engine) -> tuple[str, str]:
    return "--label", f"{LABEL}={engine.run_id}"


@pytest.mark.operation(BUILD)
def test_docker_build(engine: Engine, classic: Cli, folder: Path) -> None:
    tag = f"{engine.prefix}/cli-{engine.name()}"
    options = (*run_label(engine), "--build-arg", "word=given", "--add-host", "somewhere:192.0.2.7")
    done = classic("build", *options, "-t", f"{tag}:1", "-t", f"{tag}:2", str(folder))
    out = done.out
    assert "Step 1/7 : FROM" in out and f"Successfully tagged {tag}:2" in out
    assert "keep.log\nsrc\ngiven\n192.0.2.7\tsomewhere\n" in out
    assert "node_modules" not in out and "Dockerfile" not in out.split("Running in")[-2]
    again = classic("build", *options, str(folder)).out
    assert again.count("Using cache") == 5
    fresh = classic("build", *options, "--no-cache", "--rm=false", str(folder)).out
    assert "Using cache" not in fresh and "intermediate" not in fresh


@pytest.mark.operation(BUILD)
def test_quiet_and_files_of_ids(engine: Engine, classic: Cli, folder: Path, tmp_path: Path) -> None:
    quiet = classic("build", "-q", *run_label(engine), str(folder))
    image = quiet.out.strip()
    assert engine.wire.get(f"/images/{image}/json")["Id"] == image
    file = tmp_path / "iid"
    target = classic("build", "--target", "first", "--iidfile", str(file), *run_label(engine), str(folder))
    assert "Step 1/4" in target.out
    assert engine.wire.get(f"/images/{file.read_text()}/json")["Config"]["Labels"] == engine.labels


@pytest.mark.operation(BUILD)
def test_failures_and_their_codes(engine: Engine, classic: Cli, folder: Path) -> None:
    (folder / "Dockerfile").write_text(f"FROM {engine.image}\nRUN echo before; exit 7\n")
    failed = classic("build", *run_label(engine), str(folder), check=False)
    text = "The command '/bin/sh -c echo before; exit 7' returned a non-zero code: 7"
    assert failed.code == 7 and failed.err.strip().endswith(text) and failed.out.endswith("before\n")
    (folder / "Dockerfile").write_text(f"FROM {engine.image}\nNONSENSE\n")
    failed = classic("build", str(folder), check=False)
    assert failed.code == 1 and "unknown instruction: NONSENSE" in failed.err
    missing = classic("build", "--target", "none", "-f", str(folder / "Dockerfile"), str(folder), check=False)
    assert missing.code == 1


@pytest.mark.operation(BUILD)
def test_standard_input(engine: Engine, classic: Cli, folder: Path) -> None:
    text = f"FROM {engine.image}\nRUN echo from stdin\n"
    done = classic("build", *run_label(engine), "-", stdin=text.encode())
    assert "from stdin" in done.out
    word = engine.name()
    body = context(None, {"Own": f"FROM {engine.image}\nCOPY f /f\nRUN cat /f\n", "f": f"{word}\n"})
    done = classic("build", *run_label(engine), "-f", "Own", "-", stdin=body)
    assert word in done.out
    done = classic(
        "build", *run_label(engine), "-f", "-", str(folder), stdin=text.encode() + b"COPY src /s\n"
    )
    assert "COPY src /s" in done.out and "Successfully built" in done.out


@pytest.mark.operation(BUILD)
def test_limits_and_networks(engine: Engine, classic: Cli, folder: Path) -> None:
    word = engine.name()
    (folder / "Dockerfile").write_text(
        f"FROM {engine.image}\nRUN : {word}; ls /sys/class/net; ulimit -n; df -k /dev/shm | tail -1\n"
    )
    limits = ("--memory", "64m", "--cpu-shares", "512", "--cpuset-cpus", "0", "--cpu-quota", "50000")
    more = ("--ulimit", "nofile=77:77", "--shm-size", "4m", "--network", "none")
    done = classic("build", *run_label(engine), *limits, *more, str(folder))
    lines = done.out.split("Running in")[1].splitlines()[1:]
    assert lines[:2] == ["lo", "77"] and " 4096 " in lines[2]


# Compose ---------------------------------------------------------------------------------------------------


@pytest.mark.operation(BUILD)
def test_compose(engine: Engine, folder: Path, tmp_path: Path) -> None:
    newest = max(
        command_line.found(), key=lambda path: [int(n) for n in command_line.version_of(path).split(".")]
    )
    cli = Cli(newest, engine.host, tmp_path / "config")
    cli.config.mkdir()
    cli.env["DOCKER_BUILDKIT"] = "0"
    if not cli.plug("docker-compose"):
        pytest.skip("CONFORMANCE_PLUGINS names no folder with docker-compose")
    name = engine.name("built").lower()
    (folder / "compose.yaml").write_text(
        json.dumps(
            {
                "services": {
                    "app": {
                        "build": {
                            "context": ".",
                            "target": "second",
                            "args": {"word": "composed"},
                            "labels": engine.labels,
                        },
                        "image": f"{engine.prefix}/{name}",
                        "command": ["cat", "/word", "/app/src/main"],
                        "network_mode": "none",
                    }
                }
            }
        )
    )
    try:
        built = cli("compose", "-p", name, "--project-directory", str(folder), "build", timeout=120)
        assert "Successfully built" in built.out + built.err
        done = cli("compose", "-p", name, "--project-directory", str(folder), "up", "--build", timeout=120)
        assert "composed" in done.out and "src/main" in done.out
    finally:
        cli("compose", "-p", name, "--project-directory", str(folder), "down", check=False)


# From Python -----------------------------------------------------------------------------------------------


@pytest.mark.operation(BUILD)
def test_docker_py(engine: Engine, folder: Path) -> None:
    images = engine.docker.images
    tag = f"{engine.prefix}/py:1"
    image, logs = images.build(
        path=str(folder), tag=tag, rm=True, buildargs={"word": "py"}, target="second", labels=engine.labels,
        network_mode="none", container_limits={"memory": 64 << 20}, extra_hosts={"somewhere": "192.0.2.7"},
        cache_from=[engine.image], shmsize=1 << 20, pull=False,
    )  # fmt: skip
    assert tag in image.tags
    text = "".join(one.get("stream", "") for one in logs)
    assert "keep.log\nsrc\npy\n192.0.2.7\tsomewhere\n" in text
    file = io.BytesIO(f"FROM {engine.image}\nRUN echo file\n".encode())
    image, logs = images.build(fileobj=file, labels=engine.labels)
    assert any("file" in one.get("stream", "") for one in logs)
    tar = io.BytesIO(context(f"FROM {engine.image}\nCOPY f /f\n", {"f": "1"}))
    image, _ = images.build(fileobj=tar, custom_context=True, labels=engine.labels)
    assert image.history()[1]["CreatedBy"].startswith("/bin/sh -c #(nop) COPY file:")


@pytest.mark.operation(BUILD)
def test_docker_py_errors(engine: Engine) -> None:
    import docker  # type: ignore[import-untyped, unused-ignore]

    def build(text: str) -> Any:
        return engine.docker.images.build(fileobj=io.BytesIO(text.encode()), labels=engine.labels)

    with pytest.raises(docker.errors.BuildError) as caught:
        build(f"FROM {engine.image}\nRUN echo seen; false\n")
    assert caught.value.msg == "The command '/bin/sh -c echo seen; false' returned a non-zero code: 1"
    assert any("seen" in one.get("stream", "") for one in caught.value.build_log)
    with pytest.raises(docker.errors.APIError, match="unknown instruction: NONSENSE"):
        build(f"FROM {engine.image}\nNONSENSE\n")


@pytest.mark.operation(BUILD)
def test_aiodocker(engine: Engine) -> None:
    import aiodocker

    tag = f"{engine.prefix}/aiobuild:1"

    async def scenario() -> list[Any]:
        client = aiodocker.Docker(url=engine.host)
        try:
            body = io.BytesIO(context(f"FROM {engine.image}\nARG a\nRUN echo $a >/a\n"))
            return list(
                await client.images.build(
                    fileobj=body, encoding="identity", tag=tag, buildargs={"a": "aio"}, labels=engine.labels
                )
            )
        finally:
            await client.close()

    messages = asyncio.run(scenario())
    assert {"stream": f"Successfully tagged {tag}\n"} in messages
    assert any("aux" in one for one in messages)
    assert engine.ended("cat", "/a", Image=tag).out == "aio\n"


@pytest.mark.operation(BUILD)
def test_testcontainers(engine: Engine, tmp_path: Path) -> None:
    tag = f"{engine.prefix}/testcontainers:1"
    keep = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
    env = {
        **keep, "DOCKER_HOST": engine.host, "BASE": engine.image, "TAG": tag,
        "TESTCONTAINERS_RYUK_DISABLED": "true", "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:rerunfailures", "-v"]
    done = subprocess.run(
        [*netns.prefix(), *command, "--rootdir", str(CLIENTS), "--confcutdir", str(CLIENTS),
         str(CLIENTS / "build_case.py")],
        env=env, capture_output=True, text=True, timeout=200, check=False, cwd=CLIENTS.parents[1],
    )  # fmt: skip
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout[-4000:]
    assert engine.wire.request("GET", f"/images/{tag}/json").status == 404


@pytest.mark.operation(BUILD)
def test_ansible(engine: Engine, tmp_path: Path) -> None:
    if not Path(PROGRAM).exists():
        pytest.skip("ansible is missing (scripts/setup --test installs it)")
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "Own").write_text(
        f"FROM {engine.image}\nFROM {engine.image} AS second\nARG word\n"
        f"RUN echo $word $(grep somewhere /etc/hosts)\nLABEL {LABEL}={engine.run_id}\nFROM nothing\n"
    )
    tag = f"{engine.prefix}/ansible-built:1"
    python = "/usr/bin/python3"
    variables = {
        "engine": engine.host, "tag": tag, "folder": str(folder), "ansible_python_interpreter": python,
    }  # fmt: skip
    keep = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DOCKER_", "ANSIBLE_", "PYTHON"))
    }
    env = {
        **keep, "ANSIBLE_HOME": str(tmp_path), "ANSIBLE_LOCAL_TEMP": str(tmp_path), "LC_ALL": "C.UTF-8",
        "ANSIBLE_REMOTE_TEMP": str(tmp_path), "ANSIBLE_STDOUT_CALLBACK": "json",
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
    }  # fmt: skip

    def play(part: str) -> int:
        command = [PROGRAM, "-i", "localhost,", "-c", "local", "-t", part, "-e", json.dumps(variables),
                   str(CLIENTS / "build.yaml")]  # fmt: skip
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, failures(done.stdout) + done.stderr[-2000:]
        sums = json.loads(done.stdout[done.stdout.index("{") :])["stats"]["localhost"]
        return int(sums["changed"])

    assert play("made") == 1
    assert play("made") == 0
