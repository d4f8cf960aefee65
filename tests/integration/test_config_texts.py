"""Wrong flags and files: ours says what a real dockerd (26.1) says, word for word."""

import subprocess
import sys
from pathlib import Path

import pytest

REAL = Path(__file__).parents[2] / ".cache/trixie/usr/sbin/dockerd"
OURS = Path(sys.executable).parent / "compatd"

CASES: list[tuple[str, list[str]]] = [
    ('{"insecure-registries":["a"]}', ["--insecure-registry", "b"]),
    ('{"labels":["a=b"]}', ["--label", "c=d"]),
    ('{"log-opts":{"a":"b"}}', ["--log-opt", "c=d"]),
    ('{"dns":["1.1.1.1"]}', ["--dns", "2.2.2.2"]),
    ('{"dns-search":["a.b"]}', ["--dns-search", "c.d"]),
    ('{"default-shm-size":"1g"}', ["--default-shm-size", "64m"]),
    (
        '{"default-ulimits":{"nofile":{"Name":"nofile","Soft":1,"Hard":2}}}',
        ["--default-ulimit", "nofile=3:4"],
    ),
    (
        '{"default-address-pools":[{"base":"10.0.0.0/8","size":24}]}',
        ["--default-address-pool", "base=10.1.0.0/16,size=24"],
    ),
    ('{"mtu":1000000}', ["--mtu", "1500"]),
    ('{"proxies":{"http-proxy":"http://u:p@h"}}', ["--http-proxy", "http://x:y@i"]),
    ('{"debug":1}', []),
    ('{"debug":"true"}', []),
    ('{"mtu":1.5}', []),
    ('{"mtu":99999999999999999999}', []),
    ('{"labels":"a"}', []),
    ('{"labels":[1]}', []),
    ('{"log-opts":[]}', []),
    ('{"log-opts":{"a":1}}', []),
    ('{"hosts":"x"}', []),
    ('{"hosts":[null]}', []),
    ('{"default-shm-size":64}', []),
    ('{"default-shm-size":"x"}', []),
    ('{"ip":"x"}', []),
    ('{"runtimes":{"a":"b"}}', []),
    ('{"runtimes":{"a":{"path":1}}}', []),
    ('{"default-ulimits":{"nofile":{"Soft":"x"}}}', []),
    ('{"features":{"a":"b"}}', []),
    ('{"builder":{"gc":{"enabled":1}}}', []),
    ('{"default-address-pools":[{"base":1,"size":1}]}', []),
    ("{", []),
    ("{}x", []),
    ('{"debug":true,}', []),
    ("[]", []),
    ('"x"', []),
    ("", []),
    ('{"x":{"y":1}}', []),
    ('{"x":{}}', []),
    ('{"label":["a"]}', []),
    ('{"log-level":"loud"}', []),
    ('{"labels":["x"]}', []),
    ('{"labels":["a=b","a=c"]}', []),
    ('{"max-concurrent-downloads":-1}', []),
    ('{"max-concurrent-downloads":0}', []),
    ('{"mtu":-1}', []),
    ('{"hosts":["foo://x"]}', []),
    ('{"hosts":["tcp://a:b"]}', []),
    ('{"tls":"x"}', []),
    ("{}", ["-H", ""]),
    ("{}", ["-l", "loud"]),
    ("{}", ["--label", "x"]),
    ("{}", ["--label", "com.docker.x=1"]),
    ("{}", ["--ip", "x"]),
    ("{}", ["--default-ulimit", "x"]),
    ("{}", ["--default-ulimit", "nofile=x"]),
    ("{}", ["--default-ulimit", "nofile=4:3"]),
    ("{}", ["--default-ulimit", "foo=4:3"]),
    ("{}", ["--default-address-pool", "x"]),
    ("{}", ["--default-address-pool", "base=10.0.0.0/8,size=x"]),
    ("{}", ["--default-address-pool", "foo=1"]),
    ("{}", ["--add-runtime", "x"]),
    ("{}", ["--add-runtime", "runc=/x"]),
    ("{}", ["--add-runtime", "a=/x", "--add-runtime", "a=/y"]),
    ("{}", ["--default-shm-size", "x"]),
    ("{}", ["--insecure-registry", "-a"]),
    ("{}", ["--dns-search", "1"]),
    ("{}", ["--node-generic-resource", "x"]),
    ("{}", ["-H", "foo://x"]),
    ("{}", ["-H", "tcp://127.0.0.1:x"]),
    ("{}", ["-H", "tcp://127.0.0.1:1/x"]),
    ("{}", ["--mtu"]),
    ("{}", ["--mtu", "x"]),
    ("{}", ["run"]),
    ("{}", ["-Z"]),
    ("{}", ["--nope"]),
    ("{}", ["--default-ipc-mode", "host"]),
    ("{}", ["--default-ipc-mode", "foo"]),
    ("{}", ["--config-file", "/nope.json"]),
    ("{}", ["-D=x"]),
    ("{}", ["--validate=x"]),
    ("{}", []),
]


def _said(program: Path, folder: Path, text: str, flags: list[str]) -> tuple[int, str, str]:
    file = folder / "daemon.json"
    file.write_text(text)
    done = subprocess.run(
        [str(program), "--validate", "--config-file", str(file), *flags],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder)},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.root
def test_the_words_of_a_real_dockerd(tmp_path: Path) -> None:
    if not REAL.exists():
        pytest.skip("dockerd 26.1 is missing: run scripts/setup --test")
    different = []
    for text, flags in CASES:
        real = _said(REAL, tmp_path, text, flags)
        code, out, told = _said(OURS, tmp_path, text, flags)
        ours = (code, out, told.replace("invalid JSON: ", ""))  # since release 29
        if ours != real:
            different.append((text, flags, ours, real))
    assert not different
