"""Hostile archives, images and registries: nothing of theirs reaches the host, or stops the daemon."""

import base64
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import ApiError, Daemon, UnixConnection, running_daemon

pytestmark = pytest.mark.root

EMPTY = bytes(1024)
LINK, HARDLINK, FOLDER, FIFO = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE
Entry = tuple[str, bytes | tuple[bytes, str]]


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        daemon.image()
        yield daemon


def tar(*entries: Entry) -> bytes:
    """An archive of files (name, content) and others (name, (type, link))."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755
            if isinstance(content, bytes):
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            else:
                entry.type, entry.linkname = content
                entry.devmajor, entry.devminor = 1, 3
                archive.addfile(entry)
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config_of(*layers: bytes, **fields: Any) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}
    return json.dumps({"os": "linux", "architecture": "amd64", "config": fields, "rootfs": rootfs}).encode()


def saved(config: bytes, *layers: bytes, name: str = "evil:1", **manifest: Any) -> bytes:
    """An archive as of `docker save`."""
    names = [f"{number}.tar" for number in range(len(layers))]
    item = {"Config": "c.json", "Layers": names, "RepoTags": [name], **manifest}
    files: list[Entry] = [("c.json", config), *zip(names, layers, strict=True)]
    return tar(*files, ("manifest.json", json.dumps([item]).encode()))


def load(daemon: Daemon, archive: bytes) -> str:
    """What `docker load` says: the last progress object's error, or ""."""
    answer = daemon.call("POST", "/images/load?quiet=1", data=archive)
    last = answer if isinstance(answer, dict) else json.loads(answer.splitlines()[-1])
    daemon.call("GET", "/images/json?all=1")  # whatever came, the others can still be listed
    return str(last.get("error") or "")


def unpacked(daemon: Daemon, *layers: bytes) -> Path:
    """The folder of the last of these layers, loaded as an image."""
    assert load(daemon, saved(config_of(*layers, Cmd=["true"]), *layers)) == ""
    chain = digest(layers[0])
    for layer in layers[1:]:
        chain = digest(f"{chain} {digest(layer)}".encode())
    return daemon.data_root / "compatd/layers" / chain.removeprefix("sha256:") / "diff"


def test_a_member_s_name_cannot_pass_for_a_folder_of_the_host(daemon: Daemon) -> None:
    """NULs in a GNU long name once wrote lines into the list of members; load moved the folder away."""
    victim = daemon.folder / "victim"
    (victim / "diff").mkdir(parents=True)
    wanted = "sha256:" + "0" * 64
    lines = f"a\0\n\0layer\0{victim}\x00100\x00l.tar\0{wanted} 0 0".encode()
    config = json.dumps({"config": {}, "rootfs": {"type": "layers", "diff_ids": [wanted]}}).encode()
    manifest = json.dumps([{"Config": "c.json", "Layers": ["l.tar"]}]).encode()
    head = tarfile.TarInfo("././@LongLink")
    head.type, head.size = tarfile.GNUTYPE_LONGNAME, len(lines)
    long_name = head.tobuf(tarfile.GNU_FORMAT) + lines + bytes(-len(lines) % 512)
    archive = tar(("c.json", config), ("manifest.json", manifest))[: 4 * 512]
    assert load(daemon, archive + long_name + tar(("x", b"y"))) == "open l.tar: no such file or directory"
    assert (victim / "diff").is_dir()


@pytest.mark.parametrize(
    "entries",
    [
        [("../../../../../../../../{0}/file", b"out")],
        [("{0}/file", b"out")],
        [("a", (LINK, "{0}")), ("a/file", b"out")],
        [("a", (LINK, "../../../../../../../../..{0}")), ("a/file", b"out")],
        [("a", (LINK, "/proc/self/root{0}")), ("a/file", b"out")],
        [("a", (LINK, "{0}")), ("b", (LINK, "a")), ("b/c/file", b"out")],
        [("a", (LINK, "{0}/file")), ("a", b"out")],
        [("d", (FOLDER, "")), ("d", (LINK, "{0}")), ("d/file", b"out"), ("d/.wh.file", b"")],
        [("a", (LINK, "{0}/file")), ("b", (HARDLINK, "a")), ("b", b"out")],
        [("a", (LINK, "{0}")), ("a/.wh.secret", b""), ("a/.wh..wh..opq", b"")],
        [("a", (LINK, "{0}")), ("a/fifo", (FIFO, "")), ("a/folder", (FOLDER, ""))],
    ],
    ids=range(11),
)
def test_cve_2017_14992_and_kin_a_layer_stays_in_its_folder(daemon: Daemon, entries: list[Any]) -> None:
    outside = daemon.folder / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "secret").write_text("secret")
    place = str(outside)
    layer = tar(
        *(
            (
                name.format(place),
                content if isinstance(content, bytes) else (content[0], content[1].format(place)),
            )
            for name, content in entries
        )
    )
    load(daemon, saved(config_of(layer), layer))
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").stat().st_nlink == 1


@pytest.mark.parametrize("target", ["{0}/secret", "../../../../../../../../../..{0}/secret", "link/secret"])
def test_a_hard_link_leads_to_no_file_of_the_host(daemon: Daemon, target: str) -> None:
    outside = daemon.folder / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "secret").write_text("secret")
    layer = tar(("link", (LINK, str(outside))), ("copy", (HARDLINK, target.format(outside))))
    assert "no such file or directory" in load(daemon, saved(config_of(layer), layer))
    assert (outside / "secret").stat().st_nlink == 1


@pytest.mark.parametrize("name", [".wh..", ".wh...", ".wh.", "d/.wh..", "d/.wh..."])
def test_whiteouts_of_dots_are_refused(daemon: Daemon, name: str) -> None:
    layer = tar(("d", (FOLDER, "")), (name, b""))
    assert "invalid path" in load(daemon, saved(config_of(layer), layer))


def test_an_image_cannot_write_the_overlay_s_own_attributes(daemon: Daemon) -> None:
    """trusted.overlay.redirect would show any folder of the file system below."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("d")
        entry.type = tarfile.DIRTYPE
        entry.pax_headers = {
            "SCHILY.xattr.trusted.overlay.redirect": "/etc",
            "SCHILY.xattr.user.overlay.redirect": "/etc",
        }
        archive.addfile(entry)
    diff = unpacked(daemon, buffer.getvalue())
    assert [name for name in os.listxattr(diff / "d") if "overlay" in name] == []


def test_cve_2017_14992_a_huge_header_is_not_read_into_memory(daemon: Daemon) -> None:
    head = tarfile.TarInfo("././@LongLink")
    head.type, head.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    archive = head.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 16)
    assert "header field too long" in load(daemon, archive)
    head.type = tarfile.XHDTYPE
    assert "header field too long" in load(daemon, head.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 16))


def test_many_opaque_markers_cost_little(daemon: Daemon) -> None:
    """100,000 of them in one folder, quadratic elsewhere."""
    head = tarfile.TarInfo("d/.wh..wh..opq").tobuf(tarfile.GNU_FORMAT)
    diff = unpacked(daemon, tar(("d", (FOLDER, "")))[:512] + head * 100_000 + EMPTY)
    assert list((diff / "d").iterdir()) == []


def test_deep_folders_are_refused_or_kept_but_stop_nothing(daemon: Daemon) -> None:
    layer = tar(("/".join(["d"] * 3000), b""))
    assert load(daemon, saved(config_of(layer), layer)) != ""
    assert load(daemon, tar(("manifest.json", b"[" * 100_000))).startswith("invalid archive")


@pytest.mark.parametrize(
    "config", ["../../../../etc/hostname", "/etc/hostname", "link", "up", "loop", "c.json/.."]
)
def test_a_manifest_names_members_only(daemon: Daemon, config: str) -> None:
    """Not files of the host, directly or by a link in the archive."""
    manifest = json.dumps([{"Config": config, "Layers": []}]).encode()
    links: list[Entry] = [
        ("link", (LINK, "/etc/hostname")),
        ("up", (LINK, "../../../../../etc/hostname")),
        ("loop", (LINK, "loop")),
    ]
    error = load(daemon, tar(*links, ("c.json", config_of()), ("manifest.json", manifest)))
    assert error == f"open {config}: no such file or directory"


def test_an_oci_layout_s_digests_are_digests(daemon: Daemon) -> None:
    kind = "application/vnd.oci.image.manifest.v1+json"
    for wrong in ("sha256:../../../../../etc/passwd", "../x:y", "sha256:" + "A" * 64, 3, None):
        index = json.dumps({"manifests": [{"digest": wrong, "mediaType": kind}]}).encode()
        assert load(daemon, tar(("index.json", index))) == "invalid checksum digest format"


@pytest.mark.parametrize(
    "fields",
    [
        {"Labels": ["a"]}, {"Labels": {"a": 1}}, {"Labels": {"a": "\ud800"}}, {"Env": "A=b"}, {"Env": [1]},
        {"Cmd": {"a": 1}}, {"Volumes": ["/x"]}, {"ExposedPorts": {"80/tcp": 1}}, {"User": 0},
        {"WorkingDir": []}, {"Healthcheck": {"Interval": "x"}}, {"StopSignal": 9},
    ],
    ids=str,
)  # fmt: skip
def test_an_image_config_of_wrong_types_is_refused(daemon: Daemon, fields: dict[str, Any]) -> None:
    """Once it was taken, and every list of images failed from then on."""
    before = daemon.call("GET", "/images/json?all=1")
    assert load(daemon, saved(config_of(EMPTY, **fields), EMPTY)) != ""
    assert daemon.call("GET", "/images/json?all=1") == before


def test_a_config_that_does_not_fit_its_layers_is_refused(daemon: Daemon) -> None:
    other = tar(("a", b"b"))
    assert "layers length mismatch" in load(daemon, saved(config_of(EMPTY, EMPTY), EMPTY))
    assert "invalid diffID" in load(daemon, saved(config_of(other), EMPTY))
    config = json.dumps({"config": {}, "rootfs": {"type": "layers", "diff_ids": ["../../../x"]}}).encode()
    assert "invalid diffID" in load(daemon, saved(config, EMPTY))
    assert "invalid reference" in load(daemon, saved(config_of(EMPTY), EMPTY, name="../../x"))


def test_cve_2026_53488_labels_of_an_image_configure_nothing(daemon: Daemon) -> None:
    labels = {"com.docker.runtime": "evil", "privileged": "true", "com.docker.network.bridge.name": "evil0"}
    layer = tar(("x", b""))
    assert load(daemon, saved(config_of(layer, Cmd=["x"], Labels=labels), layer, name="labelled:1")) == ""
    container = daemon.call("POST", "/containers/create", {"Image": "labelled:1"})["Id"]
    plain = daemon.create(["x"])
    mine, other = daemon.inspect(container)["HostConfig"], daemon.inspect(plain)["HostConfig"]
    assert mine == other
    for name in (container, plain):
        daemon.call("DELETE", f"/containers/{name}")


@pytest.mark.parametrize(
    "header",
    [
        b"x",
        b"\xff\xfe",
        base64.urlsafe_b64encode(b"[" * 20_000),
        base64.urlsafe_b64encode(json.dumps({"registrytoken": "a\r\nHost: other"}).encode()),
        base64.urlsafe_b64encode(json.dumps({"username": "a\0\ud800", "password": [1]}).encode()),
        base64.urlsafe_b64encode(b"[1]"),
    ],
    ids=range(6),
)
def test_a_malicious_registry_auth(daemon: Daemon, header: bytes) -> None:
    connection = UnixConnection(daemon.socket)
    target = "/images/create?fromImage=127.0.0.1:1/x&tag=1"
    connection.request("POST", target, headers={"X-Registry-Auth": header.decode("latin-1")})
    answer = connection.getresponse()
    assert (answer.status, "connection refused" in answer.read().decode()) == (500, True)
    connection.close()


def test_no_path_of_the_host_is_imported(daemon: Daemon) -> None:
    for source in ("file:///etc/hostname", "unix:///run/x", "ftp://127.0.0.1/x"):
        with pytest.raises(ApiError, match="unsupported protocol scheme"):
            daemon.call("POST", f"/images/create?fromSrc={source}")
