"""Features of the kernel that containers are made of."""

import gzip
import re
from collections.abc import Iterator

from compatd.doctor.finding import OK, PROBLEM, WARNING, Finding
from compatd.doctor.machine import Machine

NAME = "kernel"

_NAMESPACES = {
    "cgroup": WARNING,
    "ipc": PROBLEM,
    "mnt": PROBLEM,
    "net": PROBLEM,
    "pid": PROBLEM,
    "uts": PROBLEM,
}

# module, its switch in the kernel's configuration, level when it is missing, what goes without it
_FEATURES = (
    ("overlay", "OVERLAY_FS", WARNING, "the storage driver is vfs: slow, and each container a whole copy"),
    ("bridge", "BRIDGE", PROBLEM, "networks of the driver bridge, the default"),
    ("veth", "VETH", PROBLEM, "networks of the driver bridge, the default"),
    ("nf_tables", "NF_TABLES", PROBLEM, "published ports and the way out of containers"),
    ("nft_nat", "NFT_NAT", PROBLEM, "published ports"),
    ("nft_masq", "NFT_MASQ", PROBLEM, "the way out of containers"),
    ("nf_conntrack", "NF_CONNTRACK", PROBLEM, "published ports"),
    ("br_netfilter", "BRIDGE_NETFILTER", OK, "nothing: rules for bridged frames are not needed"),
    ("macvlan", "MACVLAN", OK, "networks of the driver macvlan"),
    ("ipvlan", "IPVLAN", OK, "networks of the driver ipvlan"),
)


def check(machine: Machine) -> Iterator[Finding]:
    """Namespaces, file systems, networking, seccomp."""
    missing = [name for name in _NAMESPACES if not machine.exists(f"/proc/self/ns/{name}")]
    for name in missing:
        yield Finding(
            NAME,
            _NAMESPACES[name],
            f"the kernel has no {name} namespaces",
            ["boot a kernel with all of CONFIG_NAMESPACES (a distribution's own has them)"],
        )
    if not missing:
        yield Finding(NAME, OK, "all namespaces are there")
    yield from _features(machine)
    if not machine.exists("/proc/sys/kernel/seccomp/actions_avail"):
        yield Finding(
            NAME,
            WARNING,
            "the kernel has no seccomp: no system call is kept from containers",
            ["boot a kernel with CONFIG_SECCOMP_FILTER=y"],
        )
    yield _forwarding(machine)
    if machine.read("/proc/sys/user/max_net_namespaces").strip() == "0":
        yield Finding(
            NAME, PROBLEM, "no network namespace may be made", ["sysctl -w user.max_net_namespaces=63000"]
        )


def _features(machine: Machine) -> Iterator[Finding]:
    known = _known(machine)
    there, unknown = [], []
    for module, switch, level, lost in _FEATURES:
        if known is None:
            unknown.append(module)
        elif module in known or switch in known:
            there.append(module)
        elif level == OK:
            yield Finding(NAME, OK, f"{module} is not there; not to be had: {lost}")
        else:
            yield Finding(
                NAME,
                level,
                f"the kernel lacks {module}: without it {lost}"
                if module == "overlay"
                else f"the kernel lacks {module}; not to be had: {lost}",
                [f"modprobe {module}", f"boot a kernel with CONFIG_{switch}=y or =m"],
            )
    if there:
        yield Finding(NAME, OK, f"there: {', '.join(there)}")
    if unknown:
        yield Finding(
            NAME,
            WARNING,
            f"cannot see whether the kernel has {', '.join(unknown)}: no list of modules, no configuration",
            [f"modprobe -a {' '.join(unknown)}"],
        )


def _known(machine: Machine) -> set[str] | None:
    """Modules that are there or can be loaded, and switches that are set; None when nobody says."""
    found: set[str] = set()
    folder = f"/lib/modules/{machine.release}"
    sources = 0
    for name in (f"{folder}/modules.builtin", f"{folder}/modules.dep"):
        text = machine.read(name)
        sources += bool(text)
        for line in text.splitlines():
            file = line.partition(":")[0].rpartition("/")[2]
            found.add(file.partition(".ko")[0].replace("-", "_"))
    found |= {line.split(" ", 1)[0] for line in machine.read("/proc/modules").splitlines()}
    config = machine.read(f"/boot/config-{machine.release}") or _packed(machine)
    sources += bool(config)
    found |= set(re.findall(r"^CONFIG_(\w+)=[ym]$", config, re.MULTILINE))
    filesystems = machine.read("/proc/filesystems").split()
    if "overlay" in filesystems:
        found.add("overlay")
    return found if sources else None


def _packed(machine: Machine) -> str:
    try:
        return gzip.decompress(machine.path("/proc/config.gz").read_bytes()).decode(errors="replace")
    except (OSError, EOFError):
        return ""


def _forwarding(machine: Machine) -> Finding:
    if machine.read("/proc/sys/net/ipv4/ip_forward").strip() != "0":
        return Finding(NAME, OK, "IPv4 is forwarded")
    return Finding(
        NAME,
        WARNING,
        "IPv4 is not forwarded: containers reach nothing beyond this machine (the daemon switches it on "
        "when it starts, unless ip-forward is false)",
        ["sysctl -w net.ipv4.ip_forward=1"],
    )
