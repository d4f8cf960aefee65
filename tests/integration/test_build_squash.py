"""`docker build --squash`: the same files in one layer."""

import io
import tarfile

import pytest

from tests.integration.daemon import Daemon, running_daemon
from tests.integration.postkit import build, tar_of

pytestmark = pytest.mark.root

DOCKERFILE = """
FROM box:latest
RUN mkdir -p /d/sub /gone /kept; echo 1 >/d/a; echo 2 >/d/sub/b; echo 3 >/gone/c; ln /d/a /d/hard
RUN rm -r /gone /etc/group; echo new >/d/a2; rm /d/sub/b; chmod 711 /d; chown 7:8 /kept
RUN rm -r /d/sub /root; mkdir /root; echo x >/root/y; ln -s y /root/l; rm /bin/sh; ln -s busybox /bin/sh
"""


def files(daemon: Daemon, image: str) -> dict[str, tuple[object, ...]]:
    container = daemon.call("POST", "/containers/create", {"Image": image, "Cmd": ["true"]})["Id"]
    exported = daemon.call("GET", f"/containers/{container}/export")
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        return {
            one.name: (one.mode, one.uid, one.gid, one.type, one.linkname, one.size, _time(one))
            for one in tar
        }


def _time(one: tarfile.TarInfo) -> int:
    """Mount points, and the folders that they are in, are as old as their container."""
    return 0 if one.name.split("/")[0] in (".dockerenv", "dev", "etc", "proc", "sys") else int(one.mtime)


def test_the_same_files_in_one_layer() -> None:
    with running_daemon("--experimental") as daemon:
        daemon.image()
        plain = build(daemon, tar_of(DOCKERFILE), version=1).image
        squashed = build(daemon, tar_of(DOCKERFILE), version=1, squash=1).image
        assert plain != squashed and files(daemon, plain) == files(daemon, squashed)
        one = daemon.call("GET", f"/images/{squashed}/json")
        base = daemon.call("GET", "/images/box:latest/json")
        assert one["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
        assert one["Config"] == daemon.call("GET", f"/images/{plain}/json")["Config"]
        history = daemon.call("GET", f"/images/{squashed}/history")
        assert history[0]["Comment"] == f"merge {plain} to {base['Id']}"
        assert [entry["Size"] > 0 for entry in history] == [True, False, False, False, True]
        saved = daemon.call("GET", f"/images/{squashed}/get")
        for image in (plain, squashed):
            daemon.call("DELETE", f"/images/{image}?force=1")
        daemon.call("POST", "/images/load", data=saved)
        again = daemon.call("GET", f"/images/{squashed}/json")
        assert again["RootFS"] == one["RootFS"], "the layer's bytes are those of its digest"
