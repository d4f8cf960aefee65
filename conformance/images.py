"""Images made from nothing but busybox: root file systems, docker-archives, OCI layouts, manifests."""

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

BUSYBOX = ("/bin/busybox", "/usr/bin/busybox")
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"

ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n"
    "user:x:1000:1000::/home/user:/bin/sh\n",
    "etc/group": "root:x:0:\ndaemon:x:1:\nuser:x:1000:\nextra:x:2000:user\n",
    "etc/services": "http 80/tcp\n",
}


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


class Tar:
    """A tar archive in the making, with times and owners that make it the same every time."""

    def __init__(self) -> None:
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.GNU_FORMAT)

    def add(self, name: str, data: bytes | str | None = None, mode: int = 0o644, **fields: Any) -> "Tar":
        """A file, or (data None) a folder unless `fields` (of TarInfo) say otherwise."""
        info = tarfile.TarInfo(name)
        info.mtime = 1_700_000_000
        content = data.encode() if isinstance(data, str) else data
        if content is None:
            info.type, info.mode = tarfile.DIRTYPE, 0o755 if mode == 0o644 else mode
        else:
            info.size, info.mode = len(content), mode
        for key, value in fields.items():
            setattr(info, key, value)
        self.tar.addfile(info, io.BytesIO(content) if content else None)
        return self

    def link(self, name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> "Tar":
        return self.add(name, mode=0o777, type=kind, linkname=target)

    def bytes(self) -> bytes:
        self.tar.close()
        return self.buffer.getvalue()


@cache
def busybox_root() -> bytes:
    """A root file system (tar): busybox, its applets as links, a little /etc."""
    path = next((p for p in BUSYBOX if Path(p).exists()), None)
    assert path, "busybox (package busybox-static) is missing"
    binary = Path(path).read_bytes()
    applets = subprocess.run([path, "--list"], capture_output=True, text=True, check=True).stdout.split()
    tar = Tar().add("bin").add("bin/busybox", binary, mode=0o755)
    for applet in applets:
        if applet != "busybox":
            tar.link(f"bin/{applet}", "busybox")
    for folder in ("dev", "proc", "sys", "root", "home", "var"):
        tar.add(folder)
    tar.add("home/user", uid=1000, gid=1000).add("tmp", mode=0o1777).add("etc")
    for name, text in ETC.items():
        tar.add(name, text)
    return tar.bytes()


@dataclass
class Image:
    """An image as its parts: layers (plain tars, base first) and the `config` of the image JSON."""

    layers: list[bytes]
    config: dict[str, Any] = field(default_factory=dict)
    architecture: str = "amd64"

    def document(self) -> bytes:
        """The image configuration JSON; its digest is the image's ID."""
        history = [
            {"created": "2023-11-14T22:13:20Z", "created_by": f"layer {i}"} for i in range(len(self.layers))
        ]
        return canonical(
            {
                "architecture": self.architecture,
                "os": "linux",
                "created": "2023-11-14T22:13:20Z",
                "config": self.config,
                "history": history,
                "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in self.layers]},
            }
        )

    @property
    def id(self) -> str:
        return digest(self.document())


def docker_archive(images: dict[str, Image]) -> bytes:
    """What `docker save` of old wrote: layer folders, config files, manifest.json; keys are tags."""
    tar = Tar()
    manifest = []
    written: set[str] = set()
    for tag, image in images.items():
        names = []
        for layer in image.layers:
            name = digest(layer)[7:] + "/layer.tar"
            names.append(name)
            if name not in written:
                written.add(name)
                tar.add(name.split("/")[0]).add(name, layer)
        config = image.id[7:] + ".json"
        if config not in written:
            written.add(config)
            tar.add(config, image.document())
        manifest.append({"Config": config, "RepoTags": [tag] if tag else None, "Layers": names})
    return tar.add("manifest.json", json.dumps(manifest)).bytes()


def oci_layout(images: dict[str, Image], compress: str = "") -> bytes:
    """An OCI image layout (tar) whose index names each image by the annotations that Docker reads."""
    blobs: dict[str, bytes] = {}

    def put(data: bytes) -> dict[str, Any]:
        blobs[digest(data)] = data
        return {"digest": digest(data), "size": len(data)}

    entries = []
    for tag, image in images.items():
        layers = []
        for layer in image.layers:
            if compress == "gzip":
                layers.append({"mediaType": OCI_LAYER + "+gzip", **put(gzip.compress(layer, 1, mtime=0))})
            elif compress == "zstd":
                packed = subprocess.run(
                    ["zstd", "-q", "-c"], input=layer, capture_output=True, check=True
                ).stdout
                layers.append({"mediaType": OCI_LAYER + "+zstd", **put(packed)})
            else:
                layers.append({"mediaType": OCI_LAYER, **put(layer)})
        config = {"mediaType": OCI_CONFIG, **put(image.document())}
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
        annotations = {
            "io.containerd.image.name": "docker.io/" + tag if "/" in tag and "." not in tag else tag,
            "org.opencontainers.image.ref.name": tag.rpartition(":")[2],
        }
        entries.append({"mediaType": OCI_MANIFEST, **put(canonical(manifest)), "annotations": annotations})
    tar = Tar().add("oci-layout", '{"imageLayoutVersion":"1.0.0"}')
    tar.add("index.json", canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}))
    tar.add("blobs").add("blobs/sha256")
    for name, data in blobs.items():
        tar.add("blobs/" + name.replace(":", "/"), data)
    return tar.bytes()
