"""What a check found."""

from dataclasses import dataclass, field
from typing import Any

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """level: OK, WARNING (works, but not all of it, or not as it should) or PROBLEM; do: commands, or edits.

    check: the kind, as the modules are named.
    """

    check: str
    level: str
    text: str
    do: list[str] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        """As `--json` has it."""
        return {"check": self.check, "level": self.level, "text": self.text, "do": self.do}
