"""The schema's history: step n brings a state file from version n - 1 to n. Steps are never edited."""

TABLES = ("containers", "images", "layers", "tags", "networks", "endpoints", "volumes", "meta")


def _tables(*names: str) -> tuple[str, ...]:
    return tuple(f"CREATE TABLE {name} (id TEXT PRIMARY KEY NOT NULL, doc BLOB NOT NULL)" for name in names)


MIGRATIONS: tuple[tuple[str, ...], ...] = (
    _tables(*TABLES),
    _tables("build_cache"),
)
