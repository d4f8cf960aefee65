"""Volumes with a `size`: project quotas of xfs and ext4."""

from pathlib import Path

import pytest

from runtime.storage.quota import project_of
from tests.integration.daemon import ApiError
from tests.vm.machine import Machine
from tests.vm.test_quota import FILE_SYSTEMS, MB, daemon_on, ended, mounted

pytestmark = pytest.mark.root

FILL = "head -c 40000000 /dev/zero >/v/f; echo $?; stat -c %s /v/f; rm /v/f; echo >/v/f && echo fits"


@pytest.mark.parametrize("kind", list(FILE_SYSTEMS))
def test_a_volumes_size(service: Machine, tmp_path: Path, kind: str) -> None:
    with mounted(tmp_path, kind) as place, daemon_on(place) as daemon:
        for name, size in (("small", "20m"), ("large", "100m"), ("free", "0")):
            body = {"Name": name, "DriverOpts": {"size": size}}
            assert daemon.call("POST", "/volumes/create", body)["Options"] == {"size": size}
        for _ in range(2):
            code, size, fits = ended(daemon, FILL, Binds=["small:/v"])
            assert (code, fits) == ("1", "fits") and 10 * MB < int(size) <= 20 * MB
            for name in ("large", "free"):
                assert ended(daemon, FILL, Binds=[f"{name}:/v"]) == ["0", "40000000", "fits"]
            daemon.kill()  # the limits are the file system's
            daemon.start()
        ended(daemon, "true", StorageOpt={"size": "30m"})
        daemon.call("POST", "/volumes/create", {"Name": "later", "DriverOpts": {"size": "20m"}})
        folders = [
            *(daemon.data_root / "volumes").glob("*/_data"),
            *(daemon.data_root / "compatd/rw").iterdir(),
        ]
        projects = [project for folder in folders if (project := project_of(folder))]
        assert len(projects) == len(set(projects)) == 4
        with pytest.raises(ApiError, match="create bad: invalid size: 'what'"):
            daemon.call("POST", "/volumes/create", {"Name": "bad", "DriverOpts": {"size": "what"}})
