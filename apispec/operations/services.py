"""Services of a swarm."""

from apispec.model import Binary, Bool, Filters, ListOf, Operation, Param, ParseBool, Ref, String, Uint64

AUTH = Param("X-Registry-Auth", String, where="header")
LOGS = (
    Param("details", Bool),
    Param("follow", Bool),
    Param("stdout", Bool),
    Param("stderr", Bool),
    Param("since", String),
    Param("timestamps", Bool),
    Param("tail", String, default="all"),
)
RAW = Binary("application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream")

OPERATIONS = (
    Operation(
        "ServiceList",
        "GET",
        "/services",
        "Service",
        "Lists services.",
        params=(
            Param("filters", Filters("id", "label", "mode", "name", "runtime")),
            Param("status", ParseBool, since="1.41", invalid="invalid value for status: {raw}: {why}"),
        ),
        answers={200: ListOf(Ref("service.Service"))},
        errors=(400, 500, 503),
        swarm=True,
    ),
    Operation(
        "ServiceCreate",
        "POST",
        "/services/create",
        "Service",
        "Makes a service.",
        params=(AUTH,),
        body=Ref("service.ServiceSpec"),
        answers={201: Ref("service.ServiceCreateResponse")},
        errors=(400, 403, 409, 500, 503),
        swarm=True,
    ),
    Operation(
        "ServiceInspect",
        "GET",
        "/services/{id}",
        "Service",
        "Tells all about one service.",
        params=(
            Param("insertDefaults", ParseBool, invalid="invalid value for insertDefaults: {raw}: {why}"),
        ),
        answers={200: Ref("service.Service")},
        errors=(404, 500, 503),
        swarm=True,
    ),
    Operation(
        "ServiceDelete",
        "DELETE",
        "/services/{id}",
        "Service",
        "Removes a service.",
        answers={200: None},
        errors=(404, 500, 503),
        swarm=True,
    ),
    Operation(
        "ServiceUpdate",
        "POST",
        "/services/{id}/update",
        "Service",
        "Changes a service.",
        params=(
            Param("version", Uint64, invalid="invalid service version '{raw}': {why}"),
            Param("registryAuthFrom", String),
            Param("rollback", String),
            AUTH,
        ),
        body=Ref("service.ServiceSpec"),
        answers={200: Ref("service.ServiceUpdateResponse")},
        errors=(400, 404, 500, 503),
        swarm=True,
    ),
    Operation(
        "ServiceLogs",
        "GET",
        "/services/{id}/logs",
        "Service",
        "Reads what the tasks of a service wrote.",
        params=(*LOGS,),
        answers={200: RAW},
        errors=(404, 500, 503),
        swarm=True,
    ),
)
