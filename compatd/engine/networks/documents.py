"""What clients see of networks: the network resource and a container's NetworkSettings (API 1.56's shape)."""

from collections.abc import Iterable, Mapping
from typing import Any

from compatd.engine.networks.model import Endpoint, Json, Publication

PREDEFINED = ("bridge", "host", "none")


def network(name: str, id: str, created: str, driver: str, subnet: str = "", gateway: str = "") -> Json:
    """A network resource without its containers, as kept in the store."""
    config = [{"Subnet": subnet, "Gateway": gateway}] if subnet else None
    return {
        "Name": name,
        "Id": id,
        "Created": created,
        "Scope": "local",
        "Driver": driver,
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": config},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Options": {},
        "Labels": {},
    }


def bridge_options(name: str, *, icc: bool, masquerade: bool, host_ip: str, mtu: int) -> dict[str, str]:
    """The driver options that the default bridge shows."""
    return {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": str(icc).lower(),
        "com.docker.network.bridge.enable_ip_masquerade": str(masquerade).lower(),
        "com.docker.network.bridge.host_binding_ipv4": host_ip or "0.0.0.0",
        "com.docker.network.bridge.name": name,
        "com.docker.network.driver.mtu": str(mtu),
    }


def attached(endpoints: Iterable[tuple[Endpoint, str]]) -> Json:
    """A network's `Containers`, from its endpoints with the containers' present names."""
    return {
        e.container_id: {
            "Name": name,
            "EndpointID": e.id,
            "MacAddress": e.mac,
            "IPv4Address": f"{e.address}/{e.prefix_length}" if e.address else "",
            "IPv6Address": "",
        }
        for e, name in endpoints
    }


def ipam_status(subnet: str, taken: int) -> Json:
    """`Status` of a network (since 1.52). `taken` counts the gateway; the network's own address and
    broadcast count as in use too."""
    size = 1 << (32 - int(subnet.rpartition("/")[2]))
    in_use = min(size, taken + 2)
    return {"IPAM": {"Subnets": {subnet: {"IPsInUse": in_use, "DynamicIPsAvailable": size - in_use}}}}


def settings(endpoints: list[Endpoint], sandbox_id: str = "", sandbox_key: str = "") -> Json:
    """A running container's NetworkSettings. The fields of its default bridge are at the top too, as API
    versions before 1.52 show them."""
    document: Json = {
        "SandboxID": sandbox_id,
        "SandboxKey": sandbox_key,
        "Ports": {},
        "Networks": {e.network_name: endpoint_settings(e) for e in endpoints},
    }
    for e in endpoints:
        document["Ports"].update(port_map(e.exposed, e.publications))
    return _with_legacy(document)


def idle_settings(names: Mapping[str, Any], network_ids: Mapping[str, str]) -> Json:
    """NetworkSettings of a container that does not run: `names` are its networks with the client's
    EndpointSettings; `network_ids` their IDs where they are known by now (empty before the first start)."""
    networks = {name: _endpoint_fields(request, network_ids.get(name, "")) for name, request in names.items()}
    return _with_legacy({"SandboxID": "", "SandboxKey": "", "Ports": {}, "Networks": networks})


def cleared(running: Json) -> Json:
    """`running` NetworkSettings as they are once the container has stopped."""
    networks = running.get("Networks") or {}
    ids = {name: e.get("NetworkID", "") for name, e in networks.items()}
    return idle_settings(networks, ids)


def endpoint_settings(e: Endpoint) -> Json:
    """One entry of `NetworkSettings.Networks`."""
    document = _endpoint_fields(e.request, e.network_id)
    document.update(
        EndpointID=e.id,
        Gateway=e.gateway,
        IPAddress=e.address,
        MacAddress=e.mac,
        IPPrefixLen=e.prefix_length,
    )
    return document


def _endpoint_fields(request: Mapping[str, Any] | None, network_id: str) -> Json:
    request = request or {}
    return {
        "IPAMConfig": request.get("IPAMConfig") or None,
        "Links": request.get("Links"),
        "Aliases": request.get("Aliases"),
        "DriverOpts": request.get("DriverOpts"),
        "GwPriority": request.get("GwPriority") or 0,
        "NetworkID": network_id,
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "MacAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": None,
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
        ports[p.container_key].append({"HostIp": p.host_ip, "HostPort": str(p.host_port)})
    return ports
