"""Options about containers, their logs, images, registries and builds."""

from compatd.config.option import option

_REAL_TIME = "use --cpu-rt-period and --cpu-rt-runtime of containers, and set the parent cgroup's by hand"

ROWS = (
    option("default-runtime", "string", "compatd", "Default OCI runtime for containers", reloads=True),
    option(
        "runtimes",
        "runtimes",
        {},
        "Register an additional OCI compatible runtime",
        flag="add-runtime",
        reloads=True,
    ),
    option("cgroup-parent", "string", "", "Set parent cgroup for all containers"),
    option("exec-opts", "list", [], "Runtime execution options", flag="exec-opt"),
    option(
        "default-cgroupns-mode",
        "string",
        "",
        'Default mode for containers cgroup namespace ("host" | "private")',
        reloads=True,
    ),
    option(
        "default-ipc-mode",
        "string",
        "private",
        'Default mode for containers ipc ("shareable" | "private")',
        reloads=True,
    ),
    option("default-shm-size", "bytes", 64 << 20, "Default shm size for containers", reloads=True),
    option("default-ulimits", "ulimits", {}, "Default ulimits for containers", flag="default-ulimit"),
    option(
        "default-stop-timeout",
        "int",
        10,
        "Set the default container stop timeout in seconds (0 to terminate immediately)",
    ),
    option("init", "bool", False, "Run an init in the container to forward signals and reap processes"),
    option("init-path", "string", "", "Path to the docker-init binary"),
    option("no-new-privileges", "bool", False, "Set no-new-privileges by default for new containers"),
    option(
        "seccomp-profile",
        "string",
        "",
        'Path to seccomp profile. Set to "unconfined" to disable the default seccomp profile '
        '(default "builtin")',
    ),
    option(
        "cdi-spec-dirs",
        "list",
        ["/etc/cdi", "/var/run/cdi"],
        "CDI specification directories to use",
        flag="cdi-spec-dir",
    ),
    option(
        "cpu-rt-period",
        "int",
        0,
        "Limit the CPU real-time period in microseconds for the parent cgroup for all containers "
        "(not supported with cgroups v2)",
        idle=_REAL_TIME,
    ),
    option(
        "cpu-rt-runtime",
        "int",
        0,
        "Limit the CPU real-time runtime in microseconds for the parent cgroup for all containers "
        "(not supported with cgroups v2)",
        idle=_REAL_TIME,
    ),
    option("log-driver", "string", "json-file", "Default driver for container logs"),
    option("log-opts", "map", {}, "Default log driver options for containers", flag="log-opt"),
    # images
    option("storage-driver", "string", "overlay2", "Storage driver to use", short="s"),
    option("storage-opts", "list", [], "Storage driver options", flag="storage-opt"),
    option("max-concurrent-downloads", "int", 3, "Set the max concurrent downloads", reloads=True),
    option("max-concurrent-uploads", "int", 5, "Set the max concurrent uploads", reloads=True),
    option("max-download-attempts", "int", 5, "Set the max download attempts for each pull", reloads=True),
    option(
        "insecure-registries",
        "indexes",
        [],
        "Enable insecure registry communication",
        flag="insecure-registry",
        reloads=True,
    ),
    option(
        "registry-mirrors",
        "mirrors",
        [],
        "Preferred Docker registry mirror",
        flag="registry-mirror",
        reloads=True,
    ),
    option("registries", "registries", {}, "Mirrors of a registry, as host=mirror,…", flag="registry"),
    option(
        "allow-nondistributable-artifacts",
        "indexes",
        [],
        "Allow push of nondistributable artifacts to registry",
        deprecated="Pushing nondistributable artifacts is now enabled by default. ",
        hidden=True,
        idle="such layers are pushed anyway; remove it",
    ),
    option("http-proxy", "string", "", "HTTP proxy URL to use for outgoing traffic"),
    option("https-proxy", "string", "", "HTTPS proxy URL to use for outgoing traffic"),
    option(
        "no-proxy",
        "string",
        "",
        "Comma-separated list of hosts or IP addresses for which the proxy is skipped",
    ),
    option("builder", "builder", {}, "Settings of the builder", on_line=False),
)
