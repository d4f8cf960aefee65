"""When a container that ended is started again, and after how long (API: RestartPolicy)."""

from typing import Any

FIRST_DELAY = 0.1
LONGEST_DELAY = 60.0
HEALTHY_AFTER = 10.0


class RestartPolicy:
    """Decides for one container; kept as long as the container is started by its policy only.

    The delay starts at 100 ms, doubles with every try up to a minute, and starts over when the container ran
    for ten seconds.
    """

    def __init__(self, policy: dict[str, Any], count: int = 0) -> None:
        self.policy = policy
        self.count = count
        self.cancelled = False
        self._delay = 0.0

    def next_delay(self, exit_code: int, *, stopped_by_hand: bool, ran_for: float) -> float | None:
        """Seconds until the next start, or None for never. `ran_for` is in seconds."""
        name = self.policy.get("Name") or "no"
        if self.cancelled or name == "no":
            return None
        if ran_for >= HEALTHY_AFTER:
            self._delay = 0.0
        self._delay = min(self._delay * 2, LONGEST_DELAY) if self._delay else FIRST_DELAY
        limit = self.policy.get("MaximumRetryCount") or 0
        again = (
            name == "always"
            or (name == "unless-stopped" and not stopped_by_hand)
            or (name == "on-failure" and exit_code != 0 and (limit == 0 or self.count < limit))
        )
        if not again:
            return None
        self.count += 1
        return self._delay


def starts_with_daemon(policy: dict[str, Any], *, stopped_by_hand: bool, exit_code: int, count: int) -> bool:
    """Whether a container that is not running is started when the daemon starts.

    That it was stopped by hand counts for `unless-stopped` only, as with dockerd.
    """
    name = policy.get("Name") or "no"
    limit = policy.get("MaximumRetryCount") or 0
    return (
        name == "always"
        or (name == "unless-stopped" and not stopped_by_hand)
        or (name == "on-failure" and exit_code != 0 and (limit == 0 or count < limit))
    )
