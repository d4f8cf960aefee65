"""The image of the applications: Debian 12 with PostgreSQL, Redis, nginx and Python, made by mmdebstrap.

Made once, in about a minute, and kept in this checkout's `.cache`.
"""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache"
_PACKAGES = "apt,postgresql,redis-server,nginx-light,python3,python3-psycopg2,python3-redis,procps"
_WITHOUT = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    # PostgreSQL's compiler for long queries: a third of all
    "/usr/lib/*/libLLVM*",
    "/usr/lib/postgresql/*/lib/llvmjit*",
    "/usr/lib/postgresql/*/lib/bitcode/*",
    "/usr/lib/*/libz3*",
    # and what only compilers of locales and of Perl's modules read
    "/usr/share/i18n/*",
    "/usr/lib/*/perl/*/CORE/*",
)
_COMMAND = [
    *("mmdebstrap", "--quiet", "--mode=root", "--variant=essential", "--components=main", "--format=tar"),
    *("--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Retries "3"'),
    *(f"--dpkgopt=path-exclude={path}" for path in _WITHOUT),
    f"--include={_PACKAGES}",
    "bookworm",
]


def missing() -> str:
    """Why there can be no image, or ''."""
    return "" if shutil.which("mmdebstrap") else "mmdebstrap is missing (scripts/setup --test installs it)"


def archive() -> Path:
    """A tar of the root file system. Raises AssertionError with mmdebstrap's words when it cannot be made."""
    recipe = hashlib.sha256("\n".join(_COMMAND).encode()).hexdigest()[:12]
    path = CACHE / f"apps-{recipe}.tar"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "apps.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the others find it done
        if not path.exists():
            half = path.with_suffix(".half")
            done = subprocess.run([*_COMMAND, str(half)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"mmdebstrap: {done.stderr[-2000:]}"
            half.rename(path)
    return path
