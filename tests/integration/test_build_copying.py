"""COPY and ADD as they run: what the comparison with real engines does not show, and ways out."""

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.snapshots import LayerTree
from conformance.images import Tar
from tests.integration.copykit import WHEN, Files, Kit, write

pytestmark = pytest.mark.root

USERS = {"etc/passwd": "root:x:0:0::/:/\nalice:x:7:8::/:/\n", "etc/group": "staff:x:50:\n"}


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    kit = Kit(tmp_path_factory.mktemp("kit"))
    yield kit
    kit.close()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the host that nothing may reach."""
    path = tmp_path / "secret"
    path.write_text("the host's")
    return path


def refused(
    kit: Kit, line: str, files: Files | LayerTree, base: list[str] | None = None, *, classic: bool = False
) -> str:
    with pytest.raises(BuildError) as raised:
        kit.copy(line, files, base, classic=classic)
    return raised.value.message


TREE = {"s/a.go": "1", "s/b.txt": "2", "s/d/c.txt": "3", "s/d/e.go": "4", "s/e/f.go": "5"}


def test_exclude(kit: Kit) -> None:
    done = kit.copy("COPY --exclude=*.go --exclude=d/*.txt s /x", TREE)
    assert sorted(done.tree) == ["x", "x/b.txt", "x/d", "x/d/e.go", "x/e", "x/e/f.go"]
    done = kit.copy("COPY --exclude=**/*.go --exclude=!d/e.go s /x", TREE)
    assert sorted(done.tree) == ["x", "x/b.txt", "x/d", "x/d/c.txt", "x/d/e.go", "x/e"]


def test_parents(kit: Kit) -> None:
    assert sorted(kit.copy("COPY --parents s/d/c.txt /x/", TREE).tree) == ["x", "x/s", "x/s/d", "x/s/d/c.txt"]
    assert sorted(kit.copy("COPY --parents s/./d/c.txt /x/", TREE).tree) == ["x", "x/d", "x/d/c.txt"]
    found = kit.copy("COPY --parents s/*/*.go /x/", TREE)
    assert sorted(found.tree) == ["x", "x/s", "x/s/d", "x/s/d/e.go", "x/s/e", "x/s/e/f.go"]
    assert refused(kit, "COPY --parents s/no /x/", TREE).endswith('"/s/no": not found')
    assert kit.copy("COPY --parents s/*/*.no /x/", TREE).tree.keys() == {"x"}


def test_parents_keep_their_attributes(kit: Kit) -> None:
    files = {"s": ("dir", 0o750, 3, 4), "s/d": ("dir", 0o711, 5, 6), "s/d/f": "x"}
    done = kit.copy("COPY --parents s/d/f /x/", files)
    assert done.tree["x/s"].startswith("d 750 3:4") and done.tree["x/s/d"].startswith("d 711 5:6")


def test_symbolic_modes(kit: Kit) -> None:
    files = {"s/f": ("file", "f", 0o640), "s/x": ("file", "x", 0o700), "s/d": ("dir", 0o700)}
    done = kit.copy("COPY --chmod=u=rwX,go=rX s /t", files)
    assert done.tree["t/f"] == f"f 644 0:0 f {WHEN}" and done.tree["t/x"] == f"f 755 0:0 x {WHEN}"
    assert done.tree["t/d"] == f"d 755 0:0  {WHEN}"


def test_all_kinds_of_files_stay_what_they_are(kit: Kit) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    files = {
        "s/sparse": ("sparse", 8 << 20), "s/capable": ("xattr", "c", "security.capability", capability),
        "s/user": ("xattr", "u", "user.note", b"\0value"), "s/pipe": ("fifo",), "s/a": "A",
        "s/b": ("hard", "s/a"),
        "s/null": ("device", stat.S_IFCHR, os.makedev(1, 3)), "s/set": ("file", "s", 0o6755, 9, 10),
    }  # fmt: skip
    done = kit.copy("COPY s /t", files)
    assert (done.folder / "t/sparse").stat().st_blocks * 512 < 1 << 20
    assert os.getxattr(done.folder / "t/capable", "security.capability") == capability
    assert os.getxattr(done.folder / "t/user", "user.note") == b"\0value"
    assert done.tree["t/b"].startswith("h 644 0:0 t/a") and done.tree["t/pipe"].startswith("p ")
    assert done.tree["t/null"].startswith("c ") and done.tree["t/set"] == f"f 6755 9:10 s {WHEN}"
    owned = kit.copy("COPY --chown=1:2 s /t", files)
    assert os.getxattr(owned.folder / "t/capable", "security.capability") == capability
    assert owned.tree["t/set"] == f"f 6755 1:2 s {WHEN}"


def test_overlay_bookkeeping_is_no_file_attribute(kit: Kit) -> None:
    files = {"s/d/f": "f"}
    base = [kit.layer({"t/d/old": "kept"})]
    source = kit.context(files)
    os.setxattr(source.data / "s/d", "trusted.overlay.opaque", b"y")
    layer = kit.layer({})
    write(kit.storage.layer_path(layer) / "diff", files)
    done = kit.copy("COPY s /t", LayerTree((layer,)), base)
    assert "trusted.overlay.opaque" not in os.listxattr(done.folder / "t/d")
    kit.run(source.close())


def test_link_is_a_layer_of_its_own(kit: Kit) -> None:
    base = [kit.layer({**USERS, "link": ("link", "/etc")})]
    done = kit.copy("COPY --link --chown=alice:staff f /link/f", {"f": "x"}, base)
    assert done.tree == {"link": "d 755 7:50", "link/f": f"f 644 7:50 x {WHEN}"}


def test_names_of_owners_come_from_the_image_alone(kit: Kit, secret: Path) -> None:
    users = secret.with_name("passwd")
    users.write_text("eve:x:66:66::/:/\n")
    layers = [kit.layer({"etc/passwd": ("link", str(users)), "etc/group": ("link", "../../../../etc/group")})]
    done = kit.copy("COPY --chown=eve:daemon f /f", {"f": "x"}, layers)
    assert done.tree["f"] == f"f 644 0:0 x {WHEN}"
    text = refused(kit, "COPY --chown=eve f /f", {"f": "x"}, layers, classic=True)
    assert text.endswith("can't find uid for user eve: no such user: eve")
    os.mkfifo(pipe := kit.storage.layer_path(layer := kit.layer({"etc": None})) / "diff/etc/passwd")
    assert pipe.exists()
    assert kit.copy("COPY --chown=eve f /f", {"f": "x"}, [layer]).tree["f"].startswith("f 644 0:0")


def test_the_key_is_of_content_not_of_times(kit: Kit) -> None:
    files = {"s/a": "A", "s/d/b": ("file", "B", 0o640)}
    key = kit.key("COPY s /x", files).digest
    assert kit.key("COPY s /x", dict(files)).digest == key
    others: list[Files] = [
        {**files, "s/a": "B"}, {**files, "s/c": "A"}, {**files, "s/d/b": ("file", "B", 0o600)},
        {**files, "s/d/b": ("file", "B", 0o640, 1)}, {**files, "s/l": ("link", "a")},
        {**files, "s/l": ("link", "b")},
        {**files, "s/a": ("xattr", "A", "user.x", b"1")}, {**files, "s/e": None}, {"s/a": "A", "s/b": "B"},
    ]  # fmt: skip
    keys = [kit.key("COPY s /x", other).digest for other in others]
    assert len({key, *keys}) == len(others) + 1
    assert kit.key("COPY s /x", {**files, "beside": "x"}).digest == key
    one, other = {**files, "s/c": "x"}, {**files, "s/c": "y"}
    assert kit.key("COPY --exclude=c s /x", one) == kit.key("COPY --exclude=c s /x", other)
    assert kit.key("COPY *.c /x", {"a.c": "1", "b.h": "2"}) == kit.key(
        "COPY *.c /x", {"a.c": "1", "b.h": "3"}
    )


def test_a_large_file_is_hashed_once(kit: Kit) -> None:
    from compatd.engine.builder import copying
    from tests.integration.copykit import step

    context = kit.context({"big": "x" * (3 << 20), "small": "y"})
    what = copying.Copy(step("COPY big small /x/", "/"), context)
    first = kit.run(copying.key(kit.builder, what))
    assert context.index.stat().st_size == 2 * 64
    digests = context.index.read_bytes()
    context.index.write_bytes(digests.replace(digests[32:64], bytes(32)))  # what is noted is believed
    assert kit.run(copying.key(kit.builder, what)) != first
    os.utime(context.data / "big")
    os.utime(context.data / "small")
    assert kit.run(copying.key(kit.builder, what)) == first
    kit.run(context.close())


def test_many_files(kit: Kit) -> None:
    files = {f"s/{number % 30}/{number}": str(number) for number in range(3000)}
    done = kit.copy("COPY s /x", files)
    assert sum(text.startswith("f") for text in done.tree.values()) == 3000


def test_deep_trees(kit: Kit) -> None:
    context = kit.context({})
    path = context.data
    for _ in range(300):
        path /= "d" * 5
        path.mkdir()
    from compatd.engine.builder import copying
    from tests.integration.copykit import step

    what = copying.Copy(step("COPY . /x", "/"), context)
    kit.run(copying.key(kit.builder, what))
    snapshot = kit.run(kit.builder.snapshots.create([]))
    kit.run(copying.copy(kit.builder, what, snapshot))
    assert Path(str(path).replace(str(context.data), str(kit.storage.rw / snapshot.id / "diff/x"))).is_dir()
    kit.run(context.close())


# Ways out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classic", [False, True])
def test_copy_climbs_out(kit: Kit, secret: Path, classic: bool) -> None:
    for path in (f"../../../../../../..{secret}", str(secret), f"x/../../../../../..{secret}"):
        text = refused(kit, f"COPY {path} /x", {"a": "A"}, classic=classic)
        assert "not found" in text or "COPY failed: " in text


@pytest.mark.parametrize("classic", [False, True])
def test_links_of_the_context_lead_nowhere_else(kit: Kit, secret: Path, classic: bool) -> None:
    files = {
        "absolute": ("link", str(secret)), "up": ("link", "../" * 20 + str(secret)[1:]),
        "root": ("link", "/proc/self/root"), "cwd": ("link", "/proc/self/cwd"),
        "d/folder": ("link", str(secret.parent)), "etc": ("link", "/etc"),
    }  # fmt: skip
    for path in ("absolute", "up", "root/etc/passwd", "cwd", "d/folder/secret", "etc/passwd", "root", "etc"):
        refused(kit, f"COPY {path} /x", files, classic=classic)
    done = kit.copy("COPY . /x", files, classic=classic)
    assert all(text[0] in "ld" for text in done.tree.values())  # the links themselves, and folders


@pytest.mark.parametrize("classic", [False, True])
def test_cve_2024_1753_links_of_the_image_lead_nowhere_else(kit: Kit, secret: Path, classic: bool) -> None:
    base = [kit.layer({
        "out": ("link", str(secret.parent)), "up": ("link", "../" * 20 + str(secret.parent)[1:]),
        "proc/self/root": ("link", "/"), "magic": ("link", "/proc/self/root" + str(secret.parent)),
    })]  # fmt: skip
    for target in ("/out/new", "/up/new", "/magic/new", f"/proc/self/root{secret.parent}/new"):
        done = kit.copy(f"COPY f {target}", {"f": "x"}, base, classic=classic)
        assert any(path.endswith("new") for path in done.tree)
    assert os.listdir(secret.parent) == ["secret"] and secret.read_text() == "the host's"
    refused(kit, "COPY --from=other /out/secret /x", LayerTree(tuple(base)), base, classic=classic)
    refused(kit, "COPY --from=other /magic/secret /x", LayerTree(tuple(base)), base, classic=classic)


def test_cve_2024_9407_a_source_that_is_a_link_in_a_stage(kit: Kit, secret: Path) -> None:
    stage = LayerTree((kit.layer({"d/l": ("link", str(secret.parent)), "d/f": "f"}),))
    done = kit.copy("COPY --from=other /d /x", stage)
    assert done.tree["x/l"].startswith("l ") and "x/l/secret" not in done.tree
    refused(kit, "COPY --from=other /d/l/secret /x", stage)


@pytest.mark.parametrize("classic", [False, True])
@pytest.mark.parametrize(
    "archive",
    [
        Tar().add("../evil", "x"),
        Tar().add("/evil", "x"),
        Tar().add("a/../../../evil", "x"),
        Tar().link("s", "/").add("s/evil", "x"),
        Tar().link("s", "../../../..").add("s/evil", "x"),
        Tar().link("s", "/proc/self/root").add("s/evil", "x"),
    ],
    ids=["up", "absolute", "through", "link to root", "link up", "magic link"],
)
def test_add_of_archives_that_climb_out(kit: Kit, archive: Tar, classic: bool, secret: Path) -> None:
    base = [kit.layer({"etc/kept": "kept"})]
    try:
        done = kit.copy("ADD t.tar /deep/er", {"t.tar": archive.bytes()}, base, classic=classic)
    except BuildError:
        return
    assert all(path.startswith("deep") for path in done.tree)
    assert not Path("/evil").exists()


def test_add_of_archives_with_links_and_devices(kit: Kit, secret: Path) -> None:
    hard = Tar().link("h", str(secret), tarfile.LNKTYPE).bytes()
    assert refused(kit, "ADD t.tar /x", {"t.tar": hard}) == f"link {secret} /h: no such file or directory"
    device = Tar().add("disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0, mode=0o666).bytes()
    done = kit.copy("ADD t.tar /x", {"t.tar": device})
    assert stat.S_ISBLK((done.folder / "x/disk").lstat().st_mode)
