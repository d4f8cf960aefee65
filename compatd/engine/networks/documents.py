"""What clients see of networks: the network resource and a container's NetworkSettings (API 1.56's shape)."""

from collections.abc import Iterable, Mapping
from typing import Any

from compatd.engine.networks.model import Endpoint, Json, Network, Publication, Subnet


def network(n: Network) -> Json:
    """A network resource without its containers (API: network.Summary)."""
    return {
        "Name": n.name,
        "Id": n.id,
        "Created": n.created,
        "Scope": n.scope,
        "Driver": n.driver,
        "EnableIPv4": n.ipv4,
        "EnableIPv6": n.ipv6,
        "IPAM": {
            "Driver": n.ipam_driver,
            "Options": n.ipam_options,
            "Config": [_subnet(s) for s in n.subnets] or None,
        },
        "Internal": n.internal,
        "Attachable": n.attachable,
        "Ingress": n.ingress,
        "ConfigFrom": {"Network": n.config_from},
        "ConfigOnly": n.config_only,
        "Options": n.options,
        "Labels": n.labels,
    }


def _subnet(s: Subnet) -> Json:
    found: Json = {"Subnet": s.prefix}
    if s.range:
        found["IPRange"] = s.range
    if s.gateway:
        found["Gateway"] = s.gateway
    if s.auxiliary:
        found["AuxiliaryAddresses"] = s.auxiliary
    return found


def attached(endpoints: Iterable[tuple[Endpoint, str]]) -> Json:
    """A network's `Containers`, from its endpoints with the containers' present names."""
    return {
        e.container_id: {
            "Name": name,
            "EndpointID": e.id,
            "MacAddress": e.mac,
            "IPv4Address": f"{e.address}/{e.prefix_length}" if e.address else "",
            "IPv6Address": f"{e.address6}/{e.prefix_length6}" if e.address6 else "",
        }
        for e, name in endpoints
    }


def settings(endpoints: Iterable[Endpoint], sandbox_id: str = "", sandbox_key: str = "") -> Json:
    """A running container's NetworkSettings. The fields of its default bridge are at the top too, as API
    versions before 1.52 show them."""
    endpoints = sorted(endpoints, key=lambda e: e.network_name)
    document: Json = {
        "SandboxID": sandbox_id,
        "SandboxKey": sandbox_key,
        "Ports": {},
        "Networks": {e.network_name: endpoint_settings(e) for e in endpoints},
    }
    for e in endpoints:
        for key, bound in port_map(e.exposed, e.publications).items():
            document["Ports"][key] = bound or document["Ports"].get(key)
    return _with_legacy(document)


def idle_settings(networks: Mapping[str, Json]) -> Json:
    """NetworkSettings of a container that does not run: `networks` are the kept EndpointSettings."""
    shown = {}
    for name, kept in sorted(networks.items()):
        shown[name] = _endpoint_fields(kept)
        if not kept.get("NetworkID"):
            shown[name]["MacAddress"] = kept.get("MacAddress") or ""  # as asked for, until the first start
    return _with_legacy({"SandboxID": "", "SandboxKey": "", "Ports": {}, "Networks": shown})


def endpoint_settings(e: Endpoint) -> Json:
    """One entry of `NetworkSettings.Networks`."""
    document = _endpoint_fields(e.request)
    document.update(
        NetworkID=e.network_id,
        EndpointID=e.id,
        Gateway=e.gateway,
        IPAddress=e.address,
        MacAddress=e.mac,
        IPPrefixLen=e.prefix_length,
        IPv6Gateway=e.gateway6,
        GlobalIPv6Address=e.address6,
        GlobalIPv6PrefixLen=e.prefix_length6,
        DNSNames=e.dns_names or None,
    )
    return document


def _endpoint_fields(kept: Mapping[str, Any]) -> Json:
    return {
        "IPAMConfig": kept.get("IPAMConfig"),
        "Links": kept.get("Links"),
        "Aliases": kept.get("Aliases"),
        "DriverOpts": kept.get("DriverOpts"),
        "GwPriority": kept.get("GwPriority") or 0,
        "NetworkID": kept.get("NetworkID") or "",
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "MacAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": kept.get("DNSNames"),
    }


_LEGACY = (
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "MacAddress",
)


def _with_legacy(document: Json) -> Json:
    default = document["Networks"].get("bridge")
    if default is not None:
        document.update({key: default[key] for key in _LEGACY})
    return document


def port_map(exposed: Iterable[str], publications: Iterable[Publication]) -> Json:
    """`Ports`: {"80/tcp": [{"HostIp", "HostPort"}]}, None for a port that is only exposed."""
    ports: Json = dict.fromkeys(exposed)
    for p in publications:
        ports[p.container_key] = ports.get(p.container_key) or []
        ports[p.container_key].append(
            {"HostIp": p.host_ip, "HostPort": str(p.host_port) if p.host_port else ""}
        )
    return ports
