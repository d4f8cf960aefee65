"""The swarm as a whole."""

from apispec.model import Bool, Operation, Param, ParseBool, Ref, String, Uint64


def _rotate(name: str) -> Param:
    return Param(name, ParseBool, invalid=f"invalid value for {name}: {{raw}}")


OPERATIONS = (
    Operation(
        "SwarmInspect",
        "GET",
        "/swarm",
        "Swarm",
        "Tells about the swarm.",
        answers={200: Ref("swarm.Swarm")},
        errors=(404, 500, 503),
        swarm=True,
    ),
    Operation(
        "SwarmInit",
        "POST",
        "/swarm/init",
        "Swarm",
        "Makes this engine the first manager of a new swarm.",
        body=Ref("swarm.InitRequest"),
        answers={200: String},
        errors=(400, 500, 503),
        swarm=True,
    ),
    Operation(
        "SwarmJoin",
        "POST",
        "/swarm/join",
        "Swarm",
        "Joins this engine to a swarm.",
        body=Ref("swarm.JoinRequest"),
        answers={200: None},
        errors=(400, 500, 503),
        swarm=True,
    ),
    Operation(
        "SwarmLeave",
        "POST",
        "/swarm/leave",
        "Swarm",
        "Takes this engine out of its swarm.",
        params=(Param("force", Bool),),
        answers={200: None},
        errors=(500, 503),
        swarm=True,
    ),
    Operation(
        "SwarmUpdate",
        "POST",
        "/swarm/update",
        "Swarm",
        "Changes the swarm, or its tokens.",
        params=(
            Param("version", Uint64, invalid="invalid swarm version '{raw}': {why}"),
            _rotate("rotateWorkerToken"),
            _rotate("rotateManagerToken"),
            _rotate("rotateManagerUnlockKey"),
        ),
        body=Ref("swarm.Spec"),
        answers={200: None},
        errors=(400, 500, 503),
        swarm=True,
    ),
    Operation(
        "SwarmUnlockkey",
        "GET",
        "/swarm/unlockkey",
        "Swarm",
        "Gives the key that unlocks managers.",
        answers={200: Ref("swarm.UnlockKey")},
        errors=(500, 503),
        swarm=True,
    ),
    Operation(
        "SwarmUnlock",
        "POST",
        "/swarm/unlock",
        "Swarm",
        "Unlocks a manager.",
        body=Ref("swarm.UnlockRequest"),
        answers={200: None},
        errors=(500, 503),
        swarm=True,
    ),
)
