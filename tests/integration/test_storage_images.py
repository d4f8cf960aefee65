"""import, save and load through the real worker: same bytes out, nothing left of what fails."""

import asyncio
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.errors import EngineError, InvalidParameter, NotFound
from compatd.engine.images import Images
from compatd.engine.images.reference import parse
from tests.unit.images.imagekit import make_images, pieces

pytestmark = pytest.mark.root

Session = Callable[[Images], Awaitable[Any]]


def layer_tar(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"dir/{name}")
            info.size, info.mtime = len(data), 1_600_000_000
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def archive_of(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return buffer.getvalue()


def config_of(*layers: bytes, **config: Any) -> bytes:
    document = {
        "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
    }  # fmt: skip
    return json.dumps(document).encode()


@pytest.fixture
def within(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Runs a coroutine function with fresh images, and checks that it leaves nothing half done."""

    def run(session: Session, name: str = "store", **config: Any) -> Any:
        async def main() -> Any:
            images = make_images(tmp_path / name, **config)
            await images.open()
            result = await session(images)
            images.storage.settle()
            assert list(images.storage.tmp.iterdir()) == []
            assert sorted(images.storage.layer_ids()) == sorted(images.index.layers)
            blobs = {layer.digest for layer in images.index.layers.values() if layer.compression}
            assert {f"sha256:{path.name}" for path in images.storage.blobs.iterdir()} == blobs
            return result

        return asyncio.run(main())

    yield run


async def load(images: Images, data: bytes, **options: Any) -> list[str]:
    lines: list[str] = []

    async def write(value: dict[str, Any]) -> None:
        if "stream" in value:
            lines.append(value["stream"].rstrip("\n"))

    await images.load(pieces(data), write, **options)
    return lines


async def save(images: Images, *names: str) -> bytes:
    return b"".join([data async for data in images.save(names)])


def test_import_makes_the_config_that_dockerd_makes(within: Callable[..., Any]) -> None:
    plain = layer_tar(a=b"1" * 3000)

    async def session(images: Images) -> None:
        image = await images.import_(
            pieces(gzip.compress(plain)),
            reference=parse("bb"),
            message="Imported from -",
            changes=['CMD ["a<b"]', "ENV X=1 Y=2"],
        )
        created = image.config["created"]
        empty = (
            '"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,'
            '"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":%s,"Cmd":%s,"Image":"",'
            '"Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null'
        )
        version = image.config["docker_version"]
        given = empty % ('["X=1","Y=2"]', '["a\\u003cb"]')
        unset = empty % ("null", "null")
        assert image.raw == (
            '{"architecture":"amd64","comment":"Imported from -",'
            f'"config":{{{given}}},"container_config":{{{unset}}},'
            f'"created":"{created}","docker_version":"{version}",'
            f'"history":[{{"created":"{created}","comment":"Imported from -"}}],"os":"linux",'
            f'"rootfs":{{"type":"layers","diff_ids":["{digest(plain)}"]}}}}'
        )
        assert image.id == digest(image.raw.encode())
        assert image.size == 3000
        assert images.events.actions() == ["tag", "import"]

    within(session)


@pytest.mark.parametrize("data", [b"<html>" * 300, layer_tar(a=b"1" * 5000)[:3000]])
def test_a_failed_import_leaves_nothing(within: Callable[..., Any], data: bytes) -> None:
    async def session(images: Images) -> None:
        with pytest.raises(EngineError, match=r"^Error processing tar file\(exit status 1\): "):
            await images.import_(pieces(data))
        with pytest.raises(InvalidParameter, match=r"^FROM is not a valid change command$"):
            await images.import_(pieces(layer_tar()), changes=["FROM x"])

    within(session)


def test_a_client_that_goes_away_leaves_nothing(within: Callable[..., Any]) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield layer_tar(a=b"1" * 50_000)[:20_000]
        raise ConnectionError("gone")

    async def session(images: Images) -> None:
        with pytest.raises(ConnectionError):
            await images.import_(broken())
        stuck: asyncio.Event = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield layer_tar(a=b"1" * 50_000)[:20_000]
            await stuck.wait()

        task = asyncio.ensure_future(images.import_(slow()))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    within(session)


def test_what_was_saved_loads_elsewhere_as_the_same_image(within: Callable[..., Any]) -> None:
    one, two = layer_tar(a=b"1" * 3000), layer_tar(b=b"2" * 3000)
    config = config_of(one, two, Cmd=["sh"])
    packed = gzip.compress(two)
    layout = {
        "c.json": config,
        "one.tar": one,
        "two.tar": packed,
        "manifest.json": json.dumps(
            [{"Config": "c.json", "RepoTags": ["a:1", "h.x/b:2"], "Layers": ["one.tar", "two.tar"]}]
        ).encode(),
    }

    async def first(images: Images) -> bytes:
        assert await load(images, gzip.compress(archive_of(layout))) == [
            "Loaded image: a:1",
            "Loaded image: h.x/b:2",
        ]
        assert images.resolve("a:1").id == digest(config)
        return await save(images, "a:1", "h.x/b")

    saved = within(first)
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        names = archive.getnames()
        assert {"manifest.json", "index.json", "oci-layout", "repositories"} <= set(names)
        for name in names:
            if name.startswith("blobs/sha256/"):
                file = archive.extractfile(name)
                assert file is not None
                assert digest(file.read())[7:] == name.rpartition("/")[2]

    async def second(images: Images) -> None:
        assert await load(images, saved) == ["Loaded image: a:1", "Loaded image: h.x/b:2"]
        image = images.resolve("h.x/b:2")
        assert image.id == digest(config)
        diff = images.storage.layer_path(image.chain_ids[1]) / "diff"
        assert (diff / "dir/b").read_bytes() == b"2" * 3000
        assert await save(images, "a:1", "h.x/b") == saved
        assert await load(images, saved) == ["Loaded image: a:1", "Loaded image: h.x/b:2"]

    within(second, "other")


def test_old_archives_with_links_for_equal_layers(within: Callable[..., Any]) -> None:
    one, two = layer_tar(a=b"1" * 600), layer_tar(b=b"2" * 600)
    manifest = [
        {"Config": "x.json", "RepoTags": None, "Layers": ["1/layer.tar", "2/layer.tar"]},
        {"Config": "y.json", "RepoTags": None, "Layers": ["3/layer.tar"]},
    ]
    members = {
        "1/layer.tar": one,
        "2/layer.tar": two,
        "x.json": config_of(one, two),
        "y.json": config_of(two),
        "manifest.json": json.dumps(manifest).encode(),
    }

    async def session(images: Images) -> None:
        lines = await load(images, archive_of(members, {"3/layer.tar": "../2/layer.tar"}))
        assert lines == [
            f"Loaded image ID: {digest(members['x.json'])}",
            f"Loaded image ID: {digest(members['y.json'])}",
        ]
        assert len(images.index.layers) == 3

    within(session)


def oci_layout(name: str) -> tuple[dict[str, bytes], bytes]:
    layer = layer_tar(a=b"1" * 600)
    packed = gzip.compress(layer)
    config = config_of(layer)

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        members["blobs/sha256/" + digest(data)[7:]] = data
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    members: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    manifest = {
        "schemaVersion": 2,
        "config": blob(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [blob(packed, "application/vnd.oci.image.layer.v1.tar+gzip")],
    }
    mine = blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    other = blob(b'{"other":"architecture"}', "application/vnd.oci.image.manifest.v1+json")
    inner = {
        "schemaVersion": 2,
        "manifests": [
            {**other, "platform": {"os": "linux", "architecture": "s390x"}},
            {**mine, "platform": {"os": "linux", "architecture": "amd64"}},
        ],
    }
    index = blob(json.dumps(inner).encode(), "application/vnd.oci.image.index.v1+json")
    index["annotations"] = {"org.opencontainers.image.ref.name": name}
    members["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [index]}).encode()
    return members, config


@pytest.mark.parametrize(
    ("name", "line"), [("h.x/a:1", "Loaded image: h.x/a:1"), ("1", "Loaded image ID: {image}")]
)
def test_an_oci_layout_with_an_index(within: Callable[..., Any], name: str, line: str) -> None:
    members, config = oci_layout(name)

    async def session(images: Images) -> None:
        lines = await load(images, archive_of(members))
        assert lines == [line.format(image=digest(config))]
        layer = next(iter(images.index.layers.values()))
        assert layer.compression == "gzip"

    within(session)


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"x": b"1"}, "invalid archive: does not contain a manifest.json"),
        ({"manifest.json": b"null"}, "invalid manifest, manifest cannot be null (but can be [])"),
        ({"manifest.json": b"{"}, "invalid archive: failed to decode manifest.json"),
        ({"manifest.json": b'[{"Config":"../../etc/passwd","Layers":[]}]'}, "no such file or directory"),
        (
            {"manifest.json": b'[{"Config":"c","Layers":["l"]}]', "c": b'{"rootfs":{"diff_ids":[]}}'},
            "invalid manifest, layers length mismatch: expected 1, got 0",
        ),
        (
            {
                "manifest.json": b'[{"Config":"c","Layers":["l"]}]',
                "c": config_of(b"other"),
                "l": layer_tar(a=b"1" * 600),
            },
            "invalid diffID for layer",
        ),
    ],
)
def test_broken_archives_leave_nothing(
    within: Callable[..., Any], members: dict[str, bytes], error: str
) -> None:
    async def session(images: Images) -> None:
        with pytest.raises(EngineError) as caught:
            await load(images, archive_of(members))
        assert error in caught.value.message
        assert images.index.layers == {}

    within(session)


def test_save_of_what_is_not_there(within: Callable[..., Any]) -> None:
    async def session(images: Images) -> None:
        for name, error in (
            ("nope", "No such image: nope"),
            ("nope:1", "reference does not exist"),
            ("a" * 64, f"No such image: sha256:{'a' * 64}"),
        ):
            with pytest.raises(NotFound) as caught:
                images.save([name])
            assert caught.value.message == error

    within(session)


def test_a_layer_that_was_changed_on_disk_is_not_saved(within: Callable[..., Any]) -> None:
    async def session(images: Images) -> None:
        image = await images.import_(pieces(layer_tar(a=b"1" * 600)), reference=parse("a"))
        (images.storage.layer_path(image.chain_ids[0]) / "diff/dir/a").write_bytes(b"2" * 600)
        with pytest.raises(EngineError, match="is damaged"):
            await save(images, "a")

    within(session)


def test_many_at_once_make_one_layer(within: Callable[..., Any]) -> None:
    plain = layer_tar(a=b"1" * 30_000)

    async def session(images: Images) -> None:
        made = await asyncio.gather(*(images.import_(pieces(plain)) for _ in range(4)))
        assert len({image.id for image in made}) == 4
        assert len(images.index.layers) == 1

    within(session)
