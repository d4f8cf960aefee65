"""What is sent to a client's session, and read out of it: over gRPC, with the client's side made up here."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.builder.buildkit.wire.client import GrpcClient
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.server import ServerStream
from compatd.engine.builder.buildkit.wire.sessions import Session
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError
from compatd.engine.builder.exporting import client as client_module
from compatd.engine.builder.exporting import contexts
from compatd.engine.builder.exporting.client import SessionClient, TargetExists, send_file
from compatd.engine.builder.exporting.descriptors import Descriptor, digest_of
from compatd.engine.builder.exporting.task import Task
from compatd.engine.errors import EngineError, NotFound
from tests.unit.builder.exportkit import AMD64, ARM64, FakeClient, make_engine
from tests.unit.builder.wire.ends import run, serving

SEND = "/moby.filesync.v1.FileSend/DiffCopy"
CONTENT = "/containerd.services.content.v1.Content/"
content = "containerd.services.content.v1."


class Client:
    """The client's side: a store of blobs, and what came as a file."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.file = bytearray()
        self.metadata: dict[str, list[str]] = {}
        self.refuse: GrpcError | None = None

    def handlers(self) -> dict[str, Callable[[ServerStream], Awaitable[Any]]]:
        return {
            SEND: self.take,
            f"{CONTENT}Info": self.info,
            f"{CONTENT}Read": self.read,
            f"{CONTENT}Write": self.write,
        }

    async def take(self, call: ServerStream) -> None:
        self.metadata = call.metadata
        if self.refuse:
            raise self.refuse
        async for message in call:
            self.file += message.data

    async def info(self, call: ServerStream) -> Any:
        self.metadata = call.metadata
        request = await call.request()
        if request.digest not in self.blobs:
            raise GrpcError(Code.NOT_FOUND, f"content {request.digest}: not found")
        size = len(self.blobs[request.digest])
        return proto(f"{content}InfoResponse")(info=proto(f"{content}Info")(digest=request.digest, size=size))

    async def read(self, call: ServerStream) -> None:
        request = await call.request()
        data = self.blobs[request.digest]
        for at in range(0, len(data), 7):
            await call.send(proto(f"{content}ReadContentResponse")(offset=at, data=data[at : at + 7]))

    async def write(self, call: ServerStream) -> None:
        data = bytearray()
        answer = proto(f"{content}WriteContentResponse")
        async for message in call:
            if message.expected in self.blobs:
                raise GrpcError(Code.ALREADY_EXISTS, f"content {message.expected}: already exists")
            assert message.offset == len(data) and message.ref == message.expected
            data += message.data
            if message.action == 2:
                assert digest_of(bytes(data)) == message.expected and len(data) == message.total
                self.blobs[message.expected] = bytes(data)
            await call.send(answer(action=message.action, offset=len(data)))


def lent(client: GrpcClient, *methods: str) -> SessionClient:
    return SessionClient(Session(client, id="s", name="", shared_key="", methods=methods or [SEND], owner=""))


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for one in data:
        yield one


def test_a_file_comes_whole_and_with_its_metadata() -> None:
    there = Client()
    data = os.urandom(3 * client_module.PIECE + 1)

    async def work() -> None:
        async with serving(there.handlers()) as grpc, lent(grpc).sending(3, {"image.name": "x"}) as packets:
            await send_file(packets, pieces(data[:5], b"", data[5:]))

    run(work())
    assert bytes(there.file) == data
    assert there.metadata["buildkit-attachable-exporter-id"] == ["3"]
    assert there.metadata["exporter-md-image.name"] == ["x"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [(Code.ALREADY_EXISTS, TargetExists), (Code.UNKNOWN, EngineError), (Code.NOT_FOUND, NotFound)],
)
def test_a_client_that_refuses(code: Code, kind: type[EngineError]) -> None:
    there = Client()
    there.refuse = GrpcError(code, "no room")

    async def work() -> None:
        async with serving(there.handlers()) as grpc, lent(grpc).sending(0, {}) as packets:
            await send_file(packets, pieces(b"x"))

    with pytest.raises(kind, match="no room"):
        run(work())


def test_a_client_without_outputs() -> None:
    async def work() -> None:
        async with serving({}) as grpc, lent(grpc, "/other").sending(0, {}):
            pass

    with pytest.raises(EngineError, match="FileSend/DiffCopy not supported"):
        run(work())


def test_a_store_is_written_and_read() -> None:
    there = Client()
    data = os.urandom(2 * client_module.PIECE + 3)
    blob = Descriptor("m", digest_of(data), len(data))

    async def work() -> bytes:
        async with serving(there.handlers()) as grpc:
            store = lent(grpc).content("local:/x")
            await store.write(blob, pieces(data))
            await store.write(blob, pieces(data))  # it is there already
            assert await store.size(blob.digest) == len(data)
            assert there.metadata["buildkit-attachable-store-id"] == ["local:/x"]
            return b"".join([piece async for piece in store.read(blob.digest, blob.size)])

    assert run(work()) == data


@pytest.mark.parametrize(("size", "text"), [(2, "is longer than 2 bytes"), (9, "is shorter than 9 bytes")])
def test_blobs_of_another_size(size: int, text: str) -> None:
    there = Client()
    there.blobs["sha256:x"] = b"four"

    async def work() -> None:
        async with serving(there.handlers()) as grpc:
            async for _ in lent(grpc).content("c").read("sha256:x", size):
                pass

    with pytest.raises(EngineError, match=text):
        run(work())


def test_a_blob_that_is_not_there() -> None:
    async def work() -> None:
        async with serving(Client().handlers()) as grpc:
            await lent(grpc).content("c").size("sha256:x")

    with pytest.raises(NotFound, match="content sha256:x: not found"):
        run(work())


# OCI layouts as contexts -----------------------------------------------------------------------------------


def layout(client: FakeClient, *platforms: str) -> str:
    """A layout of images without layers in the store `oci:store`; the digest of its index."""
    store = client.content("oci:store").blobs
    items = []

    def put(document: Any) -> dict[str, Any]:
        data = json.dumps(document).encode()
        store[digest_of(data)] = data
        return {"digest": digest_of(data), "size": len(data)}

    for name in platforms:
        rootfs = {"type": "layers", "diff_ids": []}
        config = put({"architecture": name, "os": "linux", "config": {"User": name}, "rootfs": rootfs})
        manifest = put(
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []}
        )
        items.append({**manifest, "platform": {"architecture": name, "os": "linux"}})
    index = put({"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": items})
    return str(index["digest"])


def resolved(tmp_path: Path, client: FakeClient, reference: str, platform: Any = AMD64) -> Any:
    async def given() -> Any:
        return client

    async def work() -> Any:
        engine = make_engine(tmp_path)
        context = contexts.LayoutContext(engine, Task(), "foo", reference, given)
        with engine.images.index.pinned() as pins:
            return await context.resolve(platform, pins)

    return asyncio.run(work())


def test_a_layout_is_chosen_from_by_platform(tmp_path: Path) -> None:
    client = FakeClient()
    digest = layout(client, "amd64", "arm64")
    for platform in (AMD64, ARM64):
        base = resolved(tmp_path, client, f"store:tag@{digest}", platform)
        assert base.document["config"] == {"User": platform.architecture}
        assert base.reference == "docker.io/library/foo" and base.digest == digest
        assert base.line == f"[context foo] docker.io/library/foo@{digest}"


def test_a_layout_without_the_platform(tmp_path: Path) -> None:
    client = FakeClient()
    digest = layout(client, "arm64")
    with pytest.raises(NotFound, match="no match for platform in manifest"):
        resolved(tmp_path, client, f"store@{digest}")


@pytest.mark.parametrize(
    ("reference", "text"),
    [("store:tag", "has no digest"), ("store@sha256:short", "invalid reference format")],
)
def test_what_names_no_layout(tmp_path: Path, reference: str, text: str) -> None:
    with pytest.raises(EngineError, match=text):
        resolved(tmp_path, FakeClient(), reference)


def test_a_layout_that_lies(tmp_path: Path) -> None:
    client = FakeClient()
    digest = digest_of(b"{}")
    client.content("oci:store").blobs[digest] = b"[]"
    with pytest.raises(EngineError, match="has other content"):
        resolved(tmp_path, client, f"store@{digest}")


def test_scratch_is_a_context_too(tmp_path: Path) -> None:
    engine = make_engine(tmp_path)
    context = contexts.ImageContext(engine, Task(), "foo", "scratch")
    with engine.images.index.pinned() as pins:
        base = asyncio.run(context.resolve(ARM64, pins))
    assert base.chain_ids == () and base.document["architecture"] == "arm64"
