"""Create, inspect in every state, start, stop, kill, restart, pause, update, top, stats, exec, wait."""

from conformance.differential.normal import processes
from conformance.differential.recorder import Recorder
from conformance.until import until

IDLE = ("sh", "-c", "trap 'exit 4' TERM; trap : HUP; echo ready; while :; do sleep 0.1; done")


def _ready(r: Recorder, container: str) -> None:
    """Its signal handlers are set."""

    def probe() -> bool:
        logs = r.wire.request("GET", f"/containers/{container}/logs", stdout=True)
        return b"ready" in logs.body

    until(probe, "ready")


def fields(r: Recorder) -> None:
    """Nothing asked for: everything is a default."""
    plain = r.create("plain", "true")
    r.inspect("plain", plain)
    r.inspect("plain, size", plain, size=True)
    r.ask("plain, remove", "DELETE", f"/containers/{plain}")
    tty = r.create("tty", Tty=True, OpenStdin=True, StdinOnce=True, AttachStdin=True, AttachStdout=True)
    r.inspect("tty", tty)
    for mode in ("none", "host"):
        r.inspect(mode, r.create(mode, "true", host={"NetworkMode": mode}))
    r.inspect("default", r.create("default", "true", host={"NetworkMode": "default"}))


def many_fields(r: Recorder) -> None:
    full = r.create(
        "full",
        "-c",
        "echo full",
        Hostname="whole",
        Domainname="example.test",
        User="user:2000",
        Env=["A=1", "B", "EMPTY="],
        Entrypoint=["/bin/sh"],
        WorkingDir="/var/made/here",
        Labels={"one": "1", "two": ""},
        ExposedPorts={"80/tcp": {}, "81/udp": {}},
        Volumes={"/anonymous": {}},
        StopSignal="SIGUSR1",
        StopTimeout=7,
        MacAddress="02:42:0a:01:02:03",
        Healthcheck={"Test": ["CMD", "true"], "Interval": 3600_000_000_000, "Retries": 2},
        host={
            "Binds": ["df-named:/named:ro", "/etc:/host-etc:ro,rslave"],
            "Tmpfs": {"/scratch": "size=1m,mode=700"},
            "Memory": 64 << 20,
            "MemoryReservation": 32 << 20,
            "CpuShares": 512,
            "CpuPeriod": 50_000,
            "CpuQuota": 25_000,
            "CpusetCpus": "0",
            "PidsLimit": 50,
            "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
            "CapAdd": ["NET_ADMIN", "cap_sys_time"],
            "CapDrop": ["MKNOD"],
            "GroupAdd": ["extra", "4000"],
            "Dns": ["10.0.0.1"],
            "DnsOptions": ["ndots:2"],
            "DnsSearch": ["example.test"],
            "ExtraHosts": ["other:10.0.0.2"],
            "SecurityOpt": ["no-new-privileges"],
            "Sysctls": {"net.core.somaxconn": "100"},
            "ShmSize": 1 << 20,
            "ReadonlyRootfs": True,
            "Init": True,
            "OomScoreAdj": 100,
            "IpcMode": "shareable",
            "UTSMode": "",
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "28499"}]},
            "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/nil", "CgroupPermissions": "r"}],
            "DeviceCgroupRules": ["c 10:200 rwm"],
        },
    )
    r.inspect("full, created", full)
    mounts = [
        {"Type": "volume", "Source": "df-mounted", "Target": "/v", "VolumeOptions": {"NoCopy": True}},
        {"Type": "volume", "Target": "/unnamed"},
        {"Type": "bind", "Source": "/etc", "Target": "/e", "ReadOnly": True},
    ]
    mounted = r.run("mounted", "sleep", "1000", host={"Mounts": mounts})
    r.inspect("mounted", mounted)
    tmpfs = [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700}}]
    r.inspect("tmpfs", r.create("tmpfs", "true", host={"Mounts": tmpfs}))
    r.inspect("sharing", r.create("sharing", "true", host={"VolumesFrom": [f"{mounted}:ro"]}))
    joined = {"NetworkMode": f"container:{mounted}", "PidMode": f"container:{mounted}"}
    r.inspect("joined", r.run("joined", "sleep", "1000", host=joined))
    privileged = r.create("privileged", "true", host={"Privileged": True, "PidMode": "host"})
    r.inspect("privileged", privileged)
    both = {"MemorySwap": 64 << 20, "Memory": 32 << 20, "NanoCpus": 500_000_000}
    r.inspect("swap", r.create("swap", "true", host=both))
    aliases = {"EndpointsConfig": {"bridge": {"MacAddress": "02:42:0a:01:02:04"}}}
    r.inspect("endpoints", r.create("endpoints", "true", NetworkingConfig=aliases))


def states(r: Recorder) -> None:
    box = r.create("box", *IDLE, ExposedPorts={"80/tcp": {}})
    r.ask("start", "POST", f"/containers/{box}/start")
    _ready(r, box)
    r.inspect("running", box)
    r.ask("start again", "POST", f"/containers/{box}/start")
    r.ask("top", "GET", f"/containers/{box}/top", take=lambda v: v["Titles"])
    r.ask("top -o", "GET", f"/containers/{box}/top", take=lambda v: v["Titles"], ps_args="-o pid,comm")
    r.ask("top aux", "GET", f"/containers/{box}/top", take=lambda v: v["Titles"], ps_args="aux")
    r.ask("top, no pid", "GET", f"/containers/{box}/top", ps_args="-o comm")
    r.stats("stats", box, stream=False)
    r.stats("stats, one-shot", box, stream=False, **{"one-shot": True})
    r.ask("pause", "POST", f"/containers/{box}/pause")
    r.inspect("paused", box)
    r.ask("pause again", "POST", f"/containers/{box}/pause")
    r.ask("start when paused", "POST", f"/containers/{box}/start")
    r.ask("exec when paused", "POST", f"/containers/{box}/exec", {"Cmd": ["id"]})
    r.listed("list of paused", filters={"status": ["paused"]})
    r.ask("unpause", "POST", f"/containers/{box}/unpause")
    r.ask("unpause again", "POST", f"/containers/{box}/unpause")
    r.ask("kill HUP", "POST", f"/containers/{box}/kill", signal="HUP")
    r.inspect("after HUP", box)


def endings(r: Recorder) -> None:
    stopped = r.run("stopped", *IDLE)
    _ready(r, stopped)
    r.ask("stop", "POST", f"/containers/{stopped}/stop")
    r.inspect("stopped", stopped)
    r.ask("stop again", "POST", f"/containers/{stopped}/stop")
    r.ask("kill when stopped", "POST", f"/containers/{stopped}/kill")
    r.ask("wait when stopped", "POST", f"/containers/{stopped}/wait")
    r.ask("top when stopped", "GET", f"/containers/{stopped}/top")
    r.stats("stats when stopped", stopped, stream=False)
    r.ask("start after the end", "POST", f"/containers/{stopped}/start")
    r.inspect("started again", stopped)
    r.ask("kill", "POST", f"/containers/{stopped}/kill")
    r.ended(stopped)
    r.inspect("killed", stopped)
    r.ask("restart", "POST", f"/containers/{stopped}/restart")
    r.inspect("restarted", stopped)
    r.ask("kill by number", "POST", f"/containers/{stopped}/kill", signal="9")
    r.ended(stopped)
    for code in (0, 3, 255):
        name = r.run(f"code-{code}", "sh", "-c", f"exit {code}")
        r.ended(name)
        r.ask(f"wait {code}", "POST", f"/containers/{name}/wait")
        r.inspect(f"exited {code}", name)
    removed = r.create("removed", "sleep", "1000")
    r.ask("remove", "DELETE", f"/containers/{removed}")
    forced = r.run("forced", "sleep", "1000", host={"StopSignal": "SIGKILL"})
    r.ask("remove when running", "DELETE", f"/containers/{forced}")
    r.ask("remove by force", "DELETE", f"/containers/{forced}", force=True, v=True)
    r.ask("removed", "GET", f"/containers/{forced}/json")


def changes_of_state(r: Recorder) -> None:
    box = r.run("renamed", "sleep", "1000")
    r.ask("rename", "POST", f"/containers/{box}/rename", name="df-other")
    r.inspect("renamed", "df-other")
    r.ask("old name", "GET", f"/containers/{box}/json")
    body = {"Memory": 64 << 20, "MemorySwap": 128 << 20, "CpuShares": 100, "PidsLimit": 20}
    r.ask("update", "POST", "/containers/df-other/update", body)
    r.ask("update policy", "POST", "/containers/df-other/update", {"RestartPolicy": {"Name": "always"}})
    r.ask("update nothing", "POST", "/containers/df-other/update", {})
    r.inspect("updated", "df-other")
    r.ask("top with users", "GET", "/containers/df-other/top", take=processes)
    r.ask("resize without tty", "POST", "/containers/df-other/resize", h=10, w=20)
    r.ask("stop", "POST", "/containers/df-other/stop", t=0)
    r.inspect("stopped", "df-other")


def health(r: Recorder) -> None:
    check = {"Test": ["CMD-SHELL", "echo fine"], "Interval": 50_000_000, "Retries": 1000}
    # A probe that the end interrupts has failed: with many to come it changes nothing.
    box = r.run("healthy", "sleep", "1000", Healthcheck=check)
    until(lambda: r.state(box)["Health"]["Status"] == "healthy", "healthy")
    # Two probes more or less make no difference to what is kept.
    found = r.state(box)
    log = found["Health"].pop("Log")
    r.keep("healthy", found)
    r.keep("probe", log[0])
    r.listed("list of healthy", filters={"health": ["healthy"], "name": ["df-healthy"]})
    r.ask("remove", "DELETE", f"/containers/{box}", force=True)


def execs(r: Recorder) -> None:
    box = r.run("execs", "sleep", "1000")
    r.exec("both streams", box, "sh", "-c", "echo out; echo err >&2; exit 3")
    r.exec("tty", box, "sh", "-c", "tty; echo $TERM", Tty=True, start={"Detach": False, "Tty": True})
    r.exec("options", box, "env", Env=["X=1"], User="1000:1000", WorkingDir="/home", Privileged=True)
    r.exec("keys", box, "true", DetachKeys="ctrl-x,x", AttachStdin=True)
    r.exec("not there", box, "no-such-command")
    made = r.ask("detached, create", "POST", f"/containers/{box}/exec", {"Cmd": ["sleep", "1000"]})
    detached = str(made.json()["Id"])
    r.names.learn(detached, "<exec detached>")
    r.ask("detached, before", "GET", f"/exec/{detached}/json")
    r.ask("detached, resize before", "POST", f"/exec/{detached}/resize", h=10, w=20)
    r.ask("detached, start", "POST", f"/exec/{detached}/start", {"Detach": True})
    r.ask("detached, inspect", "GET", f"/exec/{detached}/json")
    r.ask("detached, start again", "POST", f"/exec/{detached}/start", {"Detach": True})
    r.inspect("container with an exec", box)
    made = r.ask("missing, create", "POST", f"/containers/{box}/exec", {"Cmd": ["no-such-command"]})
    r.names.learn(str(made.json()["Id"]), "<exec missing>")
    r.ask("missing, start", "POST", f"/exec/{made.json()['Id']}/start", {"Detach": True})
    r.ask("missing, inspect", "GET", f"/exec/{made.json()['Id']}/json")
    r.ask("no command", "POST", f"/containers/{box}/exec", {"Cmd": []})
    r.ask("bad keys", "POST", f"/containers/{box}/exec", {"Cmd": ["id"], "DetachKeys": "ctrl-xx"})
    r.exec("bad user", box, "id", User="nobody-here")
    r.exec("bad folder", box, "pwd", WorkingDir="/no/such")
    r.ask("remove", "DELETE", f"/containers/{box}", force=True)
    r.ask("exec of a removed one", "GET", f"/exec/{detached}/json")
