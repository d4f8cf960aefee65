"""The daemon's options as data: dockerd's flags and daemon.json keys, one row each.

Source: `dockerd --help` (20.10 to 28) and its description of daemon.json. An option marked `idle` is taken
and checked as dockerd does, and said once in the log to have no effect here.
"""

from typing import Any, NamedTuple

from compatd.config.values import VALUES


class Option(NamedTuple):
    """`key` as in daemon.json, `flag` without dashes, `kind` a name in VALUES, `help` for `--help`."""

    key: str
    flag: str
    kind: str
    default: Any
    help: str
    short: str = ""
    idle: bool = False

    @property
    def attribute(self) -> str:
        """The name in Config."""
        return self.key.replace("-", "_")


def _option(
    key: str, kind: str, default: Any, text: str, *, flag: str = "", short: str = "", idle: bool = False
) -> Option:
    assert kind in VALUES, kind
    return Option(key, flag or key, kind, default, text, short, idle)


OPTIONS: tuple[Option, ...] = (
    _option("hosts", "list", [], "Daemon socket(s) to connect to", flag="host", short="H"),
    _option("group", "string", "docker", "Group for the unix socket", short="G"),
    _option("data-root", "path", "/var/lib/docker", "Root directory of persistent Docker state"),
    _option("exec-root", "path", "/var/run/docker", "Root directory for execution state files"),
    _option("pidfile", "path", "/var/run/docker.pid", "Path to use for daemon PID file", short="p"),
    _option("debug", "bool", False, "Enable debug mode", short="D"),
    _option(
        "log-level",
        "level",
        "info",
        'Set the logging level ("debug"|"info"|"warn"|"error"|"fatal")',
        short="l",
    ),
    _option("log-format", "string", "text", 'Set the logging format ("text"|"json")'),
    _option("raw-logs", "bool", False, "Full timestamps without ANSI coloring", idle=True),
    # containers
    _option("default-runtime", "string", "compatd", "Default OCI runtime for containers"),
    _option("runtimes", "runtimes", {}, "Register an additional OCI compatible runtime", flag="add-runtime"),
    _option("cgroup-parent", "string", "", "Set parent cgroup for all containers"),
    _option("default-cgroupns-mode", "string", "", 'Default cgroup namespace mode ("host"|"private")'),
    _option(
        "default-ipc-mode", "string", "private", 'Default mode for containers ipc ("shareable"|"private")'
    ),
    _option("default-shm-size", "bytes", 64 << 20, "Default shm size for containers"),
    _option("default-ulimits", "ulimits", {}, "Default ulimits for containers", flag="default-ulimit"),
    _option("init", "bool", False, "Run an init in the container to forward signals and reap processes"),
    _option("init-path", "string", "", "Path to the docker-init binary"),
    _option("live-restore", "bool", False, "Keep containers running while the daemon is stopped in order"),
    _option("shutdown-timeout", "int", 15, "Set the default shutdown timeout"),
    _option(
        "cdi-spec-dirs",
        "list",
        ["/etc/cdi", "/var/run/cdi"],
        "CDI specification directories to use",
        flag="cdi-spec-dir",
    ),
    _option("no-new-privileges", "bool", False, "Set no-new-privileges by default for new containers"),
    _option("seccomp-profile", "string", "", "Path to seccomp profile"),
    _option("log-driver", "string", "json-file", "Default driver for container logs"),
    _option("log-opts", "map", {}, "Default log driver options for containers", flag="log-opt"),
    _option("labels", "list", [], "Set key=value labels to the daemon", flag="label"),
    # images
    _option("storage-driver", "string", "overlay2", "Storage driver to use", short="s"),
    _option("storage-opts", "list", [], "Storage driver options", flag="storage-opt", idle=True),
    _option(
        "insecure-registries", "list", [], "Enable insecure registry communication", flag="insecure-registry"
    ),
    _option("registry-mirrors", "list", [], "Preferred Docker registry mirror", flag="registry-mirror"),
    _option("max-concurrent-downloads", "int", 3, "Set the max concurrent downloads for each pull"),
    _option("max-concurrent-uploads", "int", 5, "Set the max concurrent uploads for each push"),
    _option("max-download-attempts", "int", 5, "Set the max download attempts for each pull"),
    _option("registries", "registries", {}, "Mirrors of a registry, as host=mirror,…", flag="registry"),
    _option("http-proxy", "string", "", "HTTP proxy URL to use for outgoing traffic"),
    _option("https-proxy", "string", "", "HTTPS proxy URL to use for outgoing traffic"),
    _option("no-proxy", "string", "", "Comma-separated list of hosts or IP addresses not to proxy"),
    # networks
    _option("bridge", "string", "", "Attach containers to a network bridge", short="b"),
    _option("bip", "string", "", "Specify network bridge IP"),
    _option("default-address-pools", "pools", [], "Default address pools", flag="default-address-pool"),
    _option("dns", "list", [], "DNS server to use"),
    _option("dns-opts", "list", [], "DNS options to use", flag="dns-opt"),
    _option("dns-search", "list", [], "DNS search domains to use"),
    _option("fixed-cidr", "string", "", "IPv4 subnet for fixed IPs"),
    _option("ip", "string", "0.0.0.0", "Default IP when binding container ports"),
    _option("ip-forward", "bool", True, "Enable net.ipv4.ip_forward"),
    _option("ip-masq", "bool", True, "Enable IP masquerading"),
    _option("iptables", "bool", True, "Enable addition of firewall rules"),
    _option("icc", "bool", True, "Enable inter-container communication"),
    _option("mtu", "int", 1500, "Set the containers network MTU"),
    _option("userland-proxy", "bool", False, "Taken for dockerd's sake: no proxy is ever needed", idle=True),
    _option("userland-proxy-path", "string", "", "Taken for dockerd's sake", idle=True),
    # taken for dockerd's sake
    _option("containerd", "string", "", "Taken for dockerd's sake: there is no containerd", idle=True),
    _option("experimental", "bool", False, "Enable experimental features", idle=True),
    _option("features", "features", {}, "Enable or disable features", flag="feature", idle=True),
)

BY_KEY = {option.key: option for option in OPTIONS}
BY_FLAG = {option.flag: option for option in OPTIONS}
