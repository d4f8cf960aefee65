import pytest

from compatd.config.access import LIMITS, NO_HOST_NAMESPACES, NO_HOST_PATHS, NO_PRIVILEGED, OWN
from compatd.engine.builder.buildkit.limits import BRIDGE, CONTROL, Peer, guard
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError

Solve, Build = proto("moby.buildkit.v1.SolveRequest"), proto("moby.buildkit.v1.frontend.SolveRequest")


def refused(limits: set[str], path: str, message: object = None) -> str:
    """Why a call is refused; "" when it is not."""
    try:
        guard(Peer(frozenset(limits), "uid:1"), path, message)  # type: ignore[arg-type]
    except GrpcError as error:
        assert error.code == Code.PERMISSION_DENIED
        return error.message
    return ""


@pytest.mark.parametrize("limit", [NO_PRIVILEGED, NO_HOST_PATHS, NO_HOST_NAMESPACES, OWN])
def test_more_of_the_machine(limit: str) -> None:
    insecure = Solve(Entitlements=["security.insecure"])
    assert "security.insecure" in refused({limit}, f"{CONTROL}Solve", insecure)
    assert "device" in refused({limit}, f"{CONTROL}Solve", Solve(Entitlements=["device"]))
    assert "cgroup" in refused({limit}, f"{CONTROL}Solve", Solve(FrontendAttrs={"cgroup-parent": "/x"}))
    assert "cgroup" in refused({limit}, f"{BRIDGE}Solve", Build(FrontendOpt={"cgroup-parent": "/x"}))
    assert refused({limit}, f"{CONTROL}Solve", Solve(FrontendAttrs={"target": "x"})) == ""
    assert refused({limit}, f"{CONTROL}ListWorkers") == ""


def test_the_hosts_network() -> None:
    host = Solve(Entitlements=["network.host"])
    forced = Build(FrontendOpt={"force-network-mode": "host"})
    assert refused({NO_PRIVILEGED}, f"{CONTROL}Solve", host) == ""
    assert refused({NO_PRIVILEGED}, f"{BRIDGE}Solve", forced) == ""
    assert "network.host" in refused({NO_HOST_NAMESPACES}, f"{CONTROL}Solve", host)
    assert "network" in refused({NO_HOST_NAMESPACES}, f"{BRIDGE}Solve", forced)


def test_what_is_everybodys() -> None:
    for call in ("Prune", "UpdateBuildHistory"):
        assert "everybody's" in refused({OWN}, f"{CONTROL}{call}")
        assert refused({NO_PRIVILEGED}, f"{CONTROL}{call}") == ""


def test_whose_sessions() -> None:
    assert Peer(frozenset({OWN}), "uid:1").owner == "uid:1"
    assert Peer(frozenset(LIMITS) - {OWN}, "uid:1").owner is None
    assert Peer().owner is None


def test_without_limits_everything_goes() -> None:
    assert refused(set(), f"{CONTROL}Solve", Solve(Entitlements=["security.insecure"])) == ""
    assert refused(set(), f"{CONTROL}Prune") == ""
