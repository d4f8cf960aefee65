"""Labels in filters."""


def matches_labels(wanted: list[str] | None, labels: dict[str, str]) -> bool:
    """Whether all of `key` or `key=value` are among the labels."""
    for entry in wanted or []:
        key, equals, value = entry.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True
