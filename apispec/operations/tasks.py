"""Tasks of a swarm."""

from apispec.model import Filters, ListOf, Operation, Param, Ref
from apispec.operations.services import LOGS, RAW

OPERATIONS = (
    Operation(
        "TaskList",
        "GET",
        "/tasks",
        "Task",
        "Lists tasks.",
        params=(
            Param(
                "filters",
                Filters("_up-to-date", "desired-state", "id", "label", "name", "node", "runtime", "service"),
            ),
        ),
        answers={200: ListOf(Ref("task.Task"))},
        errors=(400, 500, 503),
        swarm=True,
    ),
    Operation(
        "TaskInspect",
        "GET",
        "/tasks/{id}",
        "Task",
        "Tells all about one task.",
        answers={200: Ref("task.Task")},
        errors=(404, 500, 503),
        swarm=True,
    ),
    Operation(
        "TaskLogs",
        "GET",
        "/tasks/{id}/logs",
        "Task",
        "Reads what a task wrote.",
        params=(*LOGS,),
        answers={200: RAW},
        errors=(404, 500, 503),
        known="1.29",
        swarm=True,
    ),
)
