"""`POST /containers/{id}/update`: other limits and another restart policy, at once where it runs."""

import copy
from typing import TYPE_CHECKING, Any

from compatd.engine.containers import validate
from compatd.engine.containers.hostconfig import user_host_config
from compatd.engine.containers.model import Container
from compatd.engine.containers.resources import check_resources
from compatd.engine.containers.spec.limits import resources
from compatd.engine.errors import Conflict, EngineError
from runtime.client import RuntimeError_

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]

FIELDS = (
    "BlkioWeight", "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps", "CpuShares", "NanoCpus", "CpuPeriod", "CpuQuota", "CpusetCpus", "CpusetMems",
    "Memory", "MemorySwap", "MemoryReservation", "CpuRealtimePeriod", "CpuRealtimeRuntime", "PidsLimit",
)  # fmt: skip
"""What an update changes of a HostConfig; the rest of a request is checked and then left."""

_TOGETHER = (("Memory", "MemorySwap"), ("CpuPeriod", "CpuQuota"))
"""The kernel (cgroup v2) takes these in one: with a new one goes the other as it is."""

_UINT64 = 1 << 64


async def update(containers: "Containers", reference: str, body: Json) -> list[str]:
    """Change a container; the warnings for the client. `body` is the request's (API: ContainerUpdate).

    Raises InvalidParameter, NotFound, Conflict, EngineError when the kernel refuses. All is then as before.
    """
    wanted = user_host_config(body)
    limit = body.get("PidsLimit")
    wanted["PidsLimit"] = None if limit is None else max(limit, 0)
    policy = {"Name": "", "MaximumRetryCount": 0} | (body.get("RestartPolicy") or {})
    if policy["Name"]:
        validate.check_restart_policy(policy)
    warnings = check_resources(wanted, containers.info, update=True)
    container = containers.find(reference)
    async with container.lock:
        try:
            await _change(containers, container, wanted, policy)
        except EngineError as error:
            raise type(error)(f"Cannot update container {container.id}: {error.message}") from error
    return warnings


async def _change(containers: "Containers", container: Container, wanted: Json, policy: Json) -> None:
    state = container.state
    if state.removing or state.dead or container.removed:
        raise EngineError('container is marked for removal and cannot be "update"')
    changed = _given(wanted)
    _check_conflicts(changed, container.host_config)
    if policy["Name"] and policy["Name"] != "no" and container.host_config["AutoRemove"]:
        raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
    before = container.host_config
    container.host_config = {**before, **copy.deepcopy(changed)}
    if policy["Name"]:
        container.host_config["RestartPolicy"] = policy
    containers.registry.save(container)
    try:
        if state.running and not state.restarting and changed:
            await _apply(containers, container, changed)
    except EngineError:
        container.host_config = before
        containers.registry.save(container)
        raise
    finally:
        containers.emit(container, "update")
    if policy["Name"] and container.restart is not None:
        container.restart.policy = policy


def _given(wanted: Json) -> Json:
    """Zero and nothing leave a field as it is; a PidsLimit of 0 and an empty list take limits away."""
    return {
        name: wanted[name]
        for name in FIELDS
        if wanted[name] or wanted[name] == [] or (name == "PidsLimit" and wanted[name] is not None)
    }


def _check_conflicts(changed: Json, host: Json) -> None:
    """Raises Conflict for what does not go with the limits that are set."""
    start = "Conflicting options: "
    if changed.get("NanoCpus", 0) > 0:
        for name, shown in (("CpuPeriod", "CPU Period"), ("CpuQuota", "CPU Quota")):
            if host[name] > 0:
                raise Conflict(f"{start}Nano CPUs cannot be updated as {shown} has already been set")
    if host["NanoCpus"] > 0:
        for name, shown in (("CpuPeriod", "CPU Period"), ("CpuQuota", "CPU Quota")):
            if changed.get(name, 0) > 0:
                raise Conflict(f"{start}{shown} cannot be updated as NanoCPUs has already been set")
    if changed.get("Memory", 0) > host["MemorySwap"] and "Memory" in changed and "MemorySwap" not in changed:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, "
            "update the memoryswap at the same time"
        )


async def _apply(containers: "Containers", container: Container, changed: Json) -> None:
    values = user_host_config(None) | changed
    for pair in _TOGETHER:
        if any(name in changed for name in pair):
            values.update({name: container.host_config[name] for name in pair})
    wanted = resources(values)
    del wanted["devices"]
    if values["MemorySwap"] == -1:  # to begin with it is the kernel's own default, now it may have been set
        wanted.setdefault("memory", {})["swap"] = -1
    shares = wanted.get("cpu", {}).get("shares", 0)
    if shares < 0:
        wanted["cpu"]["shares"] = shares % _UINT64  # refused as too many, in runc's words
    try:
        await containers.runtime.update(container.id, wanted)
    except RuntimeError_ as error:
        if error.kind in ("Gone", "Refused"):
            return  # it has just ended: the next start has the new limits
        raise EngineError(f"runc did not terminate successfully: exit status 1: {error.message}") from error
