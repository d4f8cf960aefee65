"""hosts, hostname and resolv.conf, byte for byte."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from compatd.engine.networks import files

DEFAULT = (
    b"127.0.0.1\tlocalhost\n"
    b"::1\tlocalhost ip6-localhost ip6-loopback\n"
    b"fe00::0\tip6-localnet\n"
    b"ff00::0\tip6-mcastprefix\n"
    b"ff02::1\tip6-allnodes\n"
    b"ff02::2\tip6-allrouters\n"
)


def test_hosts_of_a_container() -> None:
    assert files.hosts_file([], ["172.17.0.2"], "0123456789ab") == DEFAULT + b"172.17.0.2\t0123456789ab\n"


def test_hosts_without_network_and_with_extra_hosts() -> None:
    extra = files.extra_hosts(["db:10.0.0.5", "host:host-gateway", "six:fd00::5"], "172.17.0.1")
    assert files.hosts_file(extra, [], "h") == (
        DEFAULT + b"10.0.0.5\tdb\n" + b"172.17.0.1\thost\n" + b"fd00::5\tsix\n"
    )


@pytest.mark.parametrize(
    ("hostname", "domain", "names"),
    [("web", "example.org", b"web.example.org web"), ("web.example.org", "", b"web.example.org web")],
)
def test_hosts_with_a_domain(hostname: str, domain: str, names: bytes) -> None:
    assert files.hosts_file([], ["172.17.0.2"], hostname, domain).endswith(b"172.17.0.2\t" + names + b"\n")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"nameserver 192.0.2.53\nsearch lan\n", b"nameserver 192.0.2.53\nsearch lan\n"),
        (b"# mine\nnameserver 127.0.0.1\nnameserver 192.0.2.53\n", b"# mine\nnameserver 192.0.2.53\n"),
        (b"nameserver fd00::53\nnameserver 192.0.2.53\n", b"nameserver 192.0.2.53\n"),
        (b"", b"\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
        (b"search lan\nnameserver ::1\n", b"search lan\n\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
        (b"nameserver fd00::53\n", b"\nnameserver 8.8.8.8\nnameserver 8.8.4.4"),
    ],
)
def test_resolvers_that_containers_cannot_reach_are_left_out(host: bytes, expected: bytes) -> None:
    assert files.resolv_conf(host) == expected


def test_given_settings_replace_the_hosts() -> None:
    host = b"search lan\nnameserver 192.0.2.53\noptions ndots:2\n"
    assert files.resolv_conf(host, ["9.9.9.9"]) == b"search lan\nnameserver 9.9.9.9\noptions ndots:2\n"
    assert files.resolv_conf(host, [], ["."]) == b"nameserver 192.0.2.53\noptions ndots:2\n"
    assert files.resolv_conf(host, [], ["a", "b"], ["rotate"]) == (
        b"search a b\nnameserver 192.0.2.53\noptions rotate\n"
    )


def test_systemd_resolveds_file_is_used_when_its_stub_is_the_only_resolver(tmp_path: Path) -> None:
    etc, run = tmp_path / "resolv.conf", tmp_path / "run"
    assert files.resolv_conf_path(etc, run) == etc
    etc.write_text("nameserver 127.0.0.53\noptions edns0\n")
    assert files.resolv_conf_path(etc, run) == run
    etc.write_text("nameserver 127.0.0.53\nnameserver 192.0.2.1\n")
    assert files.resolv_conf_path(etc, run) == etc


@pytest.fixture
def host_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, content in (("HOSTS", b"192.0.2.9 here\n"), ("RESOLV_CONF", b"nameserver 127.0.0.1\n")):
        (tmp_path / name).write_bytes(content)
        monkeypatch.setattr(files, name, tmp_path / name)


DAEMON = SimpleNamespace(dns=[], dns_search=[], dns_opts=[])


@pytest.mark.usefixtures("host_files")
def test_host_mode_copies_the_hosts_files() -> None:
    content = files.contents({"Hostname": "h"}, {"NetworkMode": "host"}, DAEMON, address="", gateway="")
    assert content == {
        "hostname": b"h\n", "hosts": b"192.0.2.9 here\n", "resolv.conf": b"nameserver 127.0.0.1\n",
    }  # fmt: skip


@pytest.mark.usefixtures("host_files")
def test_containers_settings_come_before_the_daemons() -> None:
    daemon = SimpleNamespace(dns=["192.0.2.1"], dns_search=["daemon"], dns_opts=[])
    content = files.contents(
        {"Hostname": "h"},
        {"NetworkMode": "bridge", "Dns": ["192.0.2.2"]},
        daemon,
        address="172.17.0.2",
        gateway="",
    )
    assert content["resolv.conf"] == b"search daemon\nnameserver 192.0.2.2\n"
    assert content["hosts"].endswith(b"172.17.0.2\th\n")
