"""`docker pull`: manifests to layers to an image, with the progress that the CLI draws."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from compatd.engine.errors import EngineError, Forbidden, InvalidParameter, NotFound
from compatd.engine.images import known
from compatd.engine.images.archive import IMAGE_MANIFESTS, INDEXES
from compatd.engine.images.index import Index, Pins
from compatd.engine.images.layers import Layers
from compatd.engine.images.model import Image, make_image
from compatd.engine.images.platform import Platform, candidates, host, normalise
from compatd.engine.images.reference import Reference, check_digest
from compatd.engine.images.registry.client import Repository
from compatd.engine.images.registry.errors import translated
from compatd.engine.images.registry.shared import Downloads
from compatd.engine.images.registry.trying import at_registry
from compatd.engine.images.together import together

Json = dict[str, Any]
Write = Callable[[Json], Awaitable[None]]

_CONFIGS = (
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/octet-stream",
    "text/html",
    "",
)
_SCHEMA1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
_MAX_LAYERS = 1000
_MAX_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Remote:
    """An image in a registry, as it was found: `digest` is what the name means there, `raw` the config."""

    reference: Reference
    digest: str
    manifest: Json
    raw: bytes

    @property
    def chain_ids(self) -> list[str]:
        """Of its layers, base first."""
        return make_image(self.raw).chain_ids


class Puller:
    """One request to pull; `write` sends progress objects."""

    def __init__(
        self,
        index: Index,
        layers: Layers,
        config: Any,
        downloads: Downloads,
        write: Write,
        *,
        auth: dict[str, str],
        platform: Platform | None,
    ) -> None:
        self._index = index
        self._layers = layers
        self._config = config
        self._downloads = downloads
        self._send = write
        self._auth = auth
        self._platform = platform

    async def pull(self, wanted: Reference) -> None:
        """Pull one tag or digest, or all tags when `wanted` has neither. Raises EngineError and its kin."""
        if wanted.familiar_name == "scratch":
            raise Forbidden("'scratch' is a reserved name")
        try:
            await at_registry(
                wanted, self._config, self._auth, lambda repository: self._repository(repository, wanted)
            )
        except EngineError as error:
            raise translated(error, wanted) from error

    async def resolve(self, wanted: Reference) -> "Remote":
        """What the registry has under one tag or digest; no layer is brought. Raises EngineError."""

        async def ask(repository: Repository) -> Remote:
            data, kind, digest = await repository.manifest(wanted.digest or wanted.tag)
            manifest = _parse(data, kind, wanted)
            if "manifests" in manifest:
                data, manifest = await self._choose(repository, manifest, wanted)
            return Remote(wanted, digest, manifest, await self._image_config(repository, manifest))

        return await at_registry(wanted, self._config, self._auth, ask)

    async def bring(self, remote: "Remote", pins: Pins) -> None:
        """All layers of what was resolved, pinned. Raises EngineError."""
        wanted, manifest = remote.reference, remote.manifest
        if all(chain in self._index.layers for chain in remote.chain_ids):
            for chain in remote.chain_ids:
                pins.add(chain)
            return
        await at_registry(
            wanted,
            self._config,
            self._auth,
            lambda repository: self._layers_of(repository, manifest, remote.raw, wanted, pins),
        )

    async def _repository(self, repository: Repository, wanted: Reference) -> None:
        if wanted.tag or wanted.digest:
            new = await self._one(repository, wanted)
        else:
            new = False
            for tag in await repository.tags():
                new = await self._one(repository, wanted.with_tag(tag)) or new
        state = "Downloaded newer image" if new else "Image is up to date"
        await self._send({"status": f"Status: {state} for {wanted.familiar}"})

    async def _one(self, repository: Repository, wanted: Reference) -> bool:
        """Pull one tag or digest; whether that changed anything here."""
        data, kind, digest = await repository.manifest(wanted.digest or wanted.tag)
        manifest = _parse(data, kind, wanted)
        shown = str(wanted.with_digest(wanted.digest)) if wanted.digest else wanted.tag
        await self._send({"status": f"Pulling from {wanted.path}", "id": shown})
        if "manifests" in manifest:
            data, manifest = await self._choose(repository, manifest, wanted)
        with self._index.pinned() as pins:
            raw = await self._content(repository, manifest, wanted, pins)
            await self._send({"status": f"Digest: {digest}"})
            image = self._index.create(raw)
            self._index.keep_manifest(image, data)
            return self._name(wanted, image, digest)

    def _name(self, wanted: Reference, image: Image, digest: str) -> bool:
        old = self._index.named(wanted)
        by_digest = wanted.with_digest(digest)
        if self._index.named(by_digest) is None:
            self._index.name(by_digest, image)
        if old is image:
            return False
        if not wanted.digest:
            self._index.name(wanted, image)
        return True

    async def _choose(
        self, repository: Repository, listing: Json, wanted: Reference, depth: int = 1
    ) -> tuple[bytes, Json]:
        """The manifest of an index that suits the platform, and its bytes. Raises NotFound, EngineError."""
        target = self._platform or host()
        entries = [(normalised, item) for item in listing["manifests"] if (normalised := _platform(item))]
        for candidate in candidates(target):
            for platform, item in entries:
                if platform != candidate:
                    continue
                check_digest(str(item.get("digest")))
                data, kind, _ = await repository.manifest(str(item["digest"]))
                manifest = _parse(data, kind or str(item.get("mediaType")), wanted)
                if "manifests" not in manifest:
                    return data, manifest
                if depth >= _MAX_DEPTH:
                    raise InvalidParameter("unsupported manifest format: an index in too many others")
                return await self._choose(repository, manifest, wanted, depth + 1)
        raise NotFound(f"no matching manifest for {target} in the manifest list entries")

    async def _content(self, repository: Repository, manifest: Json, wanted: Reference, pins: Pins) -> bytes:
        """Bring all layers; returns the image's config."""
        raw = await self._image_config(repository, manifest)
        here = self._index.images.get(str(manifest["config"]["digest"]))
        if here:
            for chain_id in here.chain_ids:
                pins.add(chain_id)
            return raw
        await self._layers_of(repository, manifest, raw, wanted, pins)
        return raw

    async def _image_config(self, repository: Repository, manifest: Json) -> bytes:
        """Of an image that is here from here, else from the registry; manifest and config fit together."""
        config = manifest["config"]
        digest = str(config.get("digest"))
        check_digest(digest)
        if str(config.get("mediaType") or "") not in _CONFIGS:
            raise InvalidParameter(f'Encountered remote "{config.get("mediaType")}"(unknown) when fetching')
        here = self._index.images.get(digest)
        if here:
            return here.raw.encode()
        blobs = manifest["layers"]
        if len(blobs) > _MAX_LAYERS:
            raise EngineError("max depth exceeded")
        for blob in blobs:
            check_digest(str(blob.get("digest")))
            if not isinstance(blob.get("size"), int) or not 0 <= blob["size"] < 1 << 63:
                raise InvalidParameter("unsupported manifest format: a layer without its size")
        raw = await repository.config(digest)
        draft = make_image(raw)
        if draft.config.get("os") not in (None, "", "linux"):
            raise InvalidParameter(f'operating system is not supported: "{draft.config["os"]}"')
        diff_ids = draft.config["rootfs"].get("diff_ids") or []
        if not diff_ids:
            raise EngineError("invalid rootfs in image configuration")
        if len(diff_ids) != len(blobs):
            raise EngineError("layers from manifest don't match image configuration")
        return raw

    async def _layers_of(
        self, repository: Repository, manifest: Json, raw: bytes, wanted: Reference, pins: Pins
    ) -> None:
        draft, blobs = make_image(raw), manifest["layers"]
        diff_ids = draft.config["rootfs"]["diff_ids"]
        await self._all_layers(repository, blobs, diff_ids, draft.chain_ids, pins)
        for blob, chain_id in zip(blobs, draft.chain_ids, strict=True):
            layer = self._index.layers[chain_id]
            if layer.digest == blob["digest"]:
                known.remember(
                    self._index, layer.diff_id, wanted.name,
                    digest=layer.digest, size=layer.blob_size, compression=layer.compression,
                )  # fmt: skip

    async def _all_layers(
        self, repository: Repository, blobs: list[Json], diff_ids: list[str], chains: list[str], pins: Pins
    ) -> None:
        """Download and unpack all that is missing: some at a time, the first failure ends all."""
        tasks = []
        parent = ""
        for blob, diff_id, chain in zip(blobs, diff_ids, chains, strict=True):
            layer = _Layer(self, repository, blob)
            if chain in self._index.layers:
                pins.add(chain)
                await layer.report("Already exists")
            else:
                await layer.report("Pulling fs layer")
                tasks.append(asyncio.ensure_future(layer.bring(parent, diff_id, pins)))
            parent = chain
        await together(tasks)

    async def send(self, value: Json) -> None:
        """Send one progress object."""
        await self._send(value)


class _Layer:
    """One layer of a pull."""

    def __init__(self, puller: Puller, repository: Repository, blob: Json) -> None:
        self._puller = puller
        self._repository = repository
        self._digest = str(blob["digest"])
        self._size = int(blob["size"])
        self._id = self._digest.partition(":")[2][:12]

    async def report(self, status: str, current: int = 0, total: int = 0) -> None:
        detail: Json = {}
        if current:
            detail["current"] = current
        if total > 0:
            detail["total"] = total
        await self._puller.send({"status": status, "progressDetail": detail, "id": self._id})

    async def bring(self, parent: str, diff_id: str, pins: Pins) -> None:
        puller = self._puller
        folder, attempts = puller._index.overlay.tmp, puller._config.max_download_attempts

        async def extracting(current: int, total: int) -> None:
            await self.report("Extracting", current, total)

        digest = self._digest if self._digest.startswith("sha256:") else ""
        async with puller._downloads.blob(
            self._repository, self._digest, self._size, folder, self.report, attempts
        ) as path:
            try:
                await puller._layers.from_file(
                    path, parent, diff_id, pins, digest=digest, progress=extracting
                )
            except EngineError as error:
                raise EngineError(f"failed to register layer: {error.message}") from error
        await self.report("Extracting", self._size, self._size)
        await self.report("Pull complete")


def _platform(item: Any) -> Platform | None:
    platform = item.get("platform") if isinstance(item, dict) else None
    if not isinstance(platform, dict):
        return None
    return normalise(
        str(platform.get("os") or ""),
        str(platform.get("architecture") or ""),
        str(platform.get("variant") or ""),
    )


def _parse(data: bytes, kind: str, wanted: Reference) -> Json:
    """A manifest or an index, sure to be one of both. Raises InvalidParameter, EngineError."""
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EngineError(f"error parsing manifest: {error}") from None
    if not isinstance(manifest, dict):
        raise InvalidParameter("unsupported manifest format")
    kind = str(manifest.get("mediaType") or kind)
    if kind in _SCHEMA1 or manifest.get("schemaVersion") == 1:
        raise InvalidParameter(
            "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. "
            f"Suggest the author of {wanted} to upgrade the image to the OCI Format or Docker Image manifest "
            "v2, schema 2. More information at https://docs.docker.com/go/deprecated-image-specs/"
        )
    # A document that can be read as both would mean different things to different readers (CVE-2021-41190)
    is_list, is_image = "manifests" in manifest, "config" in manifest or "layers" in manifest
    if is_list == is_image or kind not in (*IMAGE_MANIFESTS, *INDEXES) or is_list != (kind in INDEXES):
        raise InvalidParameter("unsupported manifest format")
    items = manifest["manifests"] if is_list else manifest.get("layers")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidParameter("unsupported manifest format")
    if is_image and not isinstance(manifest.get("config"), dict):
        raise InvalidParameter("unsupported manifest format")
    return manifest
