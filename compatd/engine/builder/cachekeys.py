"""What makes two steps the same: the whole instruction, what it runs with, and what it stands on.

A key never holds a secret's content, a proxy, or a time. Base keys are by content: images with the same
layers are the same to what is built on them, and what else their config says is part of the steps' keys
(environment, user, working directory, shell). See CVE-2024-24557 for what a key that lacks something is good
for.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from compatd.engine.builder.mountrules import ResolvedMount
from compatd.engine.builder.state import Step
from compatd.engine.images.platform import Platform

Json = dict[str, Any]

VERSION = 1
"""Raised when a step of the same key would come to something else than before."""


def digest(kind: str, *parts: Any) -> str:
    """`sha256:…` of JSON values."""
    text = orjson.dumps([VERSION, kind, *parts], option=orjson.OPT_SORT_KEYS)
    return f"sha256:{hashlib.sha256(text).hexdigest()}"


def base_key(chain_ids: Sequence[str], platform: Platform) -> str:
    """Of an image that a stage stands on; none: scratch."""
    return digest("base", chain_ids[-1] if chain_ids else "", str(platform))


def record_key(key: str, parent: Sequence[str]) -> str:
    """A step on the very layers that it stands on: what came of it once is right for no others."""
    return digest("record", key, parent[-1] if parent else "")


def run_key(
    parent: str, step: Step, mounts: Sequence[tuple[ResolvedMount, str]], network: str, surroundings: Json
) -> str:
    """Of a RUN. `mounts` come with the digest of what they show ("" where it does not count: caches,
    secrets).
    """
    config = step.before.config
    one: Any = step.instruction
    script = [step.script.name, step.script.data] if step.script else None
    return digest(
        "run", parent, list(step.args), sorted(step.environment), config.get("WorkingDir") or "/",
        config.get("User") or "", script, network, one.security, list(one.devices), str(step.before.platform),
        [_mount(mount, content) for mount, content in mounts], surroundings,
    )  # fmt: skip


def _mount(one: ResolvedMount, content: str) -> list[Any]:
    mount = one.mount
    source = one.source if mount.type in ("bind", "cache") else ""
    return [
        mount.type, one.target, one.id, source, content, mount.read_only, mount.size, mount.sharing,
        mount.required, mount.env, mount.mode, mount.uid, mount.gid,
    ]  # fmt: skip


def transfer_key(parent: str, step: Step, content: str) -> str:
    """Of a COPY or ADD; `content` is the digest of all that it takes."""
    one: Any = step.instruction
    return digest(
        step.kind, parent, list(one.sources), step.destination, one.chown, one.chmod,
        one.link, list(one.exclude), getattr(one, "parents", False), getattr(one, "unpack", None),
        getattr(one, "keep_git_dir", None), getattr(one, "checksum", ""), content,
    )  # fmt: skip


def workdir_key(parent: str, step: Step) -> str:
    """Of a WORKDIR."""
    return digest("workdir", parent, step.destination, step.before.config.get("User") or "")


def image_key(parent: str, created_by: str, document: Json) -> str:
    """Of a step of the classic builder: `parent` is the image it stands on, `document` what came of it."""
    rest = {key: value for key, value in document.items() if key not in ("history", "rootfs", "created")}
    return digest("image", parent, created_by, rest)
