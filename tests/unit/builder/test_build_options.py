"""Parameters of POST /build, decoded."""

# ruff: noqa: E501  (texts of errors in one piece)

import asyncio
import base64
import json
from types import SimpleNamespace
from typing import Any

import pytest

from apispec import OPERATIONS
from apispec.query import decode_query
from compatd.api.build_options import Credentials, options, outputs
from compatd.engine.builder.buildkit.limits import Peer
from compatd.engine.builder.classic.build import Options
from compatd.engine.errors import EngineError


def decoded(query: str, header: str = "") -> Options:
    call: Any = SimpleNamespace(
        query=decode_query(OPERATIONS["ImageBuild"], query), header=lambda name: header,
        access=(frozenset(), ""),
    )  # fmt: skip
    return options(call)


def test_defaults() -> None:
    found = decoded("")
    assert found == Options(dockerfile="", auth=found.auth, limits=Peer())


def test_all_of_them() -> None:
    found = decoded(
        "dockerfile=D&t=a&t=b:1&extrahosts=x:1.2.3.4&extrahosts=y:::1&remote=r&q=1&nocache=true&pull=1&rm=0"
        "&memory=7&memswap=-1&cpushares=3&cpuperiod=4&cpuquota=5&cpusetcpus=0&cpusetmems=1&cgroupparent=/g"
        "&buildargs=%7B%22a%22:%22b%22,%22c%22:null%7D&ulimits=[%7B%22Name%22:%22n%22,%22Soft%22:1%7D]&shmsize=9"
        "&labels=%7B%22l%22:%22m%22,%22n%22:null%7D&networkmode=none&platform=p&target=T&buildid=i"
        "&cachefrom=[%22i1%22,%22i2%22]&squash=1"
    )
    assert found == Options(
        dockerfile="D", remote="r", tags=("a", "b:1"), quiet=True, no_cache=True, pull=True, squash=True,
        platform="p", target="T", build_args={"a": "b", "c": None}, labels={"l": "m", "n": ""},
        cache_from=("i1", "i2"), network="none", extra_hosts=("x:1.2.3.4", "y:::1"), build_id="i",
        resources={
            "Memory": 7, "MemorySwap": -1, "CpuShares": 3, "CpuPeriod": 4, "CpuQuota": 5, "CpusetCpus": "0",
            "CpusetMems": "1", "CgroupParent": "/g", "ShmSize": 9,
            "Ulimits": [{"Name": "n", "Hard": 0, "Soft": 1}],
        },
        auth=found.auth, remove=False, limits=Peer(),
    )  # fmt: skip
    assert decoded("rm=0&forcerm=1").remove


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("buildargs=7", 400, "error reading build args: json: cannot unmarshal number into Go value of type map[string]*string"),
        ("labels=%7B%22a%22:[]%7D", 400, "error reading labels: json: cannot unmarshal array into Go value of type string"),
        ("cachefrom=%7B%7D", 400, "error reading cache-from: json: cannot unmarshal object into Go value of type []string"),
        ("cachefrom=[1]", 400, "error reading cache-from: json: cannot unmarshal number into Go value of type string"),
        ("ulimits=[1]", 400, "error reading ulimit settings: json: cannot unmarshal number into Go value of type units.Ulimit"),
        ("ulimits=%22x%22", 400, "error reading ulimit settings: json: cannot unmarshal string into Go value of type []*container.Ulimit"),
        ("shmsize=1.5", 500, 'strconv.ParseInt: parsing "1.5": invalid syntax'),
        ("shmsize=99999999999999999999", 500, 'strconv.ParseInt: parsing "99999999999999999999": value out of range'),
        ("isolation=vm", 400, 'unsupported isolation: "vm"'),
        ("securityopt=", 400, "security options are not supported on linux"),
        ("outputs=%7B", 400, "invalid outputs specified: unexpected end of JSON input"),
    ],
)  # fmt: skip
def test_refused(query: str, status: int, text: str) -> None:
    with pytest.raises(EngineError) as caught:
        decoded(query)
    assert (caught.value.status, caught.value.message) == (status, text)


def test_outputs() -> None:
    assert outputs("") == [] and outputs('[{"Type":"local"},7]') == [{"Type": "local"}]


def test_credentials() -> None:
    def of(value: Any, host: str) -> dict[str, str]:
        header = base64.urlsafe_b64encode(json.dumps(value).encode()).decode() if value is not None else "!"
        return asyncio.run(Credentials(header).credentials(host))

    joe, ann = {"username": "joe", "password": "p"}, {"auth": base64.b64encode(b"ann:q").decode()}
    given = {"https://index.docker.io/v1/": joe, "http://own.example/v2/": ann, "plain:5000": joe, "bad": 7}
    assert of(given, "docker.io") == joe
    assert of(given, "own.example")["username"] == "ann"
    assert of(given, "plain:5000") == joe
    assert of(given, "other") == of(None, "plain:5000") == of([], "plain:5000") == {}
