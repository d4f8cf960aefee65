"""Compiled filters on disk. Compiling takes 24 to 54 ms and a library; a start only reads some kilobytes.

A filter's name is a hash of the profile (which the engine has already made for the container's capabilities
and the kernel), the architecture, libseccomp's version and this compiler's. Files are written whole and
renamed.
"""

from __future__ import annotations

import json
import os
from _blake2 import blake2b

from runtime.init.errors import InitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.spec import Seccomp

_COMPILER = 1
_FLAGS = {"SECCOMP_FILTER_FLAG_TSYNC": 0, "SECCOMP_FILTER_FLAG_LOG": 2, "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4}


def program(profile: Seccomp, cache: str) -> tuple[bytes, int]:
    """The filter and the flags for seccomp(2); b'' when the profile does nothing. Raises InitError."""
    flags = 0
    for flag in profile.get("flags", []):
        if flag not in _FLAGS:
            raise InitError(f'string "{flag}" is not a valid flag for seccomp')
        flags |= _FLAGS[flag]
    if profile.get("defaultAction") == "SCMP_ACT_ALLOW" and not profile.get("syscalls"):
        return b"", 0
    name = key(profile)
    found = _read(os.path.join(cache, name))
    if not found:
        found = _compile(profile, cache, name)
    return found, flags


def key(profile: Seccomp) -> str:
    text = json.dumps(profile, sort_keys=True, separators=(",", ":"))
    label = f"{_COMPILER} {os.uname().machine} {_library()} {text}"
    return blake2b(label.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _library() -> str:
    """The library's file stands for its version: asking the library would mean loading it."""
    for folder in ("/usr/lib", "/lib"):
        for triple in (f"{os.uname().machine}-linux-gnu", ""):
            try:
                return os.readlink(os.path.join(folder, triple, "libseccomp.so.2"))
            except OSError:
                continue
    return ""


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.readall() or b""
    except FileNotFoundError:
        return b""
    return data if data and len(data) % 8 == 0 else b""


def _compile(profile: Seccomp, cache: str, name: str) -> bytes:
    """In a child: the library's memory must not stay with a shim."""
    os.makedirs(cache, mode=0o700, exist_ok=True)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(read_end)
            _compile_to(profile, os.path.join(cache, name))
            status = 0
        except BaseException as error:
            os.write(write_end, str(error).encode("utf-8", "replace")[:4000])
        finally:
            os._exit(status)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        text = file.read().decode("utf-8", "replace")
    status = os.waitpid(pid, 0)[1]
    found = b"" if status else _read(os.path.join(cache, name))
    if not found:
        # Never without the filter that was asked for.
        text = text or f"seccomp compiler ended with status {status}"
        raise InitError(f"unable to start container process: unable to init seccomp: {text}")
    return found


def _compile_to(profile: Seccomp, path: str) -> None:
    from runtime.init.seccomp.compiler import compile_profile

    data = compile_profile(profile)
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}")
    with open(temporary, "wb") as file:
        file.write(data)
    os.rename(temporary, path)
