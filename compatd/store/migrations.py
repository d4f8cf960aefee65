"""The schema's history: step n brings a state file from version n - 1 to n. Steps are never edited."""

TABLES = ("containers", "images", "layers", "tags", "networks", "endpoints", "volumes", "meta")

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    tuple(f"CREATE TABLE {name} (id TEXT PRIMARY KEY NOT NULL, doc BLOB NOT NULL)" for name in TABLES),
)
