"""`RUN --mount`: bind, cache, tmpfs, secret and ssh, and those who want to get out by them."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.runkit import Rig, running_rig, wait_until


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running_rig() as found:
        found.good(
            "mkdir -p /src/deep; echo data > /src/file; ln -s /src /abs; ln -s ../../../../src /up;"
            "ln -s /none /dang; ln -s /proc/self/root/etc /magic; mkdir /evil; ln -s / /evil/root",
            keep="tree",
        )
        yield found


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_text("context\n")
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    (tmp_path / "out").symlink_to("../" * 20 + "etc")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "mine").touch()
    return tmp_path


def test_binds_of_a_stage(rig: Rig) -> None:
    mount = "from=tree,source=/src,target=/m"
    found = rig.run("cat /m/file; ls -d /m/deep; touch /m/x", mounts=[mount])
    assert found["out"] == "data\n/m/deep\n"
    assert "Read-only file system" in found["err"]
    assert rig.good("cat /m", mounts=["from=tree,source=src/file,target=/m"])["out"] == "data\n"
    assert rig.good("ls /m", mounts=["from=tree,target=/m"])["out"].split()[:2] == ["abs", "bin"]


def test_what_is_written_to_a_bind_is_gone(rig: Rig, context: Path) -> None:
    for mount in ("from=tree,source=/src,target=/m,rw", f"from={context}/sub,target=/m,rw"):
        found = rig.good(
            "echo more >> /m/file; touch /m/x; rm -r /m/deep; ls /m; mkdir /d; cp /m/x /d/", mounts=[mount]
        )
        assert found["out"] == "file\nx\n"
        assert found["files"] == ["/d", "/d/x", "/etc"]
    assert (context / "sub" / "file").read_text() == "context\n"
    assert (
        rig.good("cat /m/file; ls /m", mounts=["from=tree,source=/src,target=/m"])["out"]
        == "data\ndeep\nfile\n"
    )
    assert rig.at_rest()["rw layers"] == []


@pytest.mark.parametrize("source", ["/abs", "/up", "/evil/root/src"])
def test_links_inside_are_followed(rig: Rig, source: str) -> None:
    assert rig.good("cat /m/file", mounts=[f"from=tree,source={source},target=/m"])["out"] == "data\n"


def test_cve_2024_1753_a_link_as_source_leads_nowhere_else(rig: Rig, context: Path) -> None:
    """A bind's source that is a link to `/` of the machine was mounted, writable."""
    found = rig.good("ls /m", mounts=[f"from={context},source=/out,target=/m,rw"])
    assert found["out"] == "mine\n"
    assert "/etc/passwd: no such file or directory" in rig.fail(
        "cat /m", mounts=[f"from={context},source=/passwd,target=/m"]
    )["error"].replace("/passwd", "/etc/passwd")
    found = rig.good("ls -A /m", mounts=["from=tree,source=/evil/root,target=/m,rw"])
    assert "src" in found["out"].split()
    assert rig.run("ls /m", mounts=["from=tree,source=/magic,target=/m"])["error"]


def test_cve_2024_9407_a_parent_that_is_a_link(rig: Rig, context: Path) -> None:
    """Links on the way to the source, and at the target, were followed out of the trees."""
    found = rig.good("ls /m", mounts=[f"from={context},source=/out/../out,target=/m"])
    assert found["out"] == "mine\n"
    rig.good("ln -s /../../../tmp/compatd-escape /target; ln -s /etc /e2", keep="targets")
    found = rig.good(
        "cat /target; ls /e2", on="targets", mounts=["from=tree,source=/src/file,target=/target"]
    )
    assert found["out"].startswith("data\n")
    assert not Path("/tmp/compatd-escape").exists()
    assert found["files"] == ["/etc", "/tmp"]


def test_a_source_that_is_not_there(rig: Rig) -> None:
    found = rig.fail("ls /x", mounts=["from=tree,source=/nope,target=/x"])
    text = "open /nope: no such file or directory"
    assert found["error"] == f'process "/bin/sh -c ls /x" did not complete successfully: {text}'
    assert rig.fail("ls /x", mounts=["from=tree,source=/dang,target=/x"])["error"].endswith(
        "no such file or directory"
    )


def test_procfs_is_not_covered(rig: Rig) -> None:
    assert rig.fail("true", mounts=["from=tree,source=/src,target=/proc/sys"])["error"]
    assert rig.fail("true", mounts=["from=tree,source=/src,target=/proc"])["error"]


def test_an_empty_bind(rig: Rig) -> None:
    assert rig.good("ls -A /m; touch /m/x; ls /m", mounts=["from=scratch,target=/m,rw"])["out"] == "x\n"


def test_a_cache_stays(rig: Rig) -> None:
    mount = "type=cache,target=/stay"
    rig.good("echo kept > /stay/file", mounts=[mount])
    assert rig.good("cat /stay/file", mounts=[mount])["out"] == "kept\n"
    assert rig.good("cat /other/file", mounts=["type=cache,target=/other,id=/stay"])["out"] == "kept\n"
    assert rig.good("ls /stay", mounts=["type=cache,target=/stay,id=another"])["out"] == ""
    assert "Read-only" in rig.run("touch /stay/x", mounts=[mount + ",ro"])["err"]
    (record,) = [one for one in rig.ask("records")["records"] if one["Key"].startswith("cachemount://stay ")]
    assert record["Type"] == "exec.cachemount"
    assert record["Description"].startswith("cached mount /stay from exec /bin/sh -c echo kept")
    assert record["Description"].endswith(' with id "//stay"')


def test_a_caches_owner_and_seed(rig: Rig) -> None:
    mounts = ["type=cache,target=/o,uid=5,gid=6,mode=0700", "type=cache,target=/s,from=tree,source=/src"]
    found = rig.good("stat -c '%u %g %a' /o /s; cat /s/file; echo new > /s/file; touch /o/x", mounts=mounts)
    assert found["out"] == "5 6 700\n0 0 755\ndata\n"
    assert rig.good("cat /s/file; ls /o", mounts=mounts)["out"] == "new\nx\n"
    assert rig.good("cat /m/file", mounts=["from=tree,source=/src,target=/m"])["out"] == "data\n"


@pytest.mark.parametrize("id", ["../../../../../../etc", "/etc", "a/../../b", "."])
def test_cve_2024_9675_a_caches_name_is_no_path(rig: Rig, id: str) -> None:
    """The ID of a cache mount led to any folder of the machine."""
    mount = f"type=cache,target=/c,id={id}"
    rig.good("ls -A /c; touch /c/mark", mounts=[mount])
    assert rig.good("ls -A /c", mounts=[mount])["out"] == "mark\n"
    assert not Path("/etc/mark").exists()
    folders = rig.data_root / "compatd" / "build"
    assert list(folders.glob("*/mark"))


def test_cve_2024_23651_a_caches_source_is_looked_up_once_inside(rig: Rig) -> None:
    """A build that shares a cache could put a link where another one's source was looked up."""
    rig.good("ln -s /etc /r/sub", mounts=["type=cache,target=/r,id=race"])
    found = rig.run("ls /m", mounts=["type=cache,target=/m,id=race,source=/sub"])
    assert "passwd" not in found["out"]
    assert found["error"]


def _meanwhile(rig: Rig, **request: Any) -> threading.Thread:
    thread = threading.Thread(target=lambda: rig.good(**request))
    thread.start()
    return thread


HOLD = "touch /c/here; while [ ! -e /c/go ]; do sleep 0.05; done; rm -f /c/here"


def test_shared_and_private_caches(rig: Rig) -> None:
    shared, private = "type=cache,target=/c,id=sh", "type=cache,target=/c,id=pr,sharing=private"
    one = _meanwhile(rig, command=HOLD, mounts=[shared])
    rig.good("while [ ! -e /c/here ]; do sleep 0.05; done; touch /c/go", mounts=[shared])
    one.join()
    first = _meanwhile(rig, command=HOLD, mounts=[private])
    folders = rig.data_root / "compatd" / "build"
    held = wait_until(lambda: list(folders.glob("*/here")), "the first one")
    assert rig.good("ls /c", mounts=[private])["out"] == ""
    (held[0].parent / "go").touch()
    first.join()


def test_a_locked_cache_is_waited_for(rig: Rig) -> None:
    mount = "type=cache,target=/c,id=lo,sharing=locked"
    first = _meanwhile(rig, command=HOLD, mounts=[mount])
    folders = rig.data_root / "compatd" / "build"
    held = wait_until(lambda: list(folders.glob("*/here")), "the first one")
    second = rig.send("run", args=["/bin/sh", "-c", "ls -A /c"], mounts=[mount])
    third = rig.send("run", args=["/bin/sh", "-c", "ls -A /c"], mounts=[mount])
    third.close()  # who gives up while waiting hinders nobody
    (held[0].parent / "go").touch()
    first.join()
    with second:
        assert rig.answer(second)["out"] == "go\n"


def test_a_tmpfs(rig: Rig) -> None:
    mounts = ["type=tmpfs,target=/t,size=1m", "type=tmpfs,target=/tmp", "type=tmpfs,target=/r,ro"]
    found = rig.run("stat -c %a /t /tmp; df -k /t | tail -n 1; touch /tmp/x; touch /r/x", mounts=mounts)
    assert found["out"].startswith("1777\n1777\n")
    assert " 1024 " in found["out"]
    assert "/r/x: Read-only" in found["err"]
    assert found["files"] == ["/etc"]


def test_secrets(rig: Rig) -> None:
    mounts = [
        "type=secret,id=x",
        "type=secret,id=y,target=/root/.key,uid=5,gid=6,mode=0440",
        "type=secret,id=z,env=TOK",
        "type=secret,id=none",
        "type=secret,id=w,env=W,target=/w",
    ]
    secrets = {"x": "xx\n", "y": "yy\n", "z": "zz", "w": "ww"}
    found = rig.run(
        "cat /run/secrets/x /root/.key; stat -c '%u %g %a' /run/secrets/x /root/.key; echo $TOK $W; cat /w;"
        "echo; ls /run/secrets; echo y > /run/secrets/x",
        mounts=mounts, secrets=secrets,
    )  # fmt: skip
    assert found["out"] == "xx\nyy\n0 0 400\n5 6 440\nzz ww\nww\nx\n"
    assert "Read-only" in found["err"]
    assert found["files"] == ["/etc", "/root"]
    assert rig.fail("true", mounts=["type=secret,id=no,required=true"])["error"] == "secret no: not found"


def test_secrets_are_on_no_disk(rig: Rig) -> None:
    word = "grepforthisword"
    mounts = ["type=secret,id=x,target=/s", "type=cache,target=/c,id=hold"]
    holding = _meanwhile(rig, command=HOLD + "; cat /s", mounts=mounts, secrets={"x": word})
    held = wait_until(lambda: list((rig.data_root / "compatd" / "build").glob("*/here")), "the command")
    found = list(_files_with(word, rig.data_root)) + list(_files_with(word, rig.exec_root))
    (held[0].parent / "go").touch()
    holding.join()
    assert [Path(path).parent.name for path in found] == ["secrets"]  # the tmpfs
    assert word not in rig.log.read_text()


def _files_with(word: str, folder: Path) -> Iterator[str]:
    command = ["grep", "-rlsF", word, str(folder)]
    yield from subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


def test_an_agents_socket(rig: Rig) -> None:
    show = "echo $SSH_AUTH_SOCK; stat -c '%F %u %g %a' $SSH_AUTH_SOCK"
    found = rig.good(show, mounts=["type=ssh"], agents=["default"])
    assert found["out"] == "/run/buildkit/ssh_agent.0\nsocket 0 0 600\n"
    assert found["files"] == ["/etc"]
    mount = "type=ssh,id=k,target=/a,uid=5,gid=6,mode=0660"
    found = rig.good(show, mounts=[mount], agents=["k"], environment=["PATH=/bin", "SSH_AUTH_SOCK=/a"])
    assert found["out"] == "/a\nsocket 5 6 660\n"
    found = rig.good("ls /run; true", mounts=["type=ssh"])
    assert found["out"] == ""
    assert rig.fail("true", mounts=["type=ssh,required=true"])["error"] == "unset ssh forward key default"


def test_one_mount_instead_of_another(rig: Rig) -> None:
    mounts = ["type=secret,id=x,target=/etc/hosts", "type=tmpfs,target=/dev/shm,size=5m"]
    found = rig.good("cat /etc/hosts; df -k /dev/shm | tail -n 1", mounts=mounts, secrets={"x": "mine\n"})
    assert found["out"].startswith("mine\n")
    assert " 5120 " in found["out"]


def test_without_overlays(tmp_path: Path) -> None:
    with running_rig("vfs") as rig:
        rig.good("mkdir /src; echo data > /src/file", keep="tree")
        bind = "from=tree,source=/src"
        mounts = [f"{bind},target=/m,rw", f"{bind},target=/n", "type=cache,target=/c"]
        found = rig.good("echo more >> /m/file; cat /m/file /n/file; echo x > /c/kept", mounts=mounts)
        assert found["out"] == "data\nmore\ndata\n"
        found = rig.good("cat /m/file /c/kept; ls -d /etc/hosts", mounts=mounts)
        assert found["out"] == "data\nx\n/etc/hosts\n"
        rig.good("true", mounts=mounts, keep="after")
        assert rig.good("ls -d /m /n /c /etc/hosts; true", on="after")["out"] == "/etc/hosts\n"
        assert rig.at_rest()["rw layers"] == []
