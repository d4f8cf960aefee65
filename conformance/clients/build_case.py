"""A user's test with Testcontainers that builds the image it needs. BASE is what it stands on."""

import os
from pathlib import Path

from testcontainers.core.container import DockerContainer  # type: ignore[import-untyped, unused-ignore]
from testcontainers.core.image import DockerImage  # type: ignore[import-untyped, unused-ignore]


def test_an_image_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {os.environ['BASE']}\nARG word\nRUN echo built $word >/word\nCOPY run /run\n"
    )
    (tmp_path / "run").write_text("copied\n")
    with DockerImage(path=tmp_path, tag=os.environ["TAG"], buildargs={"word": "well"}) as image:
        with DockerContainer(str(image)).with_command("sleep 1000").with_kwargs(init=True) as box:
            assert box.exec(["cat", "/word", "/run"]) == (0, b"built well\ncopied\n")
        assert "Successfully built" in "".join(one.get("stream", "") for one in image.get_logs())
