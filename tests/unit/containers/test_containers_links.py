"""Links of the default bridge: the index, what is shown of it, and what it does to hosts and starts."""

from pathlib import Path
from typing import Any

import pytest

from compatd.engine.containers import links
from compatd.engine.errors import EngineError, InvalidParameter, NotFound

from .fakes import World
from .scenario import play


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("db", ("db", "db")), ("db:alias", ("db", "alias")), ("/db:/web/alias", ("db", "alias"))],
)
def test_parse(text: str, parsed: tuple[str, str]) -> None:
    assert links.parse_link(text) == parsed


@pytest.mark.parametrize("text", ["", "a:b:c"])
def test_parse_errors(text: str) -> None:
    with pytest.raises(InvalidParameter):
        links.parse_link(text)


async def _linked(world: World) -> tuple[Any, Any]:
    db = await world.create("db", Cmd=["x"], Hostname="dbhost")
    web = await world.create("web", Cmd=["x"], HostConfig={"Links": ["db:alias"]})
    return world.containers.find(db), world.containers.find(web)


def test_names(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        db, web = await _linked(world)
        assert world.containers.find("web/alias") is world.containers.find("/web/alias") is db
        assert (await world.containers.inspect("web"))["HostConfig"]["Links"] == ["/db:/web/alias"]
        assert (await world.containers.inspect("db"))["HostConfig"]["Links"] is None
        listed = await world.containers.list(all=True)
        assert {tuple(entry["Names"]) for entry in listed} == {("/db", "/web/alias"), ("/web",)}
        await world.containers.rename("web", "shop")
        assert world.containers.find("shop/alias") is db
        await world.containers.remove("shop/alias", link=True)
        with pytest.raises(NotFound):
            world.containers.find("shop/alias")
        assert web.host_config["Links"] is None
        with pytest.raises(EngineError, match="cannot remove the default link name"):
            await world.containers.remove("shop", link=True)

    play(tmp_path, scenario)


def test_hosts_follow_the_child(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        db, web = await _linked(world)
        with pytest.raises(EngineError, match="Cannot link to a non running container: /db AS /web/alias"):
            await world.containers.start("web")
        await world.containers.start("db")
        db.network_settings["Networks"]["bridge"]["IPAddress"] = "10.0.0.2"
        await world.containers.start("web")
        assert web.linked_hosts == [("10.0.0.2", "alias dbhost db")]
        (web.dir / "hosts").write_text("127.0.0.1\tlocalhost\n10.0.0.2\talias dbhost db\n10.0.0.3\taliased\n")
        db.network_settings["Networks"]["bridge"]["IPAddress"] = "10.0.0.9"
        links.address_changed(world.containers, db)
        assert (web.dir / "hosts").read_text() == (
            "127.0.0.1\tlocalhost\n10.0.0.9\talias dbhost db\n10.0.0.3\taliased\n"
        )
        links.unlink(world.containers, "web/alias")
        assert (web.dir / "hosts").read_text() == "127.0.0.1\tlocalhost\n10.0.0.3\taliased\n"

    play(tmp_path, scenario)


def test_unknown_child(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(InvalidParameter, match="could not get container for no: No such container: no"):
            await world.create("web", Cmd=["x"], HostConfig={"Links": ["no:x"]})
        assert not world.containers.all()

    play(tmp_path, scenario)


def test_children_start_first_with_the_daemon(tmp_path: Path) -> None:
    """Whatever the order in the store: `a` needs `b`."""

    async def scenario(world: World) -> None:
        policy = {"RestartPolicy": {"Name": "always"}}
        await world.create("child", Cmd=["x"], HostConfig=policy)
        await world.create("parent", Cmd=["x"], HostConfig={**policy, "Links": ["child:c"]})
        for name in ("child", "parent"):
            await world.containers.start(name)
        rows = world.store.containers.rows
        world.store.containers.rows = dict(reversed(rows.items()))
        second = World(tmp_path, world.store)
        try:
            await second.containers.open()
            while not second.containers.find("parent").state.running:
                await second.settle()
            assert second.containers.find("parent/c").name == "child"
        finally:
            await second.close()

    play(tmp_path, scenario)
