"""/etc/hosts and /etc/resolv.conf of a RUN, as BuildKit gives them.

Source: moby/buildkit executor/oci (hosts.go, resolvconf.go). Those of the classic builder are a container's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.running.place import HOSTNAME
from compatd.engine.networks import files
from runtime.init.options import STUB

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Json = dict[str, Any]
_OPTIONS = ["nosuid", "noexec", "nodev", "rbind", "ro", STUB]


def write(engine: "Engine", folder: Path, hostname: str, extra: Sequence[str], network: str) -> list[Json]:
    """Write both into `folder`; their mounts. Raises OSError."""
    gateways = host_gateways(engine) if extra else []
    lines = [f"127.0.0.1\tlocalhost {hostname or HOSTNAME}", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += [f"{address}\t{name}" for address, name in files.extra_hosts(extra, gateways)]
    (folder / "hosts").write_text("".join(f"{line}\n" for line in lines))
    mode = network if network == "host" else "default"
    resolv = files.resolv_conf({"NetworkMode": mode}, engine.config, resolver=False, ipv6=True)
    (folder / "resolv.conf").write_bytes(resolv.content(comments=False))
    return [
        {"destination": f"/etc/{name}", "type": "bind", "source": str(folder / name), "options": _OPTIONS}
        for name in ("resolv.conf", "hosts")
    ]


def host_gateways(engine: "Engine") -> list[str]:
    """What `host-gateway` stands for: the daemon's addresses for it, or those of the default network."""
    given = list(engine.config.host_gateway_ips or ())
    if given:
        return given
    found = engine.networks.inspect("bridge") if engine.config.bridge != "none" else {}
    return [
        entry["Gateway"] for entry in (found.get("IPAM") or {}).get("Config") or () if entry.get("Gateway")
    ]
