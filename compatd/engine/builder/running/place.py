"""What a RUN is to the parts of the engine that know containers: a Container that is in no list."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.engine import apparmor
from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.running.model import Run
from compatd.engine.containers import create, hostconfig, merge
from compatd.engine.containers.model import Container
from compatd.engine.containers.runtimes import BUILTIN
from compatd.engine.containers.security import parse_security_options
from compatd.engine.containers.times import now

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Json = dict[str, Any]
HOSTNAME = "buildkitsandbox"
MAX_PIDS = 8192  # a fork bomb ends here, and not the machine
_BUILDKIT_SHM = 64 << 20


def check_entitlements(run: Run) -> None:
    """Raise BuildError for what the client has not been granted; a classic network is no grant."""
    for wanted, entitlement in (
        (run.network == "host" and not run.classic, "network.host"),
        (run.security == "insecure", "security.insecure"),
    ):
        if wanted and entitlement not in run.entitlements:
            raise BuildError(f"{entitlement} is not allowed")


async def container(engine: "Engine", run: Run, folder: Path) -> Container:
    """The container of a RUN; its files are in `folder`. Raises EngineError."""
    hostname = run.hostname or (run.id[:12] if run.classic else HOSTNAME)
    path, *args = run.args or ("",)
    found = Container(
        id=run.id,
        name=run.id[:12],
        created=now(),
        image_id="",
        config=_config(run, hostname),
        host_config=_host_config(engine, run),
        path=path,
        args=args,
        driver=engine.storage.name,
        chain_ids=list(run.snapshot.chain_ids),
    )
    found.dir, found.hidden = folder, True
    if engine.containers.info.apparmor:
        option = parse_security_options(found.host_config["SecurityOpt"]).apparmor
        found.apparmor = apparmor.profile_for(option, privileged=found.host_config["Privileged"])
        await apparmor.ensure(found.apparmor)
    return found


def _config(run: Run, hostname: str) -> Json:
    config = merge.user_config({})
    config |= {
        "Hostname": hostname,
        "User": run.user,
        "Env": list(run.environment),
        "WorkingDir": run.cwd or "/",
        "Labels": dict(run.labels),
    }
    return config


def _host_config(engine: "Engine", run: Run) -> Json:
    insecure = run.security == "insecure"
    asked: Json = {
        **run.resources,
        "NetworkMode": run.network or "default",
        "ExtraHosts": list(run.extra_hosts),
        "Privileged": insecure,
        "LogConfig": {"Type": "none", "Config": {}},
    }
    host = hostconfig.user_host_config(asked)
    if not run.classic:
        host["ShmSize"] = host["ShmSize"] or _BUILDKIT_SHM
    create.adapt(engine.containers, host)
    host["Runtime"] = engine.config.default_runtime if run.classic else BUILTIN
    if host["IpcMode"] == "shareable":  # nobody joins a RUN
        host["IpcMode"] = "private"
    if host["PidsLimit"] is None and not insecure:
        host["PidsLimit"] = MAX_PIDS
    return host
