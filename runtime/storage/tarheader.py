"""Tar headers as data: what one 512-byte block, or an extended header's text, says.

Formats: V7, ustar (POSIX.1-1988), GNU (long names, base-256 numbers, old sparse files) and PAX
(POSIX.1-2001, with GNU's sparse formats 0.0, 0.1 and 1.0). Names stay bytes: nothing here needs a codec,
because the caller may be in a chroot where none can be loaded.
"""

BLOCK = 512
MAX_EXTENDED = 1 << 20  # a PAX header or a long name over 1 MiB is an attack, not a name
MAX_SPARSE = 1 << 17  # segments of one sparse file

ZERO_BLOCK = bytes(BLOCK)

REGULAR = b"0"
HARDLINK = b"1"
SYMLINK = b"2"
CHARACTER = b"3"
BLOCK_DEVICE = b"4"
DIRECTORY = b"5"
FIFO = b"6"
CONTIGUOUS = b"7"
PAX_LOCAL = b"x"
PAX_GLOBAL = b"g"
GNU_LONG_NAME = b"L"
GNU_LONG_LINK = b"K"
GNU_SPARSE = b"S"

_MAX_INT = (1 << 63) - 1
_SPACES = b" \0"


class TarError(Exception):
    """The stream is no tar archive, or a broken or hostile one; the text says where."""


class Entry:
    """One member: names as bytes, sizes in bytes, times in nanoseconds since 1970.

    `stored` is the count of data bytes in the archive; `size` the file's length once placed (they differ
    for sparse files, whose `sparse` is a list of (offset, length)). `xattrs` maps names to values.
    """

    __slots__ = (
        "atime", "gid", "link", "major", "minor", "mode", "mtime", "name", "size", "sparse", "stored",
        "type", "uid", "xattrs",
    )  # fmt: skip

    def __init__(self) -> None:
        self.name = b""
        self.link = b""
        self.type = REGULAR
        self.mode = 0
        self.uid = 0
        self.gid = 0
        self.size = 0
        self.stored = 0
        self.mtime = 0
        self.atime = 0
        self.major = 0
        self.minor = 0
        self.sparse: list[tuple[int, int]] | None = None
        self.xattrs: dict[bytes, bytes] | None = None


def number(field: bytes) -> int:
    """The value of a numeric header field: octal text, or GNU's base-256 where the first bit is set.

    Raises TarError for anything else.
    """
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field, "big")
        bits = len(field) * 8
        if first & 0x40:  # two's complement over the whole field
            value -= 1 << bits
        else:
            value &= (1 << (bits - 1)) - 1
        if not -_MAX_INT <= value <= _MAX_INT:
            raise TarError("archive/tar: invalid tar header")
        return value
    text = field.strip(_SPACES)
    end = text.find(b"\0")
    if end >= 0:
        text = text[:end]
    if not text:
        return 0
    if text.isdigit():
        try:
            return int(text, 8)
        except ValueError:
            pass
    raise TarError("archive/tar: invalid tar header")


def checksum_matches(block: bytes) -> bool:
    """Whether the block's checksum is right, by POSIX's unsigned or by old Sun's signed sum."""
    try:
        wanted = number(block[148:156])
    except TarError:
        return False
    body = block[:148] + block[156:]
    unsigned = sum(body) + 256
    if unsigned == wanted:
        return True
    return unsigned - 256 * sum(1 for byte in body if byte > 127) == wanted


def c_string(field: bytes) -> bytes:
    """A name up to its first NUL, as Go reads it: what follows must not reach who separates names by NUL."""
    end = field.find(b"\0")
    return field if end < 0 else field[:end]


def parse(block: bytes) -> Entry:
    """The entry that a header block describes, before extended headers; raises TarError."""
    if not checksum_matches(block):
        raise TarError("archive/tar: invalid tar header")
    entry = Entry()
    kind = block[156:157]
    name = c_string(block[:100])
    entry.mode = number(block[100:108]) & 0o7777
    entry.uid = number(block[108:116])
    entry.gid = number(block[116:124])
    entry.size = entry.stored = number(block[124:136])
    if entry.size < 0:
        raise TarError("archive/tar: invalid tar header")
    entry.mtime = number(block[136:148]) * 1_000_000_000
    entry.link = c_string(block[157:257])
    magic = block[257:263]
    if magic[:5] == b"ustar":
        if kind in (CHARACTER, BLOCK_DEVICE):
            entry.major = number(block[329:337])
            entry.minor = number(block[337:345])
        if magic == b"ustar\0":
            prefix = c_string(block[345:500])
            if prefix:
                name = prefix + b"/" + name
        elif kind != GNU_SPARSE and block[345] and block[345] != 0x20:
            # GNU keeps atime where ustar keeps the prefix
            try:
                entry.atime = number(block[345:357]) * 1_000_000_000
            except TarError:
                entry.atime = 0
    if kind in (b"\0", CONTIGUOUS):
        kind = REGULAR
    if kind in (HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO):
        # These carry no data whatever their size field says (hard links of cpio-like writers do)
        entry.stored = 0
    entry.name = name
    entry.type = kind
    return entry


def settle(entry: Entry) -> None:
    """Once the whole name is known: a file whose name ends with a slash is a folder (V7 had no type)."""
    if entry.type == REGULAR and entry.name.endswith(b"/"):
        entry.type = DIRECTORY
        entry.stored = 0


def pax_records(data: bytes) -> dict[bytes, bytes]:
    """The records "%d key=value\\n" of a PAX header, later ones winning; raises TarError.

    GNU.sparse.offset and GNU.sparse.numbytes come in pairs (format 0.0): they are joined into
    GNU.sparse.map as format 0.1 writes it.
    """
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    position = 0
    end = len(data)
    while position < end:
        space = data.find(b" ", position, position + 20)
        digits = data[position:space] if space > 0 else b""
        if not digits.isdigit():
            if not data[position:].strip(b"\0"):
                break
            raise TarError("archive/tar: invalid tar header")
        stop = position + int(digits)
        equals = data.find(b"=", space, stop)
        if stop > end or equals <= space + 1 or data[stop - 1 : stop] != b"\n":
            raise TarError("archive/tar: invalid tar header")
        key, value = data[space + 1 : equals], data[equals + 1 : stop - 1]
        if b"\0" in key or (b"\0" in value and not key.startswith((b"SCHILY.xattr.", b"LIBARCHIVE."))):
            raise TarError("archive/tar: invalid tar header")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            sparse.append(value)
        else:
            records[key] = value
        position = stop
    if sparse:
        records[b"GNU.sparse.map"] = b",".join(sparse)
    return records


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 19:
        raise TarError("archive/tar: invalid tar header")
    return int(value)


def nanoseconds(value: bytes) -> int:
    """A PAX time ("-12.5", seconds) in nanoseconds; further digits are cut."""
    seconds, _, fraction = value.partition(b".")
    negative = seconds.startswith(b"-")
    total = _decimal(seconds.lstrip(b"-")) * 1_000_000_000
    if fraction:
        if not fraction.isdigit():
            raise TarError("archive/tar: invalid tar header")
        total += int((fraction[:9] + b"000000000")[:9])
    return -total if negative else total


def sparse_map(numbers: list[int], size: int) -> list[tuple[int, int]]:
    """(offset, length) pairs from a flat list, checked to be ascending and inside `size` bytes."""
    if len(numbers) % 2 or len(numbers) > 2 * MAX_SPARSE:
        raise TarError("archive/tar: invalid tar header")
    segments = []
    position = 0
    for index in range(0, len(numbers), 2):
        offset, length = numbers[index], numbers[index + 1]
        if offset < position or length < 0 or offset + length > size:
            raise TarError("archive/tar: invalid tar header")
        position = offset + length
        segments.append((offset, length))
    return segments


def gnu_sparse_numbers(block: bytes, start: int, count: int) -> list[int]:
    """The offset/length numbers of an old GNU sparse header (4 at 386) or extension block (21 at 0)."""
    numbers: list[int] = []
    for index in range(count):
        at = start + 24 * index
        if block[at] == 0:
            break
        numbers.append(number(block[at : at + 12]))
        numbers.append(number(block[at + 12 : at + 24]))
    return numbers


def apply_pax(entry: Entry, records: dict[bytes, bytes]) -> None:
    """Write a PAX header's records over `entry`; raises TarError. Unknown keys are ignored, as Go does."""
    for key, value in records.items():
        if key == b"path":
            if value:
                entry.name = value
        elif key == b"linkpath":
            if value:
                entry.link = value
        elif key == b"size":
            if value and entry.type in (REGULAR, GNU_SPARSE):
                entry.size = entry.stored = _decimal(value)
        elif key == b"uid":
            entry.uid = _decimal(value) if value else entry.uid
        elif key == b"gid":
            entry.gid = _decimal(value) if value else entry.gid
        elif key == b"mtime":
            entry.mtime = nanoseconds(value) if value else entry.mtime
        elif key == b"atime":
            entry.atime = nanoseconds(value) if value else entry.atime
        elif key.startswith(b"SCHILY.xattr."):
            if entry.xattrs is None:
                entry.xattrs = {}
            entry.xattrs[key[13:]] = value
    if b"GNU.sparse.name" in records:
        entry.name = records[b"GNU.sparse.name"]
    if b"GNU.sparse.map" in records and entry.type == REGULAR:
        real = records.get(b"GNU.sparse.realsize", records.get(b"GNU.sparse.size", b""))
        entry.size = _decimal(real)
        text = records[b"GNU.sparse.map"]
        if text.count(b",") > 2 * MAX_SPARSE:
            raise TarError("archive/tar: invalid tar header")
        entry.sparse = sparse_map([_decimal(item) for item in text.split(b",")] if text else [], entry.size)
        if sum(length for _, length in entry.sparse) > entry.stored:
            raise TarError("archive/tar: invalid tar header")


def wants_embedded_map(records: dict[bytes, bytes]) -> bool:
    """Whether the sparse map comes at the head of the data (PAX sparse format 1.0)."""
    return records.get(b"GNU.sparse.major") == b"1" and records.get(b"GNU.sparse.minor") == b"0"
