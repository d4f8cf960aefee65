"""Starts one container by `runtime.init`, in a process of its own: forking a test runner is no clean ground.

Reads a request from stdin, writes the result to stdout, both JSON; see `initkit.Box.drive`.
"""

import json
import os
import sys
import time
from typing import Any, cast

from runtime import cgroups, init
from runtime.init import seccomp
from runtime.spec import Process

HELD: list[init.Child] = []


class AfterFork:
    """Ends a child that imports or looks up anything by name on the host's or the container's behalf."""

    def __init__(self) -> None:
        self.parent = os.getpid()
        sys.addaudithook(self.watch)

    def watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import" and os.getpid() != self.parent:
            os.write(2, f"imported {arguments[0]}".encode())
            os._exit(66)


def drain(fd: int, enough: bytes = b"") -> str:
    data = b""
    while True:
        try:
            chunk = os.read(fd, 65536)
        except OSError:
            break
        data += chunk
        if not chunk or (enough and enough in data):
            break
    return data.decode()


def code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    request: dict[str, Any] = json.load(sys.stdin)
    for number in request["leak"]:
        # Host folders that a careless runtime would hand on.
        os.dup2(os.open("/", os.O_RDONLY), number, inheritable=True)
    os.setgroups(request["groups"])
    if profile := request["spec"]["linux"].get("seccomp"):
        seccomp.program(profile, request["cache"])  # its compiler is another child, which may import
    AfterFork()
    result: dict[str, Any] = {"error": "", "code": None, "warnings": [], "console": "", "execs": []}
    cgroup = cgroups.open_cgroup(request["cgroup"]) if request["cgroup"] else None
    out = os.open(request["out"], os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    err = os.open(request["err"], os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    common = {"cgroup": cgroup, "seccomp_cache": request["cache"]}
    console = init.NEW_CONSOLE if request["console"] else None
    child = None
    try:
        child = init.spawn(
            request["spec"], request["root"], stdio=(null, out, err), console=console, **common
        )
        child.wait_ready()
        result["warnings"] = child.warnings
        child.go()
        result["pid"] = child.pid
        deadline = time.monotonic() + 60
        while request["until"] and not os.path.exists(request["until"]):  # noqa: PTH110
            assert time.monotonic() < deadline, "the first process does not get ready"
            time.sleep(0.005)
        for process in request["execs"]:
            result["execs"].append(run_exec(child.pid, request, process, common))
        for held in HELD:
            # Before the namespace's first process can end, all others must be reaped.
            held.abort()
        if request["execs"]:
            os.kill(child.pid, 9)
        if console is not None:
            result["console"] = drain(child.console_master)
        result["code"] = code(child.pid)
    except init.InitError as error:
        result["error"] = str(error)
    except cgroups.CgroupError as error:
        result["error"] = f"cgroup: {error}"
    finally:
        if child is not None and result["code"] is None:
            child.abort()
        if cgroup is not None:
            cgroup.delete()
    json.dump(result, sys.stdout)


def run_exec(
    pid: int, request: dict[str, Any], process: dict[str, Any], common: dict[str, Any]
) -> dict[str, Any]:
    """One further process; with `hold` it is left waiting before execve until all are done."""
    hold = process.pop("hold", False)
    ours, theirs = os.pipe()
    result: dict[str, Any] = {"error": "", "code": None, "out": ""}
    console = init.NEW_CONSOLE if process.get("terminal") else None
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        child = init.enter(
            pid,
            request["spec"],
            cast(Process, process),
            stdio=(null, theirs, theirs),
            console=console,
            **common,
        )
        child.wait_ready()
        if hold:
            HELD.append(child)
            return result
        child.go()
    except init.InitError as error:
        result["error"] = str(error)
        return result
    finally:
        os.close(theirs)
        os.close(null)
    result["out"] = drain(child.console_master if console is not None else ours)
    result["code"] = code(child.pid)
    return result


if __name__ == "__main__":
    main()
