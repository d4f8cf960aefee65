"""Frees what a shim that was killed left behind, and removes bundles. Blocking: to be run in a thread."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from runtime import syscalls
from runtime.shim.files import is_alive, read_json
from runtime.shim.outside import FOLDER, remove_folder
from runtime.shim.starter import cgroup_path

_EBUSY = 16
_log = logging.getLogger(__name__)


def read_exit(bundle: Path) -> dict[str, Any] | None:
    """The `exit` file: {"code", "signal", "oom", "at"}, None when there is none (or no whole one)."""
    try:
        value = read_json(str(bundle / "exit"))
    except (OSError, json.JSONDecodeError):
        return None
    return value if isinstance(value, dict) else None


def free(bundle: Path) -> None:
    """Kill the container's processes and delete its cgroup. Does nothing for what is gone already."""
    _kill_first(bundle)
    _end_external(bundle)
    try:
        path = cgroup_path(read_json(str(bundle / "config.json")), bundle.name)
    except (OSError, ValueError):
        return
    try:
        _free_cgroup(path)
    except Exception as error:
        _log.warning("freeing the cgroup %s: %s", path, error)


def _end_external(bundle: Path) -> None:
    """Let another runtime forget the container. A command of its own: this process has threads, and a
    fork of it should do nothing but execve."""
    folder = bundle / FOLDER
    if not folder.exists():
        return
    try:
        config = read_json(str(bundle / "shim.json"))
        chosen = config["runtime"]
        command = [chosen["path"], "--root", str(folder / "state"), *(chosen.get("args") or [])]
        subprocess.run(
            [*command, "delete", "--force", config["id"]], check=False, capture_output=True, timeout=60
        )
        remove_folder(str(bundle))
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError) as error:
        _log.warning("ending a container of another runtime: %s", error)


def kill_shim(bundle: Path) -> None:
    """End a shim that does not answer; SIGKILL reaches a stopped process, too."""
    _kill_process(bundle, "shim", "shim_start_time")


def live_pid(bundle: Path) -> int:
    """The running container's PID by its bundle alone, 0 when there is none."""
    try:
        state = read_json(str(bundle / "state.json"))
        pid = int(state["pid"])
        return pid if is_alive(pid, int(state["start_time"])) else 0
    except (OSError, ValueError, KeyError):
        return 0


def _kill_first(bundle: Path) -> None:
    """Kill pid 1 of the container, with which its PID namespace goes."""
    _kill_process(bundle, "pid", "start_time")


def _kill_process(bundle: Path, pid_key: str, started_key: str) -> None:
    try:
        state = read_json(str(bundle / "state.json"))
        pid, started = int(state[pid_key]), int(state[started_key])
        pidfd = os.pidfd_open(pid)
    except (OSError, ValueError, KeyError):
        return
    try:
        # Looked at after the pidfd is open, so the PID cannot be another's by then.
        if is_alive(pid, started):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


def _free_cgroup(path: str) -> None:
    from runtime import cgroups

    cgroup = cgroups.open_cgroup(path)
    deadline = time.monotonic() + 10
    while True:
        if cgroup.pids():
            try:
                cgroup.thaw()  # a frozen process does not die on cgroup v1
            except Exception as error:
                _log.debug("thawing %s: %s", path, error)
            cgroup.kill(signal.SIGKILL)
        elif not cgroup.pids():
            break
        if time.monotonic() > deadline:
            _log.warning("processes in %s do not end", path)
            return
        time.sleep(0.01)
    cgroup.delete()


def _remove_folder(path: str) -> None:
    """An empty one, or one on which a daemon that was killed had mounted something."""
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno != _EBUSY:
            raise
        syscalls.umount(path, syscalls.MNT_DETACH)
        os.rmdir(path)


def remove_bundle(bundle: Path) -> None:
    """Remove the bundle's own files and folders, never what lies deeper: something may be mounted there."""
    try:
        entries = list(os.scandir(bundle))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                _remove_folder(entry.path)
            else:
                os.unlink(entry.path)
        except OSError as error:
            _log.warning("removing %s: %s", entry.path, error)
    try:
        os.rmdir(bundle)
    except OSError as error:
        _log.warning("removing %s: %s", bundle, error)
