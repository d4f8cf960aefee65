"""Published ports: TCP and UDP, on all and on chosen addresses, and what happens when they are taken."""

import re
import socket
import threading
from typing import Any

import pytest

from conformance import netns
from conformance.cli import Cli
from conformance.engine import Engine
from conformance.until import until

START = ("ContainerCreate", "ContainerStart")
HTTPD = "echo hello >/tmp/index.html; exec httpd -f -p 80 -h /tmp"


def published(port: int | str, address: str = "", inner: str = "80/tcp") -> dict[str, Any]:
    return {"PortBindings": {inner: [{"HostIp": address, "HostPort": str(port)}]}}


def server(engine: Engine, host: dict[str, Any], **config: Any) -> str:
    return engine.run("sh", "-c", HTTPD, host=host, ExposedPorts={"80/tcp": {}}, **config)


def reach(address: str, port: int) -> None:
    assert until(lambda: netns.fetch(address, port)) == b"hello\n"


def gateway(engine: Engine) -> str:
    """An address of the engine's machine that is not 127.0.0.1."""
    return engine.bridge()[1]


def refused(address: str, port: int) -> bool:
    try:
        netns.connect(address, port, timeout=5).close()
    except (ConnectionRefusedError, TimeoutError):
        return True
    return False


@pytest.mark.operation(*START)
def test_on_all_addresses(engine: Engine) -> None:
    port = netns.free_port()
    container = server(engine, published(port))
    reach("127.0.0.1", port)
    reach(gateway(engine), port)
    bindings = engine.inspect(container)["NetworkSettings"]["Ports"]["80/tcp"]
    assert {"HostIp": "0.0.0.0", "HostPort": str(port)} in bindings
    assert {b["HostPort"] for b in bindings} == {str(port)}
    assert {b["HostIp"] for b in bindings} <= {"0.0.0.0", "::"}


@pytest.mark.operation(*START)
def test_on_loopback_only(engine: Engine) -> None:
    port = netns.free_port()
    container = server(engine, published(port, "127.0.0.1"))
    reach("127.0.0.1", port)
    assert refused(gateway(engine), port)
    assert engine.inspect(container)["NetworkSettings"]["Ports"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]
    }


@pytest.mark.operation(*START)
def test_on_a_chosen_address(engine: Engine) -> None:
    port = netns.free_port()
    server(engine, published(port, gateway(engine)))
    reach(gateway(engine), port)
    assert refused("127.0.0.1", port)


@pytest.mark.operation(*START)
def test_a_port_of_the_engines_choice(engine: Engine, cli: Cli) -> None:
    container = cli.text("run", "-d", "-p", "127.0.0.1::80", engine.image, "sh", "-c", HTTPD)
    (binding,) = engine.inspect(container)["NetworkSettings"]["Ports"]["80/tcp"]
    assert binding["HostIp"] == "127.0.0.1" and int(binding["HostPort"]) >= 1024
    reach("127.0.0.1", int(binding["HostPort"]))
    assert cli.text("port", container, "80") == f"127.0.0.1:{binding['HostPort']}"
    assert cli.text("port", container) == f"80/tcp -> 127.0.0.1:{binding['HostPort']}"


@pytest.mark.operation(*START)
def test_by_cli(engine: Engine, cli: Cli) -> None:
    port = netns.free_port()
    container = cli.text("run", "-d", "-p", f"{port}:80", engine.image, "sh", "-c", HTTPD)
    reach("127.0.0.1", port)
    ports = cli.text("ps", "--filter", f"id={container}", "--format", "{{.Ports}}")
    assert f"0.0.0.0:{port}->80/tcp" in ports.split(", ")


@pytest.mark.operation(*START)
def test_publish_all(engine: Engine) -> None:
    container = engine.run(
        "sh", "-c", HTTPD, host={"PublishAllPorts": True}, ExposedPorts={"80/tcp": {}, "81/udp": {}}
    )
    ports = engine.inspect(container)["NetworkSettings"]["Ports"]
    assert set(ports) == {"80/tcp", "81/udp"} and all(ports.values())
    reach("127.0.0.1", int(ports["80/tcp"][0]["HostPort"]))


@pytest.mark.operation(*START)
def test_exposed_but_not_published(engine: Engine) -> None:
    container = server(engine, {})
    assert engine.inspect(container)["NetworkSettings"]["Ports"] == {"80/tcp": None}
    address = engine.inspect(container)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert until(lambda: netns.fetch(address, 80)) == b"hello\n"


@pytest.mark.operation(*START)
@pytest.mark.local
@pytest.mark.parametrize("address", ["", "127.0.0.1"])
def test_udp(engine: Engine, address: str) -> None:
    port = netns.free_port(socket.SOCK_DGRAM)
    container = engine.sleeper(host=published(port, address, "53/udp"), ExposedPorts={"53/udp": {}})
    with netns.udp_echo(53, engine.state(container)["Pid"]):
        assert until(lambda: netns.udp_ask("127.0.0.1", port, b"hello")) == b"got hello"
        if not address:
            assert until(lambda: netns.udp_ask(gateway(engine), port, b"again")) == b"got again"


@pytest.mark.operation(*START)
def test_tcp_and_udp_on_the_same_port(engine: Engine) -> None:
    port = netns.free_port()
    bindings = [{"HostIp": "127.0.0.1", "HostPort": str(port)}]
    container = engine.run(
        "sh",
        "-c",
        HTTPD,
        host={"PortBindings": {"80/tcp": bindings, "80/udp": bindings}},
        ExposedPorts={"80/tcp": {}, "80/udp": {}},
    )
    reach("127.0.0.1", port)
    assert set(engine.inspect(container)["NetworkSettings"]["Ports"]) == {"80/tcp", "80/udp"}


@pytest.mark.operation(*START)
def test_several_host_ports_for_one(engine: Engine) -> None:
    first, second = netns.free_port(), netns.free_port()
    bindings = [{"HostIp": "127.0.0.1", "HostPort": str(port)} for port in (first, second)]
    server(engine, {"PortBindings": {"80/tcp": bindings}})
    reach("127.0.0.1", first)
    reach("127.0.0.1", second)


@pytest.mark.operation(*START)
def test_a_range(engine: Engine, cli: Cli) -> None:
    low = netns.free_port()
    container = cli.text("run", "-d", "-p", f"127.0.0.1:{low}-{low + 5}:80", engine.image, "sh", "-c", HTTPD)
    (binding,) = engine.inspect(container)["NetworkSettings"]["Ports"]["80/tcp"]
    assert low <= int(binding["HostPort"]) <= low + 5
    reach("127.0.0.1", int(binding["HostPort"]))


@pytest.mark.operation(*START)
def test_already_allocated(engine: Engine) -> None:
    port = netns.free_port()
    server(engine, published(port))
    second = engine.create("sh", "-c", HTTPD, host=published(port), ExposedPorts={"80/tcp": {}})
    answer = engine.wire.post(f"/containers/{second}/start", status=500)
    assert re.search(
        rf"Bind for (0\.0\.0\.0|::|\[::\]):{port} failed: port is already allocated", answer.message
    ), answer.message
    state = engine.state(second)
    assert (state["Status"], state["ExitCode"]) in {("created", 128), ("created", 0)}
    assert "port is already allocated" in state["Error"]


@pytest.mark.operation(*START)
def test_already_allocated_by_cli(engine: Engine, cli: Cli) -> None:
    port = netns.free_port()
    server(engine, published(port))
    done = cli("run", "--rm", "-p", f"{port}:80", engine.image, "true", check=False)
    assert done.code == 125
    assert "port is already allocated" in done.err


@pytest.mark.operation(*START)
def test_taken_by_another_program(engine: Engine) -> None:
    with netns.listener("0.0.0.0") as sock:
        port = sock.getsockname()[1]
        container = engine.create("true", host=published(port), ExposedPorts={"80/tcp": {}})
        answer = engine.wire.post(f"/containers/{container}/start", status=500)
        assert re.search("address already in use|port is already allocated", answer.message), answer.message


@pytest.mark.operation(*START, "ContainerDelete", "ContainerStop")
def test_free_again_after_the_end(engine: Engine) -> None:
    port = netns.free_port()
    first = server(engine, published(port))
    reach("127.0.0.1", port)
    engine.wire.post(f"/containers/{first}/kill", status=204)
    engine.wait(first)
    assert engine.inspect(first)["NetworkSettings"]["Ports"] == {}
    second = server(engine, published(port))
    reach("127.0.0.1", port)
    engine.remove(second)
    until(lambda: refused("127.0.0.1", port))
    # And the first gets it again.
    engine.start(first)
    reach("127.0.0.1", port)


@pytest.mark.operation(*START)
def test_from_another_container_through_the_host(engine: Engine) -> None:
    """By the published port at the host's address, as in any network with a hairpin."""
    port = netns.free_port()
    server(engine, published(port))
    reach("127.0.0.1", port)
    client = engine.sleeper()
    assert engine.get_from(client, gateway(engine), port).endswith("\r\n\r\nhello\n")


@pytest.mark.operation(*START)
def test_itself_through_the_host(engine: Engine) -> None:
    port = netns.free_port()
    container = server(engine, published(port))
    reach("127.0.0.1", port)
    assert engine.get_from(container, gateway(engine), port).endswith("\r\n\r\nhello\n")


@pytest.mark.operation("ContainerCreate")
def test_bad_ports(engine: Engine) -> None:
    answer = engine.wire.request(
        "POST", "/containers/create", {"Image": engine.image, "HostConfig": published("x")}
    )
    assert answer.status in {400, 500}
    assert 'invalid port specification: "x"' in answer.message.lower()


@pytest.mark.operation(*START)
@pytest.mark.local
def test_large_transfer(engine: Engine) -> None:
    port = netns.free_port()
    container = engine.sleeper(host=published(port, "127.0.0.1"), ExposedPorts={"80/tcp": {}})
    with netns.listener("0.0.0.0", port=80, pid=engine.state(container)["Pid"]) as sock:
        sock.settimeout(30)
        with netns.connect("127.0.0.1", port) as client:
            server_side, _ = sock.accept()
            data = bytes(range(256)) * (8 << 12)

            def serve() -> None:
                with server_side:
                    server_side.sendall(data)

            thread = threading.Thread(target=serve)
            thread.start()
            received = b"".join(iter(lambda: client.recv(1 << 16), b""))
            thread.join()
    assert received == data


@pytest.mark.operation(*START)
def test_by_the_ipv6_loopback_to_a_container_without_ipv6(engine: Engine) -> None:
    port = netns.free_port()
    container = server(engine, published(port))
    reach("::1", port)
    reach("127.0.0.1", port)
    # The container sees its gateway, not a client that it could not answer.
    bindings = engine.inspect(container)["NetworkSettings"]["Ports"]["80/tcp"]
    assert {b["HostIp"] for b in bindings} == {"0.0.0.0", "::"}


@pytest.mark.operation(*START)
def test_on_the_ipv6_loopback_only(engine: Engine, cli: Cli) -> None:
    port = netns.free_port()
    container = cli.text("run", "-d", "-p", f"[::1]:{port}:80", engine.image, "sh", "-c", HTTPD)
    reach("::1", port)
    assert refused("127.0.0.1", port)
    assert refused(gateway(engine), port)
    # The 20.10 command line writes no brackets.
    assert cli.text("port", container) in (f"80/tcp -> [::1]:{port}", f"80/tcp -> ::1:{port}")


@pytest.mark.operation(*START)
@pytest.mark.local
def test_udp_by_the_ipv6_loopback(engine: Engine) -> None:
    port = netns.free_port(socket.SOCK_DGRAM)
    container = engine.sleeper(host=published(port, inner="53/udp"), ExposedPorts={"53/udp": {}})
    with netns.udp_echo(53, engine.state(container)["Pid"]):
        assert until(lambda: netns.udp_ask("::1", port, b"hello")) == b"got hello"
        assert until(lambda: netns.udp_ask("127.0.0.1", port, b"again")) == b"got again"


@pytest.mark.operation(*START)
@pytest.mark.local
def test_large_transfer_by_the_ipv6_loopback(engine: Engine) -> None:
    port = netns.free_port()
    container = engine.sleeper(host=published(port), ExposedPorts={"80/tcp": {}})
    data = bytes(range(256)) * (8 << 10)
    with netns.listener("0.0.0.0", port=80, pid=engine.state(container)["Pid"]) as sock:
        sock.settimeout(60)
        with netns.connect("::1", port, 60) as client:
            server_side, _ = sock.accept()
            client.settimeout(60)
            with server_side:
                server_side.settimeout(60)

                def back() -> None:
                    received = b"".join(iter(lambda: server_side.recv(1 << 16), b""))
                    server_side.sendall(received[::-1])
                    server_side.shutdown(socket.SHUT_WR)

                thread = threading.Thread(target=back)
                thread.start()
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                assert b"".join(iter(lambda: client.recv(1 << 16), b"")) == data[::-1]
                thread.join()


@pytest.mark.operation(*START)
def test_a_range_for_a_range(engine: Engine, cli: Cli) -> None:
    low = netns.free_port()
    words = ["-p", f"127.0.0.1:{low}-{low + 2}:80-82"]
    container = cli.text("run", "-d", *words, engine.image, "sh", "-c", HTTPD)
    reach("127.0.0.1", low)
    expected = [f"{80 + i}/tcp -> 127.0.0.1:{low + i}" for i in range(3)]
    assert sorted(cli.text("port", container).splitlines()) == expected


@pytest.mark.operation(*START)
def test_three_ports_share_a_range_of_three(engine: Engine, cli: Cli) -> None:
    low = netns.free_port()
    words = [w for inner in (80, 81, 82) for w in ("-p", f"127.0.0.1:{low}-{low + 2}:{inner}")]
    container = cli.text("run", "-d", *words, engine.image, "sh", "-c", HTTPD)
    lines = cli.text("port", container).splitlines()
    assert sorted(line.rpartition(":")[2] for line in lines) == [str(low + i) for i in range(3)]
    done = cli("run", "--rm", "-p", f"127.0.0.1:{low}-{low + 2}:80", engine.image, "true", check=False)
    assert done.code == 125
    assert re.search("all ports are allocated|port is already allocated", done.err), done.err


@pytest.mark.operation(*START)
def test_a_chosen_address_clashes_with_all_addresses(engine: Engine) -> None:
    port = netns.free_port()
    server(engine, published(port, "127.0.0.1"))
    second = engine.create("sh", "-c", HTTPD, host=published(port), ExposedPorts={"80/tcp": {}})
    answer = engine.wire.post(f"/containers/{second}/start", status=500)
    assert "already" in answer.message and f"0.0.0.0:{port}" in answer.message
    third = server(engine, published(port, "127.0.0.2"))
    assert engine.state(third)["Running"]


@pytest.mark.operation(*START)
def test_an_address_that_the_host_has_not(engine: Engine) -> None:
    container = engine.create(
        "true", host=published(netns.free_port(), "203.0.113.9"), ExposedPorts={"80/tcp": {}}
    )
    answer = engine.wire.post(f"/containers/{container}/start", status=500)
    assert "cannot assign requested address" in answer.message


@pytest.mark.operation("ContainerCreate")
@pytest.mark.parametrize("port", ["8000-7000", "-1", "70000", "80-x", "1-70000", " 80", "+80"])
def test_bad_host_ports(engine: Engine, port: str) -> None:
    body = {"Image": engine.image, "HostConfig": published(port)}
    answer = engine.wire.request("POST", "/containers/create", body)
    assert (answer.status, answer.message) == (400, f'invalid port specification: "{port}"')


@pytest.mark.operation(*START)
def test_docker_port_of_what_is_not_published(engine: Engine, cli: Cli) -> None:
    container = cli.text("run", "-d", "-p", "127.0.0.1::80", engine.image, "sh", "-c", HTTPD)
    for which in ("81", "80/udp"):
        done = cli("port", container, which, check=False)
        assert done.code == 1
        assert f"o public port '{which}" in done.err
