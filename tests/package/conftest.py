"""The package, built once for all tests here, and unpacked."""

import os
import subprocess
from pathlib import Path

import pytest

BUILD = Path(__file__).parents[2] / "packaging/deb/build"


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of what is committed. Others find it, and its upgrade, in $COMPATD_DEBS afterwards."""
    wanted = os.environ.get("COMPATD_DEBS")
    folder = Path(wanted) if wanted else tmp_path_factory.mktemp("debs")
    subprocess.run([BUILD, folder], check=True)
    if wanted:
        subprocess.run([BUILD, "--revision", "1", folder], check=True)
    return next(path for path in folder.glob("compatd_*.deb") if "+" not in path.name)


@pytest.fixture(scope="session")
def unpacked(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's files, below a folder."""
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["dpkg-deb", "-x", deb, folder], check=True)
    return folder
