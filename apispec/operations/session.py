"""BuildKit's two doors: gRPC, and sessions, over which the builder calls back to its client."""

from apispec.model import Operation

OPERATIONS = (
    Operation(
        "Session",
        "POST",
        "/session",
        "Session",
        "Turns the connection into a channel on which the engine is the client.",
        answers={101: None},
        errors=(400, 500),
        known="1.31",
    ),
    Operation(  # the description does not tell it, though the engine's own clients need it
        "Grpc",
        "POST",
        "/grpc",
        "Session",
        "Turns the connection into HTTP/2, on which the builder serves gRPC.",
        answers={101: None},
        errors=(500,),
        known="1.39",
    ),
)
