"""Commands run in a container that already runs."""

from apispec.model import Operation, Ref
from apispec.operations.containers import RAW, RESIZE

OPERATIONS = (
    Operation(
        "ContainerExec",
        "POST",
        "/containers/{id}/exec",
        "Exec",
        "Prepares a command to run in a container.",
        body=Ref("exec.CreateRequest"),
        answers={201: Ref("common.IDResponse")},
        errors=(400, 404, 409, 500),
    ),
    Operation(
        "ExecStart",
        "POST",
        "/exec/{id}/start",
        "Exec",
        "Runs a prepared command, and connects the client to its streams unless detached.",
        body=Ref("exec.StartRequest"),
        answers={101: None, 200: RAW},
        errors=(400, 404, 409, 500),
    ),
    Operation(
        "ExecResize",
        "POST",
        "/exec/{id}/resize",
        "Exec",
        "Sets the size of a command's terminal.",
        params=RESIZE,
        answers={200: None},
        errors=(400, 404, 500),
    ),
    Operation(
        "ExecInspect",
        "GET",
        "/exec/{id}/json",
        "Exec",
        "Tells about a command: whether it runs, its exit code.",
        answers={200: Ref("exec.InspectResponse")},
        errors=(404, 500),
    ),
)
