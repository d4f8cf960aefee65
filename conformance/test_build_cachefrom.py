"""`cachefrom` of the classic builder: the steps of an image that came from elsewhere are not done again."""

import json

import pytest

from conformance.builds import build
from conformance.engine import Engine

CACHED = " ---> Using cache"


def cached(engine: Engine, dockerfile: str, files: dict[str, str], *images: str) -> tuple[int, str]:
    """How many steps were cached, and the image."""
    done = build(engine, dockerfile, files, cachefrom=json.dumps(list(images)))
    return done.text.count(CACHED), done.image


def remove(engine: Engine, image: str) -> None:
    assert engine.wire.request("DELETE", f"/images/{image}", force=True).status == 200


@pytest.mark.operation("ImageBuild", "ImageGet", "ImageLoad")
def test_an_image_from_elsewhere(engine: Engine) -> None:
    unique = engine.name()
    dockerfile = f"FROM {engine.image}\nENV A={unique}\nRUN echo $A > /made\nCOPY a /a\nCMD cat /made /a\n"
    files = {"a": "content"}
    tag = f"{engine.name('from')}:1"
    image = build(engine, dockerfile, files, t=tag).image
    saved = engine.wire.request("GET", f"/images/{tag}/get").body
    remove(engine, tag)
    engine.wire.post("/images/prune", status=200)
    engine.load(saved)
    assert cached(engine, dockerfile, files, tag, "conformance/none:1") == (5, image)
    # A step that it has not, and all behind that
    count, other = cached(engine, dockerfile.replace("COPY a /a", "COPY a /b"), files, tag)
    assert count == 2 and other != image
    container = engine.run(Image=other, Cmd=["sh", "-c", "cat /made /b; ls /a"], Labels=engine.labels)
    engine.wait(container)
    assert engine.logs(container)[0] == f"{unique}\ncontent"
    assert cached(engine, dockerfile, {"a": "changed"}, tag)[0] == 2


@pytest.mark.operation("ImageBuild")
def test_what_is_here_counts_only_if_an_image_was_made_of_it(engine: Engine) -> None:
    dockerfile = f"FROM {engine.image}\nENV A={engine.name()}\nRUN true\n"
    first = build(engine, dockerfile, {}).image
    assert cached(engine, dockerfile, {}, engine.image)[0] == 0
    assert cached(engine, dockerfile, {}, first)[0] >= 2
    assert cached(engine, dockerfile, {})[0] >= 2
