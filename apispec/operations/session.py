"""Sessions, over which a builder calls back to its client."""

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
)
