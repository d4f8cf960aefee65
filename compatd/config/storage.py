"""Options of the storage drivers (`--storage-opt`)."""

from compatd.config.values import parse_bytes


def storage_size(driver: str, options: list[str]) -> int:
    """The size that `overlay2.size` (or vfs's `size`) gives each container's layer, 0 for none.

    Raises ValueError with the driver's text.
    """
    size = 0
    names = ("size", "vfs.size") if driver == "vfs" else ("overlay2.size",)
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise ValueError(f"unable to parse storage-opt key/value: {option}")
        key = key.strip().lower()
        if key in names:
            size = parse_bytes(value.strip())
        elif key != "overlay2.override_kernel_check" or driver == "vfs":
            raise ValueError(f"{driver}: unknown option {key}")
    return size
