"""Plans are built and described without root."""

from typing import Any, cast

import pytest

from runtime import syscalls as s
from runtime.init import plan
from runtime.init.devices import Nodes
from runtime.init.restrict import Sysctl
from runtime.init.rootfs import OverlayRoot, Pivot, RootPropagation
from runtime.init.sources import TreeMount
from runtime.spec import RootPlan, Spec


def spec(**changes: Any) -> Spec:
    base: dict[str, Any] = {
        "process": {"args": ["true"], "cwd": "/"},
        "root": {"path": "/b/rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        ],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    }
    for key, value in changes.items():
        base[key] = {**base[key], **value} if isinstance(value, dict) and key in base else value
    return cast(Spec, base)


def described(spec: Spec, root: RootPlan | None = None, **options: bool) -> list[str]:
    return [operation.describe() for operation in plan.build(spec, root or {}, **options)]


def test_the_order_of_a_plain_container() -> None:
    assert described(spec()) == [
        f"propagation of / {s.MS_SLAVE | s.MS_REC:#x}",
        "bind the root onto itself",
        "proc on /proc",
        "tmpfs on /dev",
        "make 6 devices",
        "links in /dev",
        "pivot into the root",
    ]


def test_what_closes_the_container_comes_after_the_pivot() -> None:
    lines = described(
        spec(
            hostname="box",
            root={"readonly": True},
            linux={
                "maskedPaths": ["/proc/kcore", "/sys/firmware"],
                "readonlyPaths": ["/proc/sys"],
                "sysctl": {"net.ipv4.ip_forward": "1"},
            },
        )
    )
    after = lines[lines.index("pivot into the root") + 1 :]
    assert after == [
        "root read-only",
        "hostname box",
        "sysctl net.ipv4.ip_forward=1",
        "read-only /proc/sys",
        "mask 2 paths",
    ]


def test_a_read_only_tmpfs_stays_writable_until_the_end() -> None:
    mounts = [{"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}]
    lines = described(spec(mounts=mounts))
    assert lines.index("read-only /run") > lines.index("pivot into the root")


def test_console_and_working_directory_are_made_before_the_pivot() -> None:
    lines = described(spec(process={"cwd": "/srv/app"}), console=True, new_console=True)
    pivot = lines.index("pivot into the root")
    assert lines[pivot - 2 : pivot] == ["working directory /srv/app", "a new console"]


def test_a_bound_dev_gets_no_nodes() -> None:
    mounts = [{"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]}]
    lines = described(spec(mounts=mounts))
    assert "rbind /dev on /dev" in lines
    assert not any("devices" in line for line in lines)


@pytest.mark.parametrize("destination", ["dev", "/dev/", "//dev/."])
def test_destinations_are_cleaned(destination: str) -> None:
    mounts = [{"destination": destination, "type": "bind", "source": "/dev", "options": ["rbind"]}]
    assert "rbind /dev on /dev" in described(spec(mounts=mounts))


def test_shared_propagation_is_given_to_the_new_root_too() -> None:
    operations = plan.build(spec(linux={"rootfsPropagation": "rshared"}), {})
    assert isinstance(operations[0], RootPropagation)
    assert operations[0].flags == s.MS_SHARED | s.MS_REC
    pivot = next(operation for operation in operations if isinstance(operation, Pivot))
    assert pivot.parent_private
    assert operations[operations.index(pivot) + 1].describe() == f"propagation of the new / {0x104000:#x}"


@pytest.mark.parametrize(
    ("propagation", "first"),
    [
        ("private", s.MS_PRIVATE | s.MS_REC),
        ("slave", s.MS_SLAVE | s.MS_REC),
        ("unbindable", s.MS_SLAVE | s.MS_REC),
    ],
)
def test_no_mount_of_a_root_that_is_not_shared_reaches_the_host(propagation: str, first: int) -> None:
    operations = plan.build(spec(linux={"rootfsPropagation": propagation}), {})
    assert isinstance(operations[0], RootPropagation)
    assert operations[0].flags == first


def test_devices_of_the_spec_replace_the_default_of_the_same_path() -> None:
    nodes = Nodes(
        [{"path": "/dev/null", "type": "c", "major": 1, "minor": 3}, {"path": "/dev/ptmx"}], binds=False
    )
    paths = [device["path"] for device in nodes.devices]
    assert paths.count("/dev/null") == 1
    assert "/dev/ptmx" not in paths
    assert len(paths) == 6


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.1/forwarding", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"),
        ("vm", "/proc/sys/vm"),
    ],
)
def test_sysctl_paths(key: str, path: str) -> None:
    assert Sysctl(key, "1").path == path


class TestOverlayOptions:
    def test_paths_are_relative_to_what_they_share(self) -> None:
        overlay = OverlayRoot(
            {"lower": ["/d/layers/b/diff", "/d/layers/a/diff"], "upper": "/d/rw/u", "work": "/d/rw/w"}
        )
        assert overlay.options() == (
            "/d/layers",
            "lowerdir=b/diff:a/diff,upperdir=/d/rw/u,workdir=/d/rw/w",
        )

    def test_one_layer(self) -> None:
        overlay = OverlayRoot({"lower": ["/d/layers/b/diff"], "upper": "/u", "work": "/w"})
        assert overlay.options() == ("/d/layers/b", "lowerdir=diff,upperdir=/u,workdir=/w")

    def test_nothing_shared(self) -> None:
        overlay = OverlayRoot({"lower": ["/a", "/b/c"]})
        assert overlay.options() == ("/", "lowerdir=a:b/c")
        assert overlay.readonly

    def test_a_longer_string_than_a_page_goes_by_descriptors(self) -> None:
        lower = [f"/layers/{number:064d}/diff" for number in range(80)]
        assert OverlayRoot({"lower": lower, "upper": "/u", "work": "/w"}).options()[1] == ""

    @pytest.mark.parametrize("path", ["/a:b", "/a,b", "/a\\b"])
    def test_separators_in_a_path_too(self, path: str) -> None:
        assert OverlayRoot({"lower": ["/l"], "upper": path, "work": "/w"}).options()[1] == ""


def test_a_part_of_a_tree_is_mounted() -> None:
    mounts = [
        {
            "destination": "/m",
            "type": "tree",
            "source": "/src",
            "options": ["rbind", "ro", "x-compat.stub"],
            "tree": {"lower": ["/l/b", "/l/a"], "upper": "/rw/diff", "work": "/rw/work"},
            "subpath": "src",
        }
    ]
    (found,) = (step for step in plan.build(spec(mounts=mounts), {}) if isinstance(step, TreeMount))
    assert found.describe() == "src of the tree /src on /m"
    assert found.options.stub
    assert found.options.flags & s.MS_BIND
