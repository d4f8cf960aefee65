"""What a WWW-Authenticate header asks for (RFC 7235)."""

import re

_CHALLENGE = re.compile(
    r'\s*([A-Za-z][A-Za-z0-9_-]*)\s+((?:[A-Za-z_]+=(?:"(?:[^"\\]|\\.)*"|[^\s,]+)\s*,?\s*)*)'
)
_PARAMETER = re.compile(r'([A-Za-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


def challenges(header: str) -> dict[str, dict[str, str]]:
    """`Bearer realm="…",service="…"` → {"bearer": {"realm": …, "service": …}}."""
    found: dict[str, dict[str, str]] = {}
    for match in _CHALLENGE.finditer(header):
        parameters = {
            name.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain
            for name, quoted, plain in _PARAMETER.findall(match[2])
        }
        found[match[1].lower()] = parameters
    return found
