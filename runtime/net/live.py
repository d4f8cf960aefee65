"""Connects a running container to a network, disconnects it, and sets its default routes.

Run in a worker (`Runtime.worker`), which has one thread and is in the daemon's network namespace; the
container's namespace comes as a descriptor. Each is all or nothing: what fails halfway is undone.
"""

import errno
import os
import socket
from typing import Any

from runtime.net import plan, rtnetlink
from runtime.net.netlink import NetlinkSocket, Request


def connect(arguments: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """One more endpoint: `{"endpoint": ENDPOINT, "default": ROUTES | None}` (NetPlan, docs/architecture.md).

    ROUTES as for `default_route`; None leaves the default routes as the endpoint alone would change them.
    Answers as one of `plan.apply`'s. Raises OSError.
    """
    endpoint = arguments["endpoint"]
    (netns,) = fds
    plan.make_links([endpoint], netns)
    with plan.inside(netns), rtnetlink.open_route() as sock:
        before = rtnetlink.default_routes(sock)
        try:
            (made,) = plan.configure(sock, [endpoint])
            if arguments.get("default"):
                _set_default(sock, arguments["default"])
        except BaseException:
            _delete(sock, endpoint["name"])
            _restore(sock, before)
            raise
    return made


def disconnect(arguments: dict[str, Any], fds: list[int]) -> None:
    """Takes the interface `{"name": "eth1", "default": ROUTES | None}` away; one that is not there is no
    error. Its other end is gone, too, when this returns. Raises OSError, with nothing changed."""
    (netns,) = fds
    with plan.inside(netns), rtnetlink.open_route() as sock:
        before = rtnetlink.default_routes(sock)
        try:
            if arguments.get("default"):
                _set_default(sock, arguments["default"])
            _delete(sock, arguments["name"])
        except BaseException:
            _restore(sock, before)
            raise


def default_route(arguments: dict[str, Any], fds: list[int]) -> None:
    """Replaces the default routes: `{"device", "gateway", "gateway6", "default_device", "default_device6"}`.

    `device6` may name another interface for IPv6. A family with neither gateway nor device has no default
    route then. Raises OSError, with nothing changed.
    """
    (netns,) = fds
    with plan.inside(netns), rtnetlink.open_route() as sock:
        before = rtnetlink.default_routes(sock)
        try:
            _set_default(sock, arguments)
        except BaseException:
            _restore(sock, before)
            raise


def _set_default(sock: NetlinkSocket, routes: dict[str, Any]) -> None:
    wanted: list[Request] = []
    for device, keys in (
        (routes.get("device"), ("gateway", "default_device")),
        (routes.get("device6") or routes.get("device"), ("gateway6", "default_device6")),
    ):
        if device and any(routes.get(key) for key in keys):
            part = {key: routes.get(key) for key in keys}
            wanted += plan.default_routes(socket.if_nametoindex(device), part)
    _remove(sock, rtnetlink.default_routes(sock))
    sock.run(wanted)


def _restore(sock: NetlinkSocket, before: list[Request]) -> None:
    """As it was, as far as the kernel lets us: this runs after something else has failed."""
    try:
        _remove(sock, rtnetlink.default_routes(sock))
        sock.run(before)
    except OSError:
        pass


def _remove(sock: NetlinkSocket, routes: list[Request]) -> None:
    for route in routes:
        try:
            sock.run([rtnetlink.delete_route(route)])
        except OSError as e:
            if e.errno not in (errno.ESRCH, errno.ENODEV):
                raise


def _delete(sock: NetlinkSocket, name: str) -> None:
    if name == "lo" or os.sep in name:
        raise OSError(errno.EINVAL, f"delete link {name}: {os.strerror(errno.EINVAL)}")
    try:
        sock.run([rtnetlink.delete_link(name)])
    except OSError as e:
        if e.errno != errno.ENODEV:
            raise
