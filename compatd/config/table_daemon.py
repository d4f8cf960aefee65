"""Options of the daemon itself: where it listens, keeps things, logs, and who may do what."""

from compatd.config.option import option

_NO_CONTAINERD = "there is no containerd: containers are run by compatd itself; remove it"
_NO_SWARM = "swarm mode is not there; remove it"

ROWS = (
    option("hosts", "hosts", [], "Daemon socket(s) to connect to", flag="host", short="H"),
    option("group", "string", "docker", "Group for the unix socket", short="G"),
    option("data-root", "string", "/var/lib/docker", "Root directory of persistent Docker state"),
    option("exec-root", "string", "/var/run/docker", "Root directory for execution state files"),
    option("pidfile", "string", "/var/run/docker.pid", "Path to use for daemon PID file", short="p"),
    option("debug", "bool", False, "Enable debug mode", short="D", reloads=True),
    option(
        "log-level",
        "string",
        "info",
        'Set the logging level ("debug"|"info"|"warn"|"error"|"fatal")',
        short="l",
    ),
    option("log-format", "string", "text", 'Set the logging format ("text"|"json")'),
    option("raw-logs", "bool", False, "Full timestamps without ANSI coloring"),
    option(
        "live-restore",
        "bool",
        False,
        "Enable live restore of docker when containers are still running",
        reloads=True,
    ),
    option("shutdown-timeout", "int", 15, "Set the default shutdown timeout", reloads=True),
    option("labels", "labels", [], "Set key=value labels to the daemon", flag="label", reloads=True),
    option("features", "features", {}, "Enable feature in the daemon", flag="feature", reloads=True),
    option("experimental", "bool", False, "Enable experimental features"),
    option(
        "metrics-addr",
        "string",
        "",
        "Set default address and port to serve the metrics api on",
    ),
    option("min-api-version", "string", "", "Oldest API version that is served", on_line=False),
    # TLS
    option("tls", "bool", None, "Use TLS; implied by --tlsverify"),
    option("tlsverify", "bool", None, "Use TLS and verify the remote"),
    option("tlscacert", "string", "", "Trust certs signed only by this CA"),
    option("tlscert", "string", "", "Path to TLS certificate file"),
    option("tlskey", "string", "", "Path to TLS key file"),
    # our own
    option(
        "access", "access", [], "Rules about who may do what (docs/access.md)", on_line=False, reloads=True
    ),
    option("audit-log", "string", "", "File that gets a JSON line for every request"),
    option("idle-exit", "int", 0, "End after this many seconds without requests, when started by a socket"),
    # what has no meaning here
    option("authorization-plugins", "list", [], "Authorization plugins to load", flag="authorization-plugin"),
    option("userns-remap", "string", "", "User/Group setting for user namespaces"),
    option("containerd", "string", "", "containerd grpc address", idle=_NO_CONTAINERD),
    option("containerd-namespace", "string", "moby", "Containerd namespace to use", idle=_NO_CONTAINERD),
    option(
        "containerd-plugins-namespace",
        "string",
        "plugins.moby",
        "Containerd namespace to use for plugins",
        idle=_NO_CONTAINERD,
    ),
    option("cri-containerd", "bool", False, "start containerd with cri", idle=_NO_CONTAINERD),
    option("nri-opts", "nri", {}, "Node Resource Interface configuration", idle="there is no NRI; remove it"),
    option(
        "rootless",
        "bool",
        False,
        "Enable rootless mode; typically used with RootlessKit",
        idle="compatd runs as root; run it outside RootlessKit",
    ),
    option(
        "selinux-enabled",
        "bool",
        False,
        "Enable selinux support",
        idle="containers get no SELinux labels; security options seccomp and apparmor act",
    ),
    option(
        "node-generic-resources",
        "resources",
        [],
        "Advertise user-defined resource",
        flag="node-generic-resource",
        idle=_NO_SWARM,
    ),
    option(
        "swarm-default-advertise-addr",
        "string",
        "",
        "Set default address or interface for swarm advertised address",
        idle=_NO_SWARM,
    ),
    option(
        "oom-score-adjust",
        "int",
        0,
        "Set the oom_score_adj for the daemon",
        deprecated="set OOMScoreAdjust= in the service's unit",
        idle="set OOMScoreAdjust= in the service's unit, as with dockerd since 25",
        hidden=True,
    ),
    option(
        "api-cors-header",
        "string",
        "",
        "Set CORS headers in the Engine API",
        deprecated="accessing Docker API through a browser is insecure; "
        "use a reverse proxy if you need CORS headers",
        hidden=True,
    ),
    option(
        "restart",
        "bool",
        True,
        "--restart on the daemon has been deprecated in favor of --restart policies on docker run",
        short="r",
        deprecated="Please use a restart policy on docker run",
        hidden=True,
        in_file=False,
        idle="set restart policies on containers",
    ),
    option(
        "deprecated-key-path",
        "string",
        "",
        "",
        on_line=False,
        idle="keys of the engine are not used any more; remove it",
    ),
)
