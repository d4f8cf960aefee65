"""The worker that takes an archive of images apart: `runtime.storage.spool:run`.

Members land in one flat folder under numbers; their names are only told. So whatever a hostile archive calls
them, nothing is created by name.
"""

import os
from typing import Any

from runtime.storage import tarheader as tar
from runtime.storage.tarheader import TarError
from runtime.storage.tarstream import LayerStream
from runtime.storage.tree import clean
from runtime.storage.untar import Reader, Source, enter

MAX_MEMBERS = 100_000
_KINDS = {tar.REGULAR: "file", tar.SYMLINK: "symlink", tar.HARDLINK: "hardlink"}


def run(arguments: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """Split the (compressed) tar read from `fds[0]` into files below `arguments["target"]`.

    The answer is kept small: the list of members goes to the file `index` there, one JSON-free line each:
    kind, number, size, name and link, separated by NUL, ended by "\\n\\0" (names cannot hold NUL).
    Answer: {"members": n} or {"error": text}.
    """
    try:
        stream = LayerStream(fds[0], hash_raw=False, hash_plain=False)
        stream.open()
        tree = enter(arguments["target"])
        source = Source(stream.chunks())
        reader = Reader(source)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        count = 0
        with open(os.open("index", flags, 0o600, dir_fd=tree.root), "wb") as index:
            while (entry := reader.next()) is not None:
                kind = _KINDS.get(entry.type)
                if kind is None:
                    reader.skip_data(entry)
                    continue
                count += 1
                if count > MAX_MEMBERS:
                    raise TarError("the archive has too many members")
                if kind == "file":
                    fd = os.open(b"%d" % count, flags, 0o600, dir_fd=tree.root)
                    try:
                        reader.write_data(entry, fd)
                    finally:
                        os.close(fd)
                else:
                    reader.skip_data(entry)
                name, link = clean(entry.name), entry.link
                index.write(b"%b\0%d\0%d\0%b\0%b\n\0" % (kind.encode(), count, entry.size, name, link))
        source.drain()
    except TarError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": (error.strerror or str(error)).lower(), "errno": error.errno}
    return {"members": count}
