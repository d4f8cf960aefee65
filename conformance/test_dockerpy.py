"""docker-py, the Python SDK, as its users use it."""

import io
import threading

import docker  # type: ignore[import-untyped]
import pytest

from conformance.engine import Engine
from conformance.images import Tar, docker_archive
from conformance.registry import Registry
from conformance.until import until
from conformance.wire import demux

RUN = ("ContainerCreate", "ContainerStart", "ContainerWait", "ContainerLogs")


@pytest.mark.operation("SystemPing", "SystemVersion", "SystemInfo")
def test_system(engine: Engine) -> None:
    assert engine.docker.ping() is True
    assert engine.docker.version()["ApiVersion"] == engine.api
    assert engine.docker.info()["ServerVersion"] == engine.version["Version"]


@pytest.mark.operation("SystemDataUsage")
def test_disk_usage(engine: Engine) -> None:
    assert engine.docker.df()["Images"]


@pytest.mark.operation(*RUN)
def test_run(engine: Engine) -> None:
    assert engine.docker.containers.run(engine.image, "echo hello", remove=True) == b"hello\n"
    out = engine.docker.containers.run(
        engine.image, ["sh", "-c", "echo o; echo e >&2"], remove=True, stderr=True, stdout=False
    )
    assert out == b"e\n"


@pytest.mark.operation(*RUN)
def test_run_that_fails(engine: Engine) -> None:
    with pytest.raises(docker.errors.ContainerError) as caught:
        engine.docker.containers.run(engine.image, ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    assert caught.value.exit_status == 3 and b"bad" in caught.value.stderr


@pytest.mark.operation(*RUN)
def test_run_of_a_missing_command(engine: Engine) -> None:
    name = engine.name()
    with pytest.raises(docker.errors.APIError) as caught:
        engine.docker.containers.run(engine.image, "no-such-command", name=name)
    assert caught.value.status_code == 400
    words = engine.words(
        runc="executable file not found in $PATH",
        crun="executable file `no-such-command` not found in $PATH",
    )
    assert words in caught.value.explanation


@pytest.mark.operation("ContainerCreate", "ContainerInspect")
def test_options(engine: Engine) -> None:
    container = engine.docker.containers.run(
        engine.image,
        "sleep 1000",
        detach=True,
        name=engine.name(),
        environment={"A": "1"},
        labels={"l": "2"},
        working_dir="/tmp",
        user="user",
        hostname="hh",
        mem_limit="64m",
        pids_limit=20,
        cap_add=["NET_ADMIN"],
        ports={"80/tcp": ("127.0.0.1", None)},
        tmpfs={"/t": "size=1m"},
        ulimits=[docker.types.Ulimit(name="nofile", soft=64, hard=64)],
        init=True,
        read_only=True,
    )
    container.reload()
    assert container.status == "running"
    assert container.labels["l"] == "2"
    assert container.ports["80/tcp"][0]["HostIp"] == "127.0.0.1"
    code, out = container.exec_run(
        later("echo $A; pwd; id -u; hostname; ulimit -n; grep -c ' /t ' /proc/mounts")
    )
    assert (code, out) == (0, b"1\n/tmp\n1000\nhh\n64\n1\n")
    assert container.image.tags and engine.image in container.image.tags


@pytest.mark.operation("ContainerLogs")
def test_logs(engine: Engine) -> None:
    container = engine.docker.containers.run(
        engine.image, ["sh", "-c", "for i in 1 2 3; do echo $i; done"], detach=True
    )
    assert container.wait()["StatusCode"] == 0
    assert container.logs() == b"1\n2\n3\n"
    assert container.logs(tail=1) == b"3\n"
    assert b"".join(container.logs(stream=True)) == b"1\n2\n3\n"
    assert list(container.logs(stream=True, follow=True))[-1].endswith(b"3\n")
    assert b"T" in container.logs(timestamps=True, tail=1)


@pytest.mark.operation("ContainerLogs")
def test_log_stream_is_live(engine: Engine) -> None:
    container = engine.docker.containers.run(
        engine.image, ["sh", "-c", "echo 1; while [ ! -e /go ]; do sleep 0.05; done; echo 2"], detach=True
    )
    stream = container.logs(stream=True, follow=True)
    assert next(stream) == b"1\n"
    container.exec_run("touch /go")
    assert next(stream) == b"2\n"
    assert list(stream) == []


def later(script: str) -> list[str]:
    """A command whose output comes a while after its start.

    docker-py reads headers through a buffer that it then forgets: what arrives together with them is lost,
    with any engine.
    """
    return ["sh", "-c", "sleep 0.3; " + script]


@pytest.mark.operation("ContainerExec", "ExecStart", "ExecInspect")
def test_exec(engine: Engine, box: str) -> None:
    container = engine.docker.containers.get(box)
    assert container.exec_run(later("echo hi")) == (0, b"hi\n")
    assert container.exec_run(later("echo o; echo e >&2; exit 3"), demux=True) == (3, (b"o\n", b"e\n"))
    assert container.exec_run(later("echo x"), stdout=False).output == b""
    assert container.exec_run(later("echo $A"), environment={"A": "b"}).output == b"b\n"
    assert container.exec_run(later("tty"), tty=True).output.startswith(b"/dev/pts/")
    assert container.exec_run(later("id -u; pwd"), user="7", workdir="/tmp").output == b"7\n/tmp\n"
    assert container.exec_run("true", detach=True).output in {b"", ""}


@pytest.mark.operation("ContainerExec", "ExecStart", "ExecInspect")
def test_exec_streams(engine: Engine, box: str) -> None:
    container = engine.docker.containers.get(box)
    result = container.exec_run(later("echo a; sleep 0.1; echo b"), stream=True)
    assert result.exit_code is None and b"".join(result.output) == b"a\nb\n"
    chunks = list(container.exec_run(later("echo o; echo e >&2"), stream=True, demux=True).output)
    assert b"".join(out or b"" for out, _ in chunks) == b"o\n"
    assert b"".join(err or b"" for _, err in chunks) == b"e\n"


@pytest.mark.operation("ContainerExec", "ExecStart")
def test_exec_socket(engine: Engine, box: str) -> None:
    container = engine.docker.containers.get(box)
    result = container.exec_run("cat", stdin=True, socket=True)
    sock = result.output
    raw = getattr(sock, "_sock", sock)
    raw.sendall(b"through\n")
    raw.shutdown(1)
    data = b"".join(iter(lambda: raw.recv(65536), b""))
    assert demux(data) == (b"through\n", b"")
    sock.close()


@pytest.mark.operation("ContainerAttach")
def test_attach(engine: Engine) -> None:
    container = engine.docker.containers.create(engine.image, ["sh", "-c", "echo o; echo e >&2"])
    stream = container.attach(stream=True, logs=True, demux=True)
    container.start()
    chunks = list(stream)
    assert b"".join(out or b"" for out, _ in chunks) == b"o\n"
    assert b"".join(err or b"" for _, err in chunks) == b"e\n"


@pytest.mark.operation("ContainerAttach")
def test_attach_socket(engine: Engine) -> None:
    container = engine.docker.containers.create(engine.image, "cat", stdin_open=True)
    sock = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    raw = getattr(sock, "_sock", sock)
    container.start()
    raw.sendall(b"hello\n")
    data = b""
    while b"hello\n" not in data:
        more = raw.recv(4096)
        assert more
        data += more
    assert demux(data) == (b"hello\n", b"")
    sock.close()


@pytest.mark.operation("ContainerWait")
def test_wait(engine: Engine) -> None:
    container = engine.docker.containers.create(engine.image, ["sh", "-c", "exit 4"])
    results: list[int] = []
    thread = threading.Thread(
        target=lambda: results.append(container.wait(condition="next-exit")["StatusCode"])
    )
    thread.start()
    # The waiter has to be there before the end; how many there are is not told, so run until it has seen one.
    while thread.is_alive():
        container.start()
        container.wait()
        thread.join(0.2)
    assert results == [4]


@pytest.mark.operation("SystemEvents")
def test_events(engine: Engine) -> None:
    container = engine.docker.containers.create(engine.image, "true")
    events = engine.docker.events(decode=True, filters={"container": container.id, "event": ["start", "die"]})
    container.start()
    assert [next(events)["Action"], next(events)["Action"]] == ["start", "die"]
    events.close()


@pytest.mark.operation("ImageLoad", "ImageGet", "ImageTag", "ImageDelete", "ImageList")
def test_images(engine: Engine) -> None:
    tag = engine.name("py") + ":1"
    made = engine.base(Labels={"own": tag})
    made.layers.append(Tar().add("f", tag).bytes())
    (image,) = engine.docker.images.load(docker_archive({tag: made}))
    assert image.tags == [tag] and image.id == made.id
    assert image.tag(engine.name("py"), "2") is True
    image.reload()
    assert len(image.tags) == 2
    saved = b"".join(image.save(named=tag))
    other = engine.docker.images.get(tag)
    assert other == image
    assert [i.id for i in engine.docker.images.list(tag.split(":")[0])] == [image.id]
    assert [layer["CreatedBy"] for layer in image.history()] == ["layer 1", "layer 0"]
    engine.docker.images.remove(image.id, force=True)
    with pytest.raises(docker.errors.ImageNotFound):
        engine.docker.images.get(tag)
    (again,) = engine.docker.images.load(io.BytesIO(saved))
    assert again.id == image.id


@pytest.mark.operation("ImageCreate")
def test_pull(engine: Engine, registry: Registry) -> None:
    made, repository = engine.base(Labels={"own": engine.name()}), engine.name("py")
    registry.push(repository, "v1", made)
    registry.push(repository, "v2", engine.base(Labels={"own": engine.name()}))
    image = engine.docker.images.pull(f"{registry.address}/{repository}", tag="v1")
    assert image.id == made.id and image.tags == [f"{registry.address}/{repository}:v1"]
    assert len(engine.docker.images.pull(f"{registry.address}/{repository}", all_tags=True)) == 2
    with pytest.raises((docker.errors.NotFound, docker.errors.ImageNotFound, docker.errors.APIError)):
        engine.docker.images.pull(f"{registry.address}/{repository}", tag="v9")


@pytest.mark.operation(
    "ContainerStop",
    "ContainerPause",
    "ContainerRename",
    "ContainerRestart",
    "ContainerKill",
    "ContainerDelete",
)
def test_verbs(engine: Engine) -> None:
    container = engine.docker.containers.run(engine.image, "sleep 1000", detach=True)
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    name = engine.name()
    container.rename(name)
    container.restart(timeout=0)
    container.reload()
    assert (container.status, container.name) == ("running", name)
    assert container.top()["Processes"][0][-1] == "sleep 1000"
    container.kill()
    assert container.wait()["StatusCode"] == 137
    container.start()
    container.stop(timeout=0)
    container.remove()
    with pytest.raises(docker.errors.NotFound):
        container.reload()


@pytest.mark.operation("ContainerList")
def test_list(engine: Engine) -> None:
    name = engine.name()
    container = engine.docker.containers.run(engine.image, "sleep 1000", detach=True, name=name)
    assert [c.id for c in engine.docker.containers.list(filters={"name": name})] == [container.id]
    container.kill()
    until(lambda: engine.docker.containers.list(filters={"name": name}) == [])
    assert [
        c.id for c in engine.docker.containers.list(all=True, filters={"name": name, "status": "exited"})
    ] == [container.id]


@pytest.mark.operation("ContainerInspect", "ImageInspect")
def test_errors(engine: Engine) -> None:
    with pytest.raises(docker.errors.NotFound) as caught:
        engine.docker.containers.get("no-such")
    assert caught.value.status_code == 404 and caught.value.explanation == "No such container: no-such"
    with pytest.raises(docker.errors.ImageNotFound):
        engine.docker.images.get("no-such-image")
    name = engine.name()
    engine.docker.containers.create(engine.image, "true", name=name)
    with pytest.raises(docker.errors.APIError) as conflict:
        engine.docker.containers.create(engine.image, "true", name=name)
    assert (
        conflict.value.status_code == 409 and "is already in use by container" in conflict.value.explanation
    )
    with pytest.raises(docker.errors.APIError) as bad:
        engine.docker.containers.create(engine.image, "true", working_dir="relative")
    assert bad.value.is_client_error()


@pytest.mark.operation("ContainerCreate", "ContainerStart")
def test_old_api(engine: Engine) -> None:
    """A client that insists on an old version."""
    client = docker.DockerClient(base_url=engine.host, version="1.40", timeout=60)
    try:
        assert client.containers.run(engine.image, "echo old", remove=True) == b"old\n"
    finally:
        client.close()
