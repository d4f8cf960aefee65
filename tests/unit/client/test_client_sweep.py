"""What is done about a bundle whose shim is gone."""

import json
import os
import signal
import subprocess
from pathlib import Path

from runtime.client import sweep
from runtime.shim import files


def test_exits_are_read_whole_or_not_at_all(tmp_path: Path) -> None:
    assert sweep.read_exit(tmp_path) is None
    (tmp_path / "exit").write_text('{"code": 1')
    assert sweep.read_exit(tmp_path) is None
    files.write_json(str(tmp_path / "exit"), {"code": 1})
    assert sweep.read_exit(tmp_path) == {"code": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["exit"]


def test_a_bundle_is_removed_but_nothing_deeper(tmp_path: Path) -> None:
    bundle = tmp_path / "c"
    (bundle / "rootfs").mkdir(parents=True)
    (bundle / "config.json").write_text("{}")
    sweep.remove_bundle(bundle)
    assert not bundle.exists()
    (bundle / "rootfs").mkdir(parents=True)
    (bundle / "rootfs" / "precious").write_text("x")
    sweep.remove_bundle(bundle)
    assert (bundle / "rootfs" / "precious").read_text() == "x"
    sweep.remove_bundle(tmp_path / "missing")


def test_only_the_very_process_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            started = files.start_time(process.pid)
            state = tmp_path / "state.json"
            state.write_text(json.dumps({"pid": process.pid, "start_time": started + 1}))
            sweep.free(tmp_path)
            assert process.poll() is None, "killed though its start time says it is another"
            state.write_text(json.dumps({"pid": process.pid, "start_time": started}))
            sweep.free(tmp_path)
            assert process.wait(30) == -signal.SIGKILL
        finally:
            process.kill()
    assert not files.is_alive(process.pid, started)


def test_a_process_is_itself() -> None:
    assert files.is_alive(os.getpid(), files.start_time(os.getpid()))


def test_a_stopped_shim_is_killed_and_its_container_is_not(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as shim, subprocess.Popen(["sleep", "1000"]) as first:
        try:
            state = {"pid": first.pid, "start_time": files.start_time(first.pid)}
            state |= {"shim": shim.pid, "shim_start_time": files.start_time(shim.pid)}
            (tmp_path / "state.json").write_text(json.dumps(state))
            shim.send_signal(signal.SIGSTOP)
            sweep.kill_shim(tmp_path)
            assert shim.wait(30) == -signal.SIGKILL
            assert first.poll() is None
            assert sweep.live_pid(tmp_path) == first.pid
            (tmp_path / "state.json").write_text(json.dumps({**state, "start_time": 1}))
            assert sweep.live_pid(tmp_path) == 0
        finally:
            shim.kill()
            first.kill()
    assert sweep.live_pid(tmp_path / "missing") == 0
