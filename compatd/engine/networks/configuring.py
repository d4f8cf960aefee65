"""Which networks a container is to be on: `container.networking`, EndpointSettings by network name.

Each entry is what the client gave, and once it is known `NetworkID` and `DNSNames`. As in dockerd a key is
the name or ID that the client used until the network is found.
"""

from compatd.engine.errors import EngineError
from compatd.engine.networks import settings
from compatd.engine.networks.catalog import Catalog
from compatd.engine.networks.model import ContainerLike, Json, Network
from compatd.engine.networks.names import dns_names, has_names


def configure(catalog: Catalog, container: ContainerLike) -> None:
    """A new container that names no network is put on that of its mode; the mode's is kept by name.

    One that was taken off its last network stays without.
    """
    mode = str(container.host_config.get("NetworkMode") or "default")
    if container.config.get("NetworkDisabled") or mode.startswith("container:"):
        return
    name = "bridge" if mode == "default" else mode
    found = catalog.find(name) if settings.is_user_defined(name) else None
    if found is not None:
        name = found.name
    networking = container.networking
    if not networking and "Networks" not in container.network_settings:
        networking[name] = {}
    if found is not None and name not in networking and found.id in networking:
        networking[name] = networking.pop(found.id)


def network_of(catalog: Catalog, key: str, kept: Json) -> Network:
    """The network of an entry: by its ID once that is known. Raises NotFound."""
    known = str(kept.get("NetworkID") or "") if settings.is_user_defined(key) else ""
    return catalog.resolve(known or key)


def keep(catalog: Catalog, container: ContainerLike, key: str, network: Network) -> Json:
    """Keeps an entry under the network's name from now on; answers it.

    Raises InvalidParameter when the network cannot give what it asks for.
    """
    networking = container.networking
    kept: Json = networking.pop(key)
    networking[network.name] = kept
    mode = str(container.host_config.get("NetworkMode") or "")
    meant = catalog.find(mode) if settings.is_user_defined(mode) else None
    if meant is not None and mode not in (meant.id, meant.name):
        container.host_config["NetworkMode"] = meant.id  # it was the ID's beginning
    describe(container, network, kept)
    return kept


def describe(container: ContainerLike, network: Network, kept: Json) -> None:
    """The container's names on a network, and what is checked whenever it gets there.

    Raises InvalidParameter.
    """
    if has_names(network.name):
        kept["DNSNames"] = dns_names(container, kept)
    settings.check(network, network.name, kept)


def check_together(catalog: Catalog, container: ContainerLike, network: Network) -> None:
    """Whether a container may be on this network beside those that it is on. Raises InvalidParameter."""
    others = [catalog.find(str(kept.get("NetworkID") or key)) for key, kept in container.networking.items()]
    present = [other for other in others if other is not None and other.id != network.id]
    settings.check_together(network, present, host_mode=container.host_config.get("NetworkMode") == "host")


def connect(catalog: Catalog, container: ContainerLike, term: str, request: Json) -> None:
    """Adds a network to a container that does not run; one that is not there (yet) is taken as named.

    Raises InvalidParameter. Nothing happens when it is on that network already.
    """
    network = catalog.find(term)
    if network is None:
        container.networking[term] = request
        return
    describe(container, network, request)
    if network.name in container.networking:
        return
    check_together(catalog, container, network)
    container.networking[network.name] = request


def disconnect(catalog: Catalog, container: ContainerLike, term: str) -> None:
    """Takes a network from a container that does not run. Raises EngineError when it is not on it."""
    network = catalog.find(term)
    name = network.name if network is not None else term
    if container.networking.pop(name, None) is None:
        raise EngineError(f"container {container.id} is not connected to the network {name}")
