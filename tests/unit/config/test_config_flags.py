"""The command line: forms of flags, dockerd's texts, `--help`."""

import subprocess
import sys
from pathlib import Path

import pytest

from compatd.config.options import OPTIONS
from compatd.flags import UsageError, parse, usage


def test_flags_in_all_their_forms() -> None:
    words = "-H unix:///a -Hunix:///b --host=tcp://127.0.0.1:1 -Dl debug --icc=false --mtu 9000 -p=/x"
    found = parse([*words.split(), "--log-opt", "a=b", "--log-opt=c=d", "--", "-x"])
    assert found.flags == {
        "hosts": ["unix:///a", "unix:///b", "tcp://127.0.0.1:1"],
        "debug": True,
        "log-level": "debug",
        "icc": False,
        "mtu": 9000,
        "pidfile": "/x",
        "log-opts": {"a": "b", "c": "d"},
    }
    assert found.words == ["-x"]


def test_values_of_their_own_form() -> None:
    words = ["--default-network-opt", "bridge=a=b", "--default-network-opt=bridge=c=d=e"]
    words += [
        "--default-ulimit",
        "nofile=1:2",
        "--default-ulimit=core=-1",
        "--feature",
        "a",
        "--feature=b=false",
    ]
    words += [
        "--default-address-pool",
        "base=10.0.0.0/8,size=24",
        "--add-runtime",
        "X=/y",
        "--nri-opts=enable",
    ]
    assert parse(words).flags == {
        "default-network-opts": {"bridge": {"a": "b", "c": "d=e"}},
        "default-ulimits": {
            "nofile": {"Name": "nofile", "Soft": 1, "Hard": 2},
            "core": {"Name": "core", "Soft": -1, "Hard": -1},
        },
        "features": {"a": True, "b": False},
        "default-address-pools": [{"base": "10.0.0.0/8", "size": 24}],
        "runtimes": {"x": {"path": "/y"}},
        "nri-opts": {"enable": True},
    }


INVALID = 'invalid argument "{}" for "{}" flag: {}'


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["-Z"], "unknown shorthand flag: 'Z' in -Z"),
        (["-DZ"], "unknown shorthand flag: 'Z' in -Z"),
        (["--=x"], "bad flag syntax: --=x"),
        (["--mtu"], "flag needs an argument: --mtu"),
        (["-H"], "flag needs an argument: 'H' in -H"),
        (["--mtu=x"], INVALID.format("x", "--mtu", 'strconv.ParseInt: parsing "x": invalid syntax')),
        (["-D=x"], INVALID.format("x", "-D, --debug", 'strconv.ParseBool: parsing "x": invalid syntax')),
        (["--default-ulimit", "x"], INVALID.format("x", "--default-ulimit", "invalid ulimit argument: x")),
        (["--default-ulimit=foo=1"], INVALID.format("foo=1", "--default-ulimit", "invalid ulimit type: foo")),
        (
            ["--default-ulimit=core=4:3"],
            INVALID.format(
                "core=4:3",
                "--default-ulimit",
                "ulimit soft limit must be less than or equal to hard limit: 4 > 3",
            ),
        ),
        (["--label", "x"], INVALID.format("x", "--label", "bad attribute format: x")),
        (
            ["--add-runtime=runc=/x"],
            INVALID.format("runc=/x", "--add-runtime", "runtime name 'runc' is reserved"),
        ),
        (
            ["--add-runtime=a=/x", "--add-runtime=a=/y"],
            INVALID.format("a=/y", "--add-runtime", "runtime 'a' was already defined"),
        ),
        (
            ["-H", "foo://x"],
            INVALID.format(
                "foo://x", "-H, --host", "invalid bind address (foo://x): unsupported proto 'foo'"
            ),
        ),
        (["--dns-search=1"], INVALID.format("1", "--dns-search", "1 is not a valid domain")),
        (
            ["--insecure-registry=-a"],
            INVALID.format(
                "-a", "--insecure-registry", "invalid index name (-a). Cannot begin or end with a hyphen"
            ),
        ),
        (["--default-shm-size=x"], INVALID.format("x", "--default-shm-size", "invalid size: 'x'")),
        (
            ["--default-address-pool=foo=1"],
            INVALID.format("foo=1", "--default-address-pool", "unexpected key 'foo' in 'foo=1'"),
        ),
        (
            ["--node-generic-resource=x"],
            INVALID.format(
                "x",
                "--node-generic-resource",
                "invalid node-generic-resource format `x` expected `name=value`",
            ),
        ),
    ],
)
def test_wrong_flags(words: list[str], text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(words)
    assert str(error.value) == text


def test_deprecated_flags_are_told() -> None:
    told: list[str] = []
    parse(["-h", "--restart=false", "--api-cors-header", "x"], warn=told.append)
    assert told[0] == "Flag shorthand -h has been deprecated, please use --help"
    assert told[1] == "Flag --restart has been deprecated, Please use a restart policy on docker run"
    assert told[2].startswith("Flag --api-cors-header has been deprecated, accessing Docker API")


def test_help_has_dockerd_s_layout() -> None:
    text = usage({"fsck": "Check"}, 300)
    for option in OPTIONS:
        shown = f"--{option.flag} " in text or f"--{option.flag}\n" in text
        assert shown == (option.on_line and not option.hidden) or option.key == "host-gateway-ip"
    column = text.splitlines()[6].index("Register an additional")
    assert column == len("      --containerd-plugins-namespace string") + 3
    assert '  -l, --log-level string                      Set the logging level ("debug"|' in text
    assert "      --add-runtime runtime                   Register an additional OCI" in text
    assert "Register an additional OCI compatible runtime (default [])" in text
    assert "Default shm size for containers (default 64MiB)" in text
    assert 'Root directory of persistent Docker state (default "/var/lib/docker")' in text
    assert "Host IP for port publishing from the default bridge network (default 0.0.0.0)" in text
    assert text.startswith(
        "\nUsage:\tdockerd [OPTIONS]\n\nA self-sufficient runtime for containers.\n\nOptions:\n"
    )


def test_help_is_wrapped_at_the_terminal_s_width() -> None:
    lines = usage({}, 80).splitlines()
    at = next(index for index, line in enumerate(lines) if "--cgroup-parent" in line)
    assert lines[at].endswith("Set parent cgroup for all")
    assert lines[at + 1].strip() == "containers"
    assert max(map(len, lines)) < 110


def _run(*words: str, file: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from compatd.cli import main; main()", *words]
    command += ["--config-file", str(file)] if file else []
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_exit_codes_and_streams(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text("{}")
    done = _run("--nope")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Status: unknown flag: --nope\nSee 'dockerd --help'., Code: 125\n"
    done = _run("run")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "\"dockerd\" accepts no argument(s).\nSee 'dockerd --help'.\n\nUsage:  dockerd"
    )
    done = _run("--validate", file=file)
    assert (done.returncode, done.stderr) == (0, "configuration OK\n")
    done = _run("--version")
    assert (done.returncode, done.stdout[:15]) == (0, "Docker version ")
    done = _run("--help", "run")
    assert done.returncode == 0
    assert "--tlsverify" in done.stdout
