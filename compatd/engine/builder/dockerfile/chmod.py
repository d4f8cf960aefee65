"""`--chmod`: octal numbers, and changes as chmod(1) takes them.

Source: the Dockerfile reference, tonistiigi/dchapes-mode (rules, texts of errors).
"""

from compatd.engine.builder.dockerfile.errors import DockerfileError

Change = tuple[str, int, str]
"""As `runtime.storage.buildaction.changed` takes them."""

_ALL, _STICKY = 0o6777, 0o1000
_WHO = {"a": _ALL, "u": 0o4700, "g": 0o2070, "o": 0o007}
_PERMISSIONS = {"r": 0o444, "w": 0o222, "x": 0o111}
_SET_AND_CLEAR, _SET, _CLEAR = 3, 2, 4
_COPY = {"+": _SET, "-": _CLEAR, "=": _SET_AND_CLEAR}
_OTHERS = 0o007


def parse(text: str) -> int | list[Change]:
    """A number, or changes in their order. Raises DockerfileError."""
    digits = text.isascii() and text.isdigit()
    if digits and not text.strip("01234567") and int(text[:32], 8) <= 0o7777:
        return int(text, 8)
    if not text or text[0] in "0123456789":
        raise DockerfileError(
            f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        )
    changes: list[Change] = []
    for clause in text.split(","):
        _clause(clause, changes)
    return changes


def _clause(clause: str, changes: list[Change]) -> None:
    rest = clause.lstrip("augo")
    who = 0
    for char in clause[: len(clause) - len(rest)]:
        who |= _WHO[char]
    if not rest:
        raise DockerfileError("invalid syntax")
    while rest:
        if rest[0] not in "+-=":
            raise DockerfileError("invalid syntax")
        operation, rest = rest[0], rest[1:]
        end = next((at for at, char in enumerate(rest) if char not in "rwxXstugo"), len(rest))
        _permissions(operation, who, rest[:end], changes)
        rest = rest[end:]


def _permissions(operation: str, who: int, letters: str, changes: list[Change]) -> None:
    bits = conditional = 0
    assigned = False

    def flush(*, last: bool) -> None:
        nonlocal bits, conditional, assigned
        if bits or (last and operation == "=" and not assigned):
            assigned = True
            _add(operation, who, bits, changes)
        if conditional:
            changes.append(("X", who & conditional if who else conditional, ""))
        bits = conditional = 0

    for letter in letters:
        if letter in "ugo":
            flush(last=False)
            assigned = assigned or operation == "="
            places = "".join(place for place in "ugo" if not who or who & _WHO[place] & 0o444)
            changes.append((letter, _COPY[operation], places))
        elif letter == "X" and operation != "-":
            conditional = 0o111
        elif letter in "st":
            if not who or who & ~_OTHERS:
                bits |= 0o6000 if letter == "s" else _STICKY
                who |= _STICKY if letter == "t" else 0
        else:
            bits |= _PERMISSIONS[letter.lower()]
    flush(last=True)


def _add(operation: str, who: int, bits: int, changes: list[Change]) -> None:
    if operation == "=":
        changes.append(("-", who or _ALL, ""))
        operation = "+"
    changes.append((operation, who & bits if who else bits, ""))
