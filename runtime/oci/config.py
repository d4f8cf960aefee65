"""A bundle's config.json, read and looked over: what cannot be right is refused before anything is made."""

from __future__ import annotations

import json
import os
import re

from runtime.init import plan
from runtime.init.options import PROPAGATION
from runtime.oci.state import OciError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.spec import Spec

_VERSION = re.compile(r"1\.\d+\.\d+([-+].*)?")
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def read_spec(bundle: str) -> Spec:
    """The spec, its paths that are relative to the bundle made absolute. Raises OciError."""
    path = os.path.join(bundle, "config.json")
    try:
        with open(path, encoding="utf-8") as file:
            spec: Spec = json.load(file)
    except FileNotFoundError:
        raise OciError("JSON specification file config.json not found") from None
    except ValueError as error:
        raise OciError(f"malformed spec file: {error}") from None
    if not isinstance(spec, dict):
        raise OciError("malformed spec file: not an object")
    try:
        _check_version(spec)
        _check_process(spec)
        _check_root(spec, bundle)
        _check_linux(spec)
        _check_hooks(spec)
        _check_mounts(spec, bundle)
    except (AttributeError, TypeError, KeyError) as error:
        raise OciError(f"malformed spec file: {error}") from None
    return spec


def _check_version(spec: Spec) -> None:
    version = spec.get("ociVersion", "")
    if not _VERSION.fullmatch(version):
        raise OciError(f'unknown version specified: "{version}"')


def _check_process(spec: Spec) -> None:
    process = spec.get("process")
    if not process:
        raise OciError("process property must not be empty")
    cwd = process.get("cwd")
    if not cwd:
        raise OciError("Cwd property must not be empty")
    if not cwd.startswith("/"):
        raise OciError("Cwd must be an absolute path")
    if not process.get("args"):
        raise OciError("args must not be empty")


def _check_root(spec: Spec, bundle: str) -> None:
    root = spec.get("root")
    if not root or not root.get("path"):
        raise OciError("root must be specified")
    root["path"] = os.path.realpath(os.path.join(bundle, root["path"]))
    if not os.path.isdir(root["path"]):
        there = os.path.exists(root["path"])
        raise OciError("not a directory" if there else "root filesystem does not exist")


def _check_linux(spec: Spec) -> None:
    linux = spec.get("linux") or {}
    kinds = [space["type"] for space in linux.get("namespaces") or []]
    for kind in kinds:
        if kind not in plan.NAMESPACES:
            raise OciError(f'namespace "{kind}" does not exist')
        if kinds.count(kind) > 1:
            raise OciError(f'malformed spec file: duplicated ns "{kind}"')
    for name in ("hostname", "domainname"):
        if spec.get(name) and "uts" not in kinds:
            raise OciError(f"unable to set {name} without a private UTS namespace")
    if "mount" not in kinds and (linux.get("maskedPaths") or linux.get("readonlyPaths")):
        raise OciError("unable to restrict sys entries without a private MNT namespace")
    propagation = linux.get("rootfsPropagation", "")
    if propagation and propagation not in PROPAGATION:
        raise OciError(f"rootfsPropagation={propagation} is not supported")


def _check_hooks(spec: Spec) -> None:
    hooks: dict[str, list[dict[str, Any]]] = spec.get("hooks") or {}
    for name in HOOKS:
        for number, hook in enumerate(hooks.get(name) or []):
            if not str(hook.get("path", "")).startswith("/"):
                raise OciError(f"{name} hook #{number}: path must be absolute")
            if hook.get("timeout") is not None and hook["timeout"] <= 0:
                raise OciError(f"{name} hook #{number}: timeout must be greater than zero")


def _check_mounts(spec: Spec, bundle: str) -> None:
    for mount in spec.get("mounts") or []:
        if not mount.get("destination"):
            raise OciError("mount destination must not be empty")
        bound = mount.get("type") == "bind" or {"bind", "rbind"} & set(mount.get("options") or [])
        if bound and mount.get("source"):
            mount["source"] = os.path.join(bundle, mount["source"])
