"""The script: a container's whole life, once for each engine."""

from collections.abc import Callable

from conformance.differential import (
    script_errors,
    script_files,
    script_life,
    script_lists,
    script_networks,
    script_streams,
    script_volumes,
)
from conformance.differential.recorder import Recorder

PARTS: list[Callable[[Recorder], None]] = [
    script_life.fields,
    script_life.many_fields,
    script_life.states,
    script_life.endings,
    script_life.changes_of_state,
    script_life.health,
    script_life.execs,
    script_streams.attaches,
    script_streams.terminals,
    script_streams.websockets,
    script_streams.exec_streams,
    script_streams.live_logs,
    script_lists.lists,
    script_lists.others,
    script_lists.versions,
    *script_volumes.PARTS,
    script_files.logs,
    script_files.archives,
    script_files.commits,
    script_networks.networks,
    script_networks.endpoints,
    script_networks.without_networks,
    script_networks.networks_refused,
    script_errors.missing,
    script_errors.creates,
    script_errors.starts,
    script_errors.wrong_states,
    script_errors.parameters,
    script_files.prune,
]
