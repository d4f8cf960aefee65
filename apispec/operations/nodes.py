"""Nodes of a swarm."""

from apispec.model import Bool, Filters, ListOf, Operation, Param, Ref, Uint64

OPERATIONS = (
    Operation(
        "NodeList",
        "GET",
        "/nodes",
        "Node",
        "Lists nodes.",
        params=(Param("filters", Filters("id", "label", "membership", "name", "node.label", "role")),),
        answers={200: ListOf(Ref("node.Node"))},
        errors=(400, 500, 503),
        swarm=True,
    ),
    Operation(
        "NodeInspect",
        "GET",
        "/nodes/{id}",
        "Node",
        "Tells all about one node.",
        answers={200: Ref("node.Node")},
        errors=(404, 500, 503),
        swarm=True,
    ),
    Operation(
        "NodeDelete",
        "DELETE",
        "/nodes/{id}",
        "Node",
        "Removes a node from the swarm.",
        params=(Param("force", Bool),),
        answers={200: None},
        errors=(404, 500, 503),
        swarm=True,
    ),
    Operation(
        "NodeUpdate",
        "POST",
        "/nodes/{id}/update",
        "Node",
        "Changes a node.",
        params=(Param("version", Uint64, invalid="invalid node version '{raw}': {why}"),),
        body=Ref("node.NodeSpec"),
        answers={200: None},
        errors=(400, 404, 500, 503),
        swarm=True,
    ),
)
