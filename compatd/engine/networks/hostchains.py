"""What other firewalls are to know: iptables' DOCKER-USER, and chains that drop: iptables', firewalld's."""

import logging
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from runtime.net import forward

log = logging.getLogger(__name__)
_COMMANDS = {4: "iptables", 6: "ip6tables"}


class HostChains:
    """Keeps iptables' own chains as dockerd has them, as far as people rely on it."""

    def __init__(self, owner: str, families: Iterable[int]) -> None:
        """`owner` marks the rules: the name of the daemon's table."""
        self._owner = owner
        self._families = tuple(families)

    def ensure(self, bridges: Iterable[str]) -> None:
        """Makes DOCKER-USER with its jump, and the bridges' rules where FORWARD drops, unless they are there.
        Never raises: the table of ours does not depend on it."""
        names = list(bridges)
        for version in self._families:
            try:
                kind = variant(_COMMANDS[version])
                if kind == "nft" or forward.in_use(version):
                    forward.ensure_user_chain(version)
                if kind == "legacy":
                    _ensure_legacy(_COMMANDS[version])
                forward.accept_bridges(self._owner, names, forward.PLACES[version])
            except (OSError, subprocess.SubprocessError) as e:
                log.warning("chains of %s: %s", _COMMANDS[version], e)
        for place in forward.FIREWALLD if self._families else ():
            try:
                forward.accept_bridges(self._owner, names, place)
            except FileNotFoundError:
                pass  # amid a reload; there will be news when it is done
            except OSError as e:
                log.warning("chains of firewalld: %s", e)


def variant(command: str) -> str:
    """Which iptables it is, after what Debian's alternatives say: nft or legacy; "" when there is none."""
    path = shutil.which(command)
    if path is None:
        return ""
    return "legacy" if "legacy" in Path(path).resolve().name else "nft"


def _ensure_legacy(command: str) -> None:
    """By the command itself: the old tables have no netlink."""
    jump = ["FORWARD", "-j", forward.USER_CHAIN]
    if _run(command, "-C", *jump):
        return
    _run(command, "-N", forward.USER_CHAIN)
    if not _run(command, "-I", *jump):
        log.warning("%s cannot make the chain %s", command, forward.USER_CHAIN)


def _run(command: str, *arguments: str) -> bool:
    """Whether it succeeds; -w waits for another one's lock. Raises OSError, SubprocessError."""
    words = [command, "-w", *arguments]
    return subprocess.run(words, check=False, capture_output=True, timeout=20).returncode == 0
