"""A registry's endpoints, one after another until one can be talked to."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from compatd.engine.errors import EngineError
from compatd.engine.images.reference import Reference
from compatd.engine.images.registry.auth import Credentials
from compatd.engine.images.registry.client import Repository
from compatd.engine.images.registry.endpoints import endpoints
from compatd.engine.images.registry.errors import Unreachable

Result = TypeVar("Result")


async def at_registry(
    wanted: Reference,
    config: Any,
    auth: Credentials,
    action: Callable[[Repository], Awaitable[Result]],
    *,
    push: bool = False,
) -> Result:
    """Run `action` at the first endpoint that answers; a mirror's failure of any kind leads on to the next.

    There is no plain HTTP for a host that spoke TLS, and no mirror for a push. Raises the last endpoint's
    EngineError.
    """
    last = EngineError(f"no endpoints found for {wanted.familiar}")
    secure: set[str] = set()
    actions = ("push", "pull") if push else ("pull",)
    for endpoint in await endpoints(wanted.domain, config, mirrors=not push):
        if endpoint.host in secure and not endpoint.secure_transport:
            continue
        given = {} if endpoint.anonymous else auth
        try:
            async with Repository(endpoint, wanted.path, given, actions) as repository:
                await repository.ping()
                secure.add(endpoint.host)
                return await action(repository)
        except Unreachable as error:
            last = error
        except EngineError as error:
            last = error
            if not endpoint.mirror:
                break
    raise last
