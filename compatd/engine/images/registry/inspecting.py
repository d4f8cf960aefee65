"""`GET /distribution/{name}/json`: what a registry has, without pulling it."""

import json
from typing import Any

from compatd.engine.errors import EngineError, InvalidParameter, NotFound, Unauthorized
from compatd.engine.images.reference import Reference, check_digest
from compatd.engine.images.registry.auth import Credentials
from compatd.engine.images.registry.client import Repository
from compatd.engine.images.registry.errors import RegistryError
from compatd.engine.images.registry.trying import at_registry

Json = dict[str, Any]

_KINDS = {
    "MANIFEST_UNKNOWN": NotFound,
    "NAME_UNKNOWN": NotFound,
    "UNAUTHORIZED": Unauthorized,
    "DENIED": Unauthorized,
}
_PLATFORM = ("architecture", "os", "os.version", "os.features", "variant")


async def inspect(wanted: Reference, config: Any, auth: Credentials) -> Json:
    """{"Descriptor": {mediaType, digest, size}, "Platforms": [...]}. Raises EngineError and its kin."""

    async def ask(repository: Repository) -> Json:
        target = wanted.tagged()
        data, kind, digest = await repository.manifest(target.digest or target.tag)
        try:
            manifest = json.loads(data)
            kind = str(manifest.get("mediaType") or kind)
            platforms = await _platforms(repository, manifest)
        except (ValueError, AttributeError, TypeError, KeyError):
            raise InvalidParameter("unsupported manifest format") from None
        return {
            "Descriptor": {"mediaType": kind, "digest": digest, "size": len(data)},
            "Platforms": platforms,
        }

    try:
        return await at_registry(wanted, config, auth, ask)
    except RegistryError as error:
        raise _KINDS.get(error.code, EngineError)(error.message) from error


async def _platforms(repository: Repository, manifest: Json) -> list[Json]:
    if "manifests" in manifest:
        found = [item.get("platform") for item in manifest["manifests"]]
        return [_shown(item) for item in found if isinstance(item, dict)]
    digest = str(manifest["config"]["digest"])
    check_digest(digest)
    shown = _shown(json.loads(await repository.config(digest)))
    return [shown] if shown.get("architecture") or shown.get("os") else []


def _shown(platform: Json) -> Json:
    return {name: platform[name] for name in _PLATFORM if platform.get(name)}
