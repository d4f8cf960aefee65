"""The engine itself."""

from apispec.model import Bool, Filters, ListOf, Operation, Param, Ref, Stream, String

OPERATIONS = (
    Operation(
        "SystemPing",
        "GET",
        "/_ping",
        "System",
        "Answers OK, with the engine's versions in headers.",
        answers={200: String},
    ),
    Operation(
        "SystemPingHead",
        "HEAD",
        "/_ping",
        "System",
        "The headers of a ping alone.",
        answers={200: None},
        known="1.40",
    ),
    Operation(
        "SystemVersion",
        "GET",
        "/version",
        "System",
        "Tells the versions of the engine and its parts.",
        answers={200: Ref("system.VersionResponse")},
    ),
    Operation(
        "SystemInfo",
        "GET",
        "/info",
        "System",
        "Tells about the host and the engine's configuration.",
        answers={200: Ref("info.Info")},
    ),
    Operation(
        "SystemEvents",
        "GET",
        "/events",
        "System",
        "Streams what happens, from a time on and until a time.",
        params=(
            Param("since", String),
            Param("until", String),
            Param("filters", Filters()),
        ),
        answers={200: Stream(Ref("system.Message"))},
        errors=(400, 500),
    ),
    Operation(
        "SystemDataUsage",
        "GET",
        "/system/df",
        "System",
        "Tells how much disk space images, containers, volumes and caches take.",
        params=(
            Param("type", ListOf(String), since="1.42"),
            Param("verbose", Bool, since="1.52"),
        ),
        answers={200: Ref("system.DiskUsage")},
        errors=(400, 500),
        known="1.25",
    ),
    Operation(
        "SystemAuth",
        "POST",
        "/auth",
        "System",
        "Checks a user's credentials at a registry.",
        body=Ref("registry.AuthConfig"),
        answers={200: Ref("registry.AuthenticateOKBody"), 204: None},
        errors=(400, 401, 500),
    ),
)
