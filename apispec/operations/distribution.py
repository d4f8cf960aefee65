"""What a registry says about an image."""

from apispec.model import Operation, Param, Ref, String

OPERATIONS = (
    Operation(
        "DistributionInspect",
        "GET",
        "/distribution/{name}/json",
        "Distribution",
        "Asks a registry for an image's digest and platforms.",
        params=(Param("X-Registry-Auth", String, where="header"),),
        answers={200: Ref("registry.DistributionInspect")},
        errors=(400, 401, 404, 500),
        since="1.30",
    ),
)
