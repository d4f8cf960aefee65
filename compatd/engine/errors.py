"""What can go wrong in the engine, by kind. `compatd.http` turns a kind into a status code.

Every error's text is what the client shows to a person, worded as Docker Engine words it.
"""


class EngineError(Exception):
    """Any error with a text for the client; the base kind is the engine's own fault (500)."""

    status = 500

    @property
    def message(self) -> str:
        """The text for the client, without a trailing newline."""
        return str(self.args[0]) if self.args else type(self).__name__


class InvalidParameter(EngineError):
    """The request cannot be right, whatever the state (400)."""

    status = 400


class NotModified(EngineError):
    """The object already is in the state asked for (304, sent without a body)."""

    status = 304


class Unauthorized(EngineError):
    """A registry refused the credentials (401)."""

    status = 401


class Forbidden(EngineError):
    """Never allowed, as for pre-defined networks (403)."""

    status = 403


class NotFound(EngineError):
    """No such object (404)."""

    status = 404


class Conflict(EngineError):
    """The state of an object forbids it now (409)."""

    status = 409


class NotBuilt(EngineError):
    """The operation exists in the API and is not built here yet (501)."""

    status = 501


class Unavailable(EngineError):
    """Not now, or not in this mode, as Swarm operations outside a swarm (503)."""

    status = 503
