"""`docker push`: layers that the registry lacks, then config and manifest, with the CLI's progress."""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from compatd.engine.errors import EngineError, Unauthorized
from compatd.engine.images import known, manifests
from compatd.engine.images.index import Index
from compatd.engine.images.layers import Layers
from compatd.engine.images.model import Image, Layer
from compatd.engine.images.reference import Reference
from compatd.engine.images.registry.client import Repository
from compatd.engine.images.registry.errors import RegistryError
from compatd.engine.images.registry.sources import Source
from compatd.engine.images.registry.trying import at_registry
from compatd.engine.images.registry.upload import Upload
from compatd.engine.images.together import together

Json = dict[str, Any]
Write = Callable[[Json], Awaitable[None]]

_PORTABLE = ("gzip", "zstd")
"""Compressions that every registry's clients know; other blobs are sent as gzip."""
_MAX_MOUNTS = 4
_MAX_CHECKS = 3


class Pusher:
    """One request to push; `write` sends progress objects, `slots` are the engine's for uploads."""

    def __init__(
        self,
        index: Index,
        layers: Layers,
        config: Any,
        slots: asyncio.Semaphore,
        write: Write,
        *,
        auth: dict[str, str],
    ) -> None:
        self._index = index
        self._layers = layers
        self._config = config
        self._slots = slots
        self._send = write
        self._auth = auth
        self._there: dict[str, Json] = {}

    async def push(self, wanted: Reference) -> None:
        """Push one tag, or all tags when `wanted` has none. Raises EngineError and its kin."""
        await self._send({"status": f"The push refers to repository [{wanted.name}]"})
        tags = self._tags(wanted)
        try:
            await at_registry(
                wanted, self._config, self._auth, lambda repository: self._all(repository, tags), push=True
            )
        except RegistryError as error:
            raise (Unauthorized if error.code == "UNAUTHORIZED" else EngineError)(error.text) from error

    def _tags(self, wanted: Reference) -> list[tuple[Reference, Image]]:
        found = [
            (reference, image)
            for image in self._index.images.values()
            for reference in image.references
            if reference.name == wanted.name
        ]
        if not found:
            raise EngineError(f"An image does not exist locally with the tag: {wanted.familiar_name}")
        if wanted.digest:
            raise EngineError("cannot push a digest reference")
        if wanted.tag:
            image = self._index.named(wanted)
            if image is None:
                raise EngineError(f"tag does not exist: {wanted.familiar}")
            return [(wanted, image)]
        tags = sorted((pair for pair in found if pair[0].tag), key=lambda pair: pair[0].tag)
        if not tags:
            raise EngineError(f"no tags to push for {wanted.familiar_name}")
        return tags

    async def _all(self, repository: Repository, tags: list[tuple[Reference, Image]]) -> None:
        self._there = {}
        for reference, image in tags:
            if image.id not in self._index.images:  # removed meanwhile
                raise EngineError(f"could not find image from tag {reference.familiar}")
            with self._index.pinned() as pins:
                for chain_id in image.chain_ids:
                    pins.add(chain_id)
                await self._one(repository, reference, image)

    async def _one(self, repository: Repository, reference: Reference, image: Image) -> None:
        layers = [self._index.layers[chain] for chain in image.chain_ids]
        plain = _sent_plain(image)
        jobs: dict[str, _Job] = {}
        for layer in reversed(layers):
            job = _Job(self, repository, reference.name, layer, plain=layer.diff_id in plain)
            await job.report("Preparing")
            jobs.setdefault(layer.diff_id, job)
        tasks = {diff_id: asyncio.ensure_future(job.run()) for diff_id, job in jobs.items()}
        await together(tasks.values())
        await repository.put_blob(image.id, image.raw.encode())
        data, kind = manifests.build(image, [tasks[layer.diff_id].result() for layer in layers])
        await repository.put_manifest(reference.tag, data, kind)
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if image.id in self._index.images:
            self._index.name(reference.with_digest(digest), image)
        await self._send({"status": f"{reference.tag}: digest: {digest} size: {len(data)}"})
        aux = {"Tag": reference.tag, "Digest": digest, "Size": len(data)}
        await self._send({"progressDetail": {}, "aux": aux})

    async def send(self, value: Json) -> None:
        """Send one progress object."""
        await self._send(value)


def _sent_plain(image: Image) -> set[str]:
    """Diff IDs of layers that came uncompressed, by the image's own manifest."""
    came = manifests.kept(image) or {}
    return {str(item.get("digest")) for item in came.get("layers") or () if isinstance(item, dict)}


class _Job:
    """One layer of a push. Its result is the blob that the registry has then: Digest, Size, Compression.

    `plain`: it goes as it is, if it has no blob.
    """

    def __init__(
        self, pusher: Pusher, repository: Repository, name: str, layer: Layer, *, plain: bool
    ) -> None:
        self._pusher = pusher
        self._index = pusher._index
        self._repository = repository
        self._name = name
        self._layer = layer
        self._as_it_came = layer.compression in _PORTABLE
        self._compression = layer.compression if self._as_it_came else "" if plain else "gzip"
        self._id = layer.diff_id.partition(":")[2][:12]

    async def report(self, status: str, current: int = 0, total: int = 0) -> None:
        detail: Json = {}
        if current:
            detail = {"current": current, **({"total": total} if total > 0 else {})}
        await self._pusher.send({"status": status, "progressDetail": detail, "id": self._id})

    async def run(self) -> Json:
        pusher, diff_id = self._pusher, self._layer.diff_id
        if pusher._slots.locked():
            await self.report("Waiting")
        async with pusher._slots:
            found = pusher._there.get(diff_id)
            if found:
                await self.report("Layer already exists")
                return found
            found = await self._existing() or await self._mounted() or await self._upload()
        pusher._there[diff_id] = found
        known.remember(
            self._index, diff_id, self._name,
            digest=found["Digest"], size=found["Size"], compression=found["Compression"],
        )  # fmt: skip
        return found

    def _candidates(self) -> list[Json]:
        """Blobs of this layer that may be there, best first; others of the same layer will do as well."""
        seen = known.blobs(self._index, self._layer.diff_id, self._name.partition("/")[0])
        seen = [item for item in seen if self._fits(item)]
        return sorted(seen, key=lambda item: item["Repository"] != self._name)

    def _fits(self, item: Json) -> bool:
        if self._as_it_came or not self._compression:
            return bool(item["Digest"] == self._blob()["Digest"])
        return item["Compression"] in _PORTABLE

    def _blob(self) -> Json:
        layer = self._layer
        if self._as_it_came:
            size = layer.blob_size
            return {"Digest": layer.digest, "Size": size, "Compression": layer.compression}
        return {"Digest": layer.diff_id, "Size": layer.plain_size, "Compression": ""}

    async def _existing(self) -> Json | None:
        blobs = [self._blob()] if self._as_it_came or not self._compression else []
        blobs += [item for item in self._candidates() if item["Repository"] == self._name]
        checked: set[str] = set()
        for item in blobs:
            if item["Digest"] in checked or len(checked) >= _MAX_CHECKS:
                continue
            checked.add(item["Digest"])
            if await self._repository.has_blob(item["Digest"]) is not None:
                await self.report("Layer already exists")
                return _facts(item)
            known.forget(self._index, self._layer.diff_id, self._name, item["Digest"])
        return None

    async def _mounted(self) -> Json | None:
        others = [item for item in self._candidates() if item["Repository"] != self._name]
        for item in others[:_MAX_MOUNTS]:
            source = item["Repository"].partition("/")[2]
            try:
                where = await self._repository.start_upload(item["Digest"], source)
            except RegistryError as error:
                if error.code == "NO_CREDENTIALS":
                    raise
                continue  # what may not be read there can still be sent
            if not where:
                await self.report(f"Mounted from {source}")
                return _facts(item)
            known.forget(self._index, self._layer.diff_id, item["Repository"], item["Digest"])
            await self._cancel(where)
        return None

    async def _cancel(self, where: str) -> None:
        with suppress(EngineError):
            async with self._repository.http.request("DELETE", where):
                pass

    async def _upload(self) -> Json:
        layer = self._layer
        if self._as_it_came:
            source = Source.of_file(self._index.blob_path(layer.digest), layer.blob_size, layer.digest)
            await Upload(self._repository, source, self.report).run()
        else:
            path = self._index.overlay.tmp / f"push-{secrets.token_hex(8)}"
            source = Source(path, layer.plain_size)
            plain = self._pusher._layers.plain_chunks(layer)
            filling = asyncio.ensure_future(source.fill(plain, compress=bool(self._compression)))
            try:
                await source.started()
                await Upload(self._repository, source, self.report).run()
            finally:
                filling.cancel()
                try:  # a push that ends for another layer's sake is cancelled twice: here, too
                    await asyncio.gather(filling, return_exceptions=True)
                finally:
                    with suppress(FileNotFoundError):
                        path.unlink()
        await self.report("Pushed")
        return {"Digest": source.digest, "Size": source.size, "Compression": self._compression}


def _facts(item: Json) -> Json:
    return {name: item[name] for name in ("Digest", "Size", "Compression")}
