"""Where dockerd keeps each key: Go's JSON decoder names these structs in its errors (since Go 1.24)."""

_COMMON = "CommonConfig"
_BRIDGE = f"{_COMMON}.BridgeConfig"
_DEFAULT_BRIDGE = f"{_BRIDGE}.DefaultBridgeConfig"

_KEYS = {
    "": "runtimes default-ulimits cgroup-parent selinux-enabled userns-remap cpu-rt-period cpu-rt-runtime "
    "init init-path seccomp-profile default-shm-size no-new-privileges default-ipc-mode "
    "default-cgroupns-mode rootless",
    f"{_COMMON}.proxies": "http-proxy https-proxy no-proxy",
    f"{_COMMON}.DaemonLogConfig": "log-level log-format raw-logs",
    f"{_COMMON}.TLSOptions": "tlscacert tlscert tlskey",
    f"{_COMMON}.DNSConfig": "dns dns-opts dns-search host-gateway-ip host-gateway-ips",
    f"{_COMMON}.ContainerDefaults": "default-stop-timeout",
    f"{_COMMON}.LogConfig": "log-driver log-opts",
    f"{_COMMON}.NetworkConfig": "default-address-pools network-control-plane-mtu default-network-opts "
    "firewall-backend",
    f"{_COMMON}.ServiceOptions": "insecure-registries registry-mirrors",
    _BRIDGE: "iptables ip6tables ip-forward ip-forward-no-drop ip-masq userland-proxy userland-proxy-path "
    "allow-direct-routing bridge-accept-fwmark",
    _DEFAULT_BRIDGE: "ipv6 fixed-cidr-v6 mtu ip bip bip6 default-gateway default-gateway-v6 icc",
    f"{_DEFAULT_BRIDGE}.commonBridgeConfig": "bridge fixed-cidr",
}
_STRUCTS = {key: struct for struct, keys in _KEYS.items() for key in keys.split()}


def path_to(key: str) -> str:
    """The names before the key's own, with a dot at the end; "" for none."""
    struct = _STRUCTS.get(key, _COMMON)
    return f"{struct}." if struct else ""
