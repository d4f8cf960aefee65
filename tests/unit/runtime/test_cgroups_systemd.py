"""systemd's driver without a systemd: bytes on the wire, where a scope is, limits in systemd's words."""

import struct
from pathlib import Path
from typing import Any

import pytest

from compatd.engine import cgroupdriver
from compatd.engine.errors import EngineError, InvalidParameter
from runtime import cgroups
from runtime.cgroups import CgroupError, dbus
from runtime.cgroups.detect import Layout
from runtime.cgroups.systemd import ScopeV2, bit_mask, slice_path

ID = "ab" * 32


def scope(name: str = f"system.slice:docker:{ID}", root: str = "/sys/fs/cgroup") -> ScopeV2:
    return ScopeV2(Layout(2, {}, root), name)


def test_a_path_is_split_into_complete_types() -> None:
    assert dbus.split("ssa(sv)a(sa(sv))") == ["s", "s", "a(sv)", "a(sa(sv))"]
    assert dbus.split("sba(sv)") == ["s", "b", "a(sv)"]
    assert dbus.split("") == []


def test_values_are_aligned_as_the_specification_says() -> None:
    out = bytearray()
    dbus.put(out, "y", 7)
    dbus.put(out, "u", 1)
    dbus.put(out, "t", 2)
    dbus.put(out, "s", "ab")
    assert bytes(out) == b"\x07\0\0\0" + b"\x01\0\0\0" + struct.pack("<Q", 2) + b"\x02\0\0\0ab\0"


def test_an_array_counts_no_padding_before_its_first_element() -> None:
    out = bytearray()
    dbus.put(out, "a(sv)", [("PIDs", ("au", [5]))])
    length = struct.unpack_from("<I", out)[0]
    assert length == len(out) - 8  # a structure begins at a multiple of eight
    assert out[8:16] == b"\x04\0\0\0PIDs"
    assert out.endswith(b"\x04\0\0\0\x05\0\0\0")


def test_a_call_is_one_whole_message() -> None:
    body = bytearray()
    dbus.put(body, "s", "x.scope")
    data = dbus.message("ResetFailedUnit", "s", bytes(body))
    kind, length, serial, fields = data[1], *struct.unpack_from("<III", data, 4)
    assert (kind, length, serial) == (1, len(body), 1)
    assert len(data) == 16 + fields + -fields % 8 + len(body)
    assert b"ResetFailedUnit" in data


class Wire:
    """A socket that has this to say."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def recv(self, size: int) -> bytes:
        read, self.data = self.data[:size], self.data[size:]
        return read


def reply(kind: int, error: str = "", text: str = "") -> bytes:
    fields, body = bytearray(), bytearray()
    if error:
        dbus.put(fields, "(yv)", (4, ("s", error)))
        dbus.put(body, "s", text)
    padded = bytes(fields) + bytes(-len(fields) % 8)
    return struct.pack("<cBBBIII", b"l", kind, 0, 1, len(body), 9, len(fields)) + padded + bytes(body)


def test_an_answer_after_a_signal() -> None:
    dbus._answer(Wire(reply(4) + reply(2)))  # type: ignore[arg-type]


def test_an_error_has_its_name_and_text() -> None:
    with pytest.raises(dbus.BusError, match="no such unit") as raised:
        dbus._answer(Wire(reply(3, "org.x.NoSuchUnit", "no such unit")))  # type: ignore[arg-type]
    assert raised.value.name == "org.x.NoSuchUnit"


@pytest.mark.parametrize("data", [b"", reply(2)[:10], struct.pack("<cBBBIII", b"l", 2, 0, 1, 1 << 30, 9, 0)])
def test_half_an_answer_and_an_endless_one(data: bytes) -> None:
    with pytest.raises(dbus.BusError):
        dbus._answer(Wire(data))  # type: ignore[arg-type]


def test_where_a_slice_is() -> None:
    assert slice_path("system.slice") == "/system.slice"
    assert slice_path("a-b-c.slice") == "/a.slice/a-b.slice/a-b-c.slice"
    assert slice_path("-.slice") == ""
    for wrong in ("system", "a/b.slice", "a--b.slice", "-a.slice"):
        with pytest.raises(CgroupError, match="invalid slice name"):
            slice_path(wrong)


def test_a_scope_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "detect", lambda: Layout(2, {}, "/sys/fs/cgroup"))
    found = cgroups.open_cgroup(f"a-b.slice:docker:{ID}")
    assert found.folders() == [f"/sys/fs/cgroup/a.slice/a-b.slice/docker-{ID}.scope"]
    assert cgroups.open_cgroup(found.name).folders() == found.folders()
    assert cgroups.open_cgroup(f":docker:{ID}").path == f"/system.slice/docker-{ID}.scope"
    with pytest.raises(CgroupError, match='to be of format "slice:prefix:name"'):
        cgroups.open_cgroup("/docker/x", systemd=True)


def test_limits_in_systemds_words() -> None:
    found = dict(
        scope().properties(
            {
                "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 1 << 20},
                "cpu": {"shares": 1024, "quota": 50_000, "period": 100_000, "cpus": "0-2,8"},
                "pids": {"limit": -1},
            }
        )
    )
    assert found == {
        "MemoryMax": ("t", 64 << 20),
        "MemorySwapMax": ("t", 32 << 20),
        "MemoryLow": ("t", 1 << 20),
        "CPUWeight": ("t", 39),
        "CPUQuotaPeriodUSec": ("t", 100_000),
        "CPUQuotaPerSecUSec": ("t", 500_000),
        "AllowedCPUs": ("ay", [7, 1]),
        "TasksMax": ("t", (1 << 64) - 1),
    }
    assert scope().properties({}) == []


def test_a_quota_is_never_rounded_down() -> None:
    found = dict(scope().properties({"cpu": {"quota": 1_234, "period": 100_000}}))
    assert found["CPUQuotaPerSecUSec"] == ("t", 20_000)


def test_a_mask_that_is_none() -> None:
    assert bit_mask("9") == [0, 2]
    with pytest.raises(CgroupError):
        bit_mask("a-b")


def test_the_limit_of_processes_waits_for_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that starts the container is in the scope, too, until then."""
    group = scope(root=str(tmp_path))
    folder = Path(group.folders()[0])
    folder.mkdir(parents=True)
    for name in ("pids.max", "memory.max"):
        (folder / name).write_text("")
    home = tmp_path / "home"
    home.mkdir()
    (home / "cgroup.procs").write_text("")
    told: list[list[str]] = []
    monkeypatch.setattr(dbus, "call", lambda *call: told.append([name for name, _ in call[-1]]))
    group._homes = [str(home)]
    group.apply({"memory": {"limit": 7 << 20}, "pids": {"limit": 1}})
    assert ((folder / "pids.max").read_text(), (folder / "memory.max").read_text()) == ("", str(7 << 20))
    group.born()
    assert (folder / "pids.max").read_text() == "1"
    assert (home / "cgroup.procs").read_text() == "0"
    assert told == [["MemoryMax"], ["TasksMax"]]


def test_a_scope_is_made_with_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call for a start; a second one only for the limit of processes, and for what is changed later."""
    group = scope(root=str(tmp_path))
    folder = Path(group.folders()[0])
    folder.mkdir(parents=True)
    for name in ("pids.max", "memory.max", "cpu.weight"):
        (folder / name).write_text("")
    calls: list[tuple[str, list[str]]] = []

    def call(member: str, signature: str, *arguments: Any) -> None:
        properties = next(found for found in arguments if found and isinstance(found, list))
        calls.append(
            (member, [name for name, _ in properties if name in ("MemoryMax", "TasksMax", "CPUWeight")])
        )

    monkeypatch.setattr(dbus, "call", call)
    monkeypatch.setattr(group, "_await_scope", lambda: None)
    monkeypatch.setattr(group, "_leave", lambda: None)
    limits: Any = {"memory": {"limit": 7 << 20}, "cpu": {"shares": 1024}}
    group.create(limits)
    group.born()
    assert calls == [("StartTransientUnit", ["MemoryMax", "CPUWeight"])]
    assert (folder / "memory.max").read_text() == str(7 << 20)
    group.apply(limits)
    assert calls[1:] == [("SetUnitProperties", ["MemoryMax", "CPUWeight"])]


def test_the_end_is_told_to_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = scope(root=str(tmp_path))
    Path(group.folders()[0]).mkdir(parents=True)
    calls: list[Any] = []

    def call(*arguments: Any) -> None:
        calls.append((Path(group.folders()[0]).exists(), *arguments))
        raise dbus.BusError("org.freedesktop.systemd1.NoSuchUnit", "gone already")

    monkeypatch.setattr(dbus, "call", call)
    group.delete()
    assert calls == [(False, "StopUnit", "ss", group.unit, "replace")]


def test_which_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    here = True
    monkeypatch.setattr(cgroupdriver, "running", lambda: here)
    driver = cgroupdriver.cgroup_driver
    assert driver([], cgroup_v2=True) == "systemd"
    assert driver([], cgroup_v2=False) == "cgroupfs"
    assert driver(["native.cgroupdriver=cgroupfs"], cgroup_v2=True) == "cgroupfs"
    assert driver(["native.cgroupdriver=systemd"], cgroup_v2=False) == "systemd"
    with pytest.raises(EngineError, match=r'invalid "native\.cgroupdriver" option: x'):
        driver(["native.cgroupdriver=x"], cgroup_v2=True)
    here = False
    assert driver([], cgroup_v2=True) == "cgroupfs"
    with pytest.raises(EngineError, match="systemd is not running"):
        driver(["native.cgroupdriver=systemd"], cgroup_v2=True)


def test_a_parent_must_be_a_slice_for_systemd() -> None:
    cgroupdriver.check_parent("/any", "cgroupfs")
    cgroupdriver.check_parent("a.slice", "systemd")
    for wrong in ("/any", ".slice", "a.service"):
        with pytest.raises(InvalidParameter, match=r'valid slice named as "xxx\.slice"'):
            cgroupdriver.check_parent(wrong, "systemd")


def test_a_kill_whose_count_systemd_has_taken_away(tmp_path: Path) -> None:
    one = scope(root=str(tmp_path))
    group = Path(one.dir)
    group.mkdir(parents=True)
    above = group.parent / "memory.events"
    above.write_text("oom_kill 3\n")
    assert not one.kills_missed()  # ours were never counted
    (group / "memory.events").write_text("max 1\noom_kill 0\n")
    assert one.oom_kills() == 0
    above.write_text("oom_kill 4\n")
    assert not one.kills_missed()  # the group tells itself
    (group / "memory.events").unlink()
    group.rmdir()
    assert one.oom_kills() == 0
    assert one.kills_missed()
    above.write_text("oom_kill 3\n")
    assert not one.kills_missed()
    one.note_kills()
    assert not one.kills_missed()
    above.write_text("oom_kill 4\n")
    assert one.kills_missed()  # though it went before it was read once
