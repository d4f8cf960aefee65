"""Flags and daemon.json: dockerd's rules and texts."""

from pathlib import Path
from typing import Any

import pytest

from compatd.config import Config, ConfigError, load, told
from compatd.config.values import parse_bytes


def _load(folder: Path, text: str, **flags: Any) -> Config:
    file = folder / "daemon.json"
    file.write_text(text)
    return load({key.replace("_", "-"): value for key, value in flags.items()}, str(file))


def test_file_and_flags_are_merged(tmp_path: Path) -> None:
    text = '{"debug": true, "insecure-registries": ["a"], "default-shm-size": "1g", '
    text += '"log-opts": {"max-size": "1m"}, "runtimes": {"a": {"path": "/file"}}}'
    config = _load(tmp_path, text, mtu=1400, runtimes={"a": {"path": "/flag"}, "b": {"path": "/flag"}})
    assert (config.debug, config.mtu, config.default_shm_size) == (True, 1400, 1 << 30)
    assert config.insecure_registries == ["a"]
    assert {name: runtime["path"] for name, runtime in config.runtimes.items()} == {
        "a": "/file",
        "b": "/flag",
    }
    assert config.log_opts == {"max-size": "1m"}
    assert config.data_root == "/var/lib/docker"


BOTH = "the following directives are specified both as a flag and in the configuration file: "
MERGED = "merged configuration validation from file and command line flags failed: "


@pytest.mark.parametrize(
    ("text", "flags", "expected"),
    [
        ('{"nope": 1, "x": {"y": 2}}', {},
         "the following directives don't match any configuration option: nope, y"),
        ('{"debug": true}', {"debug": False}, BOTH + "debug: (from flag: false, from file: true)"),
        ('{"hosts": ["a"]}', {"hosts": ["b"]}, BOTH + "hosts: (from flag: [b], from file: [a])"),
        ('{"mtu": 1000000}', {"mtu": 1}, BOTH + "mtu: (from flag: 1, from file: 1e+06)"),
        ('{"default-shm-size": "1g"}', {"default_shm_size": 64 << 20},
         BOTH + "default-shm-size: (from flag: 64MiB, from file: 1g)"),
        ('{"labels": ["a=b"], "log-opts": {"a": "b"}}', {"labels": ["c=d"], "log_opts": {"c": "d"}},
         BOTH + "labels: (from flag: [c=d], from file: [a=b]), "
         "log-opts: (from flag: map[c:d], from file: map[a:b])"),
        ('{"proxies": {"http-proxy": "http://u:p@h"}}', {"http_proxy": "http://x:y@i"},
         BOTH + "http-proxy: (from flag: http://xxxxx:xxxxx@i, from file: http://xxxxx:xxxxx@h)"),
        ('{"host-gateway-ip": "1.2.3.4", "host-gateway-ips": []}', {},
         "host-gateway-ip and host-gateway-ips must not both be specified in the config file"),
        ("{", {}, "invalid JSON: unexpected end of JSON input"),
        ("{}x", {}, "invalid JSON: invalid character 'x' after top-level value"),
        ('{"debug": true,}', {},
         "invalid JSON: invalid character '}' looking for beginning of object key string"),
        ("[]", {},
         "invalid JSON: json: cannot unmarshal array into Go value of type map[string]interface {}"),
        ('{"log-level": "loud"}', {}, MERGED + "invalid logging level: loud"),
        ('{"log-format": "xml"}', {}, MERGED + "invalid log format: xml"),
        ('{"labels": ["x"]}', {}, MERGED + "bad attribute format: x"),
        ('{"max-concurrent-downloads": -1}', {}, MERGED + "invalid max concurrent downloads: -1"),
        ('{"mtu": -1}', {}, MERGED + "invalid default MTU: -1"),
        ('{"default-stop-timeout": -1}', {}, MERGED + "invalid default stop timeout: -1"),
        ('{"network-diagnostic-port": 65536}', {},
         MERGED + "invalid network-diagnostic-port (65536): value must be between 0 and 65535"),
        (
            '{"hosts": ["tcp://[::1"]}',
            {},
            MERGED + """invalid bind address (tcp://[::1): parse "tcp://[::1": missing ']' in host""",
        ),
        ('{"hosts": ["foo://x"]}', {}, MERGED + "invalid bind address (foo://x): unsupported proto 'foo'"),
        ('{"default-ipc-mode": "host"}', {},
         MERGED + 'IPC mode "host" is not supported as default value; use "shareable" or "private"'),
        ('{"default-ipc-mode": "x"}', {},
         MERGED + 'default IPC mode setting (x) is invalid; use "shareable" or "private"'),
        ('{"default-cgroupns-mode": "x"}', {},
         MERGED + 'invalid default cgroup namespace (x): use "host" or "private"'),
        ('{"exec-opts": ["x=y"]}', {}, MERGED + "invalid exec-opt (x=y): unknown option: 'x'"),
        ('{"exec-opts": ["x"]}', {}, MERGED + "invalid exec-opt (x): must be formatted 'opt=value'"),
        ('{"dns-search": ["1"]}', {}, MERGED + "1 is not a valid domain"),
        ('{"fixed-cidr-v6": "10.0.0.0/8"}', {},
         MERGED + "invalid fixed-cidr-v6: '10.0.0.0/8' is not an IPv6 network"),
        ('{"firewall-backend": "ipfw"}', {},
         MERGED + 'invalid firewall-backend: allowed values are "iptables" and "nftables"'),
        ('{"host-gateway-ips": ["1.1.1.1", "2.2.2.2"]}', {},
         MERGED + "only one IPv4 host gateway IP address can be specified"),
        ('{"userland-proxy-path": "x"}', {},
         MERGED + "invalid userland-proxy-path: must be an absolute path: x"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, text: str, flags: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, text, **flags)
    where = tmp_path / "daemon.json"
    assert str(error.value) == f"unable to configure the Docker daemon with file {where}: {expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"storage-driver": "zfs"}', "driver not supported: zfs"),
        ('{"default-runtime": "kata"}', "specified default runtime 'kata' does not exist"),
        ('{"runtimes": {"x": {}}}', "runtime x: either a runtimeType or a path must be configured"),
        ('{"labels": ["a=b", "a=c"]}', "conflict labels for a=c and a=b"),
        ('{"bip": "10.0.0.1/24", "bridge": "br0"}', "mutually exclusive"),
        ('{"userns-remap": "default"}', "userns-remap is not supported"),
        ('{"authorization-plugins": ["x"]}', 'plugin "x" not found'),
        ('{"insecure-registries": ["ftp://x"]}', "insecure registry ftp://x should not contain '://'"),
        ('{"min-api-version": "1.23"}', "minimum supported API version is 1.24: 1.23"),
        ('{"min-api-version": "v1.30"}', 'API version must be provided without "v" prefix'),
    ],
)
def test_refused_when_all_is_together(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, text)
    assert expected in str(error.value)
    assert "unable to configure" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "found", "field", "go"),
    [
        ('{"debug": 1}', "number", "Config.CommonConfig.debug", "bool"),
        ('{"mtu": true}', "bool", "Config.CommonConfig.BridgeConfig.DefaultBridgeConfig.mtu", "int"),
        ('{"mtu": 1.5}', "number 1.5", "Config.CommonConfig.BridgeConfig.DefaultBridgeConfig.mtu", "int"),
        ('{"labels": "a"}', "string", "Config.CommonConfig.labels", "[]string"),
        ('{"labels": [1]}', "number", "Config.CommonConfig.labels", "string"),
        ('{"log-opts": []}', "array", "Config.CommonConfig.LogConfig.log-opts", "map[string]string"),
        ('{"features": {"a": "b"}}', "string", "Config.CommonConfig.features", "bool"),
        ('{"default-ulimits": {"nofile": {"Soft": "x"}}}', "string", "Ulimit.default-ulimits.Soft", "int64"),
        ('{"runtimes": {"a": {"path": 1}}}', "number", "Runtime.runtimes.path", "string"),
        (
            '{"default-address-pools": [{"base": 1}]}',
            "number",
            "Config.CommonConfig.NetworkConfig.default-address-pools.base",
            "string",
        ),
        (
            '{"builder": {"gc": {"enabled": 1}}}',
            "number",
            "BuilderGCConfig.CommonConfig.builder.GC.Enabled",
            "bool",
        ),
        ('{"tls": "x"}', "string", "Config.CommonConfig.tls", "bool"),
    ],
)
def test_wrong_types_in_go_s_words(tmp_path: Path, text: str, found: str, field: str, go: str) -> None:
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, text)
    assert str(error.value).endswith(
        f"invalid JSON: json: cannot unmarshal {found} into Go struct field {field} of type {go}"
    )


def test_wrong_values_of_texts(tmp_path: Path) -> None:
    cases = {
        '{"default-shm-size": 64}': 'invalid size: "64"',
        '{"default-shm-size": "x"}': "invalid size: 'x'",
        '{"ip": "x"}': "invalid IP address: x",
        '{"dns": ["x"]}': 'ParseAddr("x"): unable to parse IP',
    }
    for text, expected in cases.items():
        with pytest.raises(ConfigError) as error:
            _load(tmp_path, text)
        assert str(error.value).endswith(f"invalid JSON: {expected}")


def test_empty_values_are_none(tmp_path: Path) -> None:
    text = '{"mtu": 0, "log-level": "", "data-root": "", "hosts": [], "debug": null,'
    text += '"max-concurrent-uploads": 0, "default-stop-timeout": 0, "icc": false, "hosts": [null], "x": {}}'
    config = _load(tmp_path, text)
    assert (config.mtu, config.log_level, config.data_root) == (1500, "info", "/var/lib/docker")
    assert (config.max_concurrent_uploads, config.default_stop_timeout, config.icc) == (5, 0, False)
    assert config.hosts == ["unix:///var/run/docker.sock"]


def test_a_flag_s_name_in_the_file_is_taken_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = _load(tmp_path, '{"label": ["a=b"], "http-proxy": "http://x", "firewall-backend": "nftables"}')
    assert config.labels == []
    assert caplog.text == ""
    told.tell(config)
    assert "option label has no effect in the configuration file: its name there is labels" in caplog.text
    assert 'option http-proxy has no effect outside "proxies"' in caplog.text
    assert "firewall-backend" not in caplog.text


def test_what_has_no_effect_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = '{"containerd": "/run/x.sock", "selinux-enabled": true, "cri-containerd": false}'
    told.tell(_load(tmp_path, text, firewall_backend="iptables"))
    assert [record.getMessage().partition(": ")[0] for record in caplog.records] == [
        "option containerd has no effect",
        "option selinux-enabled has no effect",
        "option firewall-backend has no effect",
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "daemon.json"
    file.write_bytes('{"debug": true}'.encode(encoding))
    assert load({}, str(file)).debug


def test_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ConfigError, match="failed to decode configuration JSON at offset 7"):
        load({}, str(file))


def test_missing_file_matters_only_when_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory"):
        load({}, str(tmp_path / "none.json"))


def test_empty_file_is_no_configuration(tmp_path: Path) -> None:
    assert _load(tmp_path, "").given == {}


@pytest.mark.parametrize(
    ("text", "size"), [("64m", 64 << 20), ("1GiB", 1 << 30), ("512", 512), ("1.5k", 1536), ("2b", 2)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size
