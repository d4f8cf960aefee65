"""A container's figures: which files are read."""

import json
import os
from pathlib import Path

import pytest

from runtime.cgroups import v2
from runtime.cgroups.detect import Layout
from runtime.client import sampling

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:    1572      14    1    2    9     9          9         9      126       3    4    5    9     9       9          9
eth1:1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0
"""  # noqa: E501


def test_interfaces() -> None:
    found = sampling.parse_interfaces(NET_DEV)
    assert list(found) == ["eth0", "eth1"]
    assert found["eth0"] == {
        "rx_bytes": 1572, "rx_packets": 14, "rx_errors": 1, "rx_dropped": 2,
        "tx_bytes": 126, "tx_packets": 3, "tx_errors": 4, "tx_dropped": 5,
    }  # fmt: skip
    assert list(found["eth1"].values()) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(path: str) -> v2.V2:
        return v2.V2(Layout(2, {}, str(tmp_path)), path)

    monkeypatch.setattr("runtime.cgroups.open_cgroup", fake)
    (tmp_path / "config.json").write_text(json.dumps({"linux": {"cgroupsPath": "/docker/box"}}))
    (tmp_path / "docker/box").mkdir(parents=True)
    (tmp_path / "docker/box/memory.current").write_text("4096\n")
    sample = sampling.Sampler(tmp_path, os.getpid())()
    assert sample["cgroup"]["memory"]["current"] == 4096
    assert "lo" not in sample["interfaces"]
    assert sample["read"] > 0


def test_no_bundle_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"config\.json"):
        sampling.Sampler(tmp_path, 1)
